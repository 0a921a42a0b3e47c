"""Calls per month, as the API counts them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigurationError

from tap_tuple.check.months import count_calls_per_month
from tap_tuple.check.probe import Probe
from tap_tuple.sandbox import CallLog, faults
from tap_tuple.streams import Calls
from tap_tuple.tap import TapTuple
from tap_tuple.timestamps import EPOCH, TimeRange, parse_timestamp
from tests.conftest import config_for, make_call

if TYPE_CHECKING:
    from tap_tuple.sandbox import Sandbox
    from tests.conftest import SandboxFactory

ENDS = (
    "2025-12-31T23:59:59.999Z",
    "2026-01-01T00:00:00.000Z",
    "2026-01-31T12:00:00.000Z",
    "2026-03-15T12:00:00.000Z",
)
ALL_MONTHS = [("2025-12", 1), ("2026-01", 2), ("2026-03", 1)]


def calls_in_three_months() -> CallLog:
    return CallLog(make_call(number, ended_at=end) for number, end in enumerate(ENDS, start=1))


def months(sandbox: Sandbox, since: str | None = None, until: str | None = None) -> list[Any]:
    """Return the number of calls per month, as the API counts them."""
    tap = TapTuple(config=config_for(sandbox))
    time_range = TimeRange(
        parse_timestamp(since) if since else EPOCH,
        parse_timestamp(until) if until else datetime.now(UTC),
    )
    return list(count_calls_per_month(Probe(Calls(tap), tap.logger), time_range))


def test_calls_are_counted_in_the_month_they_ended(serve: SandboxFactory) -> None:
    assert months(serve(calls_in_three_months())) == ALL_MONTHS


def test_each_month_takes_one_request(serve: SandboxFactory) -> None:
    sandbox = serve(calls_in_three_months())

    months(sandbox, until="2026-04-01")

    find_first_call, december_to_march = 1, 4
    assert len(sandbox.requests) == find_first_call + december_to_march


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-01-01", "2026-02-01", [("2026-01", 2)]),
        ("2026-01-15", None, [("2026-01", 1), ("2026-03", 1)]),
        (None, "2026-01-15", [("2025-12", 1), ("2026-01", 1)]),
        ("2026-05-01", None, []),
        ("2026-05-01", "2026-04-01", []),
    ],
)
def test_time_range_limits_the_counts(
    serve: SandboxFactory, since: str | None, until: str | None, expected: list[Any]
) -> None:
    assert months(serve(calls_in_three_months()), since, until) == expected


def test_first_call_is_counted_if_its_time_is_rounded(serve: SandboxFactory) -> None:
    log = CallLog([make_call(1, ended_at="2025-12-31T23:59:59.999600Z"), make_call(2)])
    sandbox = serve(log, every_response=faults.in_milliseconds(is_rounded=True))

    assert months(sandbox) == [("2025-12", 1), ("2026-03", 1)]


def test_count_that_is_too_low_is_an_error(serve: SandboxFactory) -> None:
    sandbox = serve(calls_in_three_months(), every_response=faults.miscounted(lambda _: 0))

    with pytest.raises(ConfigurationError, match="X-Total-Count is wrong"):
        months(sandbox)


def test_first_call_without_an_end_is_an_error(serve: SandboxFactory) -> None:
    def remove_ends(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [call | {"ended_at": None} for call in calls]

    sandbox = serve(calls_in_three_months(), every_response=faults.edited(remove_ends))

    with pytest.raises(ConfigurationError, match="no valid ended_at"):
        months(sandbox)


def test_team_without_calls_yields_no_months(serve: SandboxFactory) -> None:
    assert months(serve([])) == []
