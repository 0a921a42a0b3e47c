"""Which calls a run reads: its time range, and the lookback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import CallLog
from tap_tuple.sync import time_range_of_run
from tap_tuple.timestamps import EPOCH
from tests.conftest import FIRST_END, bookmarks, config_for, make_call, make_calls, minute, state_of

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand

STARTED_AT = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
BOOKMARK = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
LATER_BOOKMARK = BOOKMARK + timedelta(hours=2)
HOUR_IN_SECONDS = 3600


def since(*bookmarks: datetime | None, **settings: Any) -> datetime:
    config = {"lookback_window": HOUR_IN_SECONDS, **settings}
    return time_range_of_run(config, bookmarks, STARTED_AT).since


def until(**settings: Any) -> datetime:
    config = {"lookback_window": HOUR_IN_SECONDS, **settings}
    return time_range_of_run(config, [], STARTED_AT).until


def test_first_run_reads_all_history() -> None:
    assert since(None, None) == EPOCH


def test_first_run_starts_at_start_date() -> None:
    assert since(None, start_date="2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)


def test_start_date_before_the_epoch_is_moved_to_the_epoch() -> None:
    assert since(None, start_date="0001-01-01") == EPOCH


@pytest.mark.parametrize("bookmarks", [(BOOKMARK, LATER_BOOKMARK), (LATER_BOOKMARK, BOOKMARK)])
def test_run_starts_one_lookback_before_the_earlier_bookmark(
    bookmarks: tuple[datetime, datetime],
) -> None:
    assert since(*bookmarks) == BOOKMARK - timedelta(hours=1)


def test_run_without_a_bookmark_reads_from_the_start() -> None:
    assert since(BOOKMARK, None) == EPOCH


def test_lookback_is_at_least_one_second() -> None:
    assert since(BOOKMARK, lookback_window=0) == BOOKMARK - timedelta(seconds=1)


def test_lookback_never_reaches_before_start_date() -> None:
    assert since(BOOKMARK, start_date="2026-11-27T08:30:00Z") == BOOKMARK - timedelta(minutes=30)


def test_start_date_after_the_bookmark_takes_precedence() -> None:
    assert since(BOOKMARK, start_date="2026-11-27T10:00:00Z") == BOOKMARK + timedelta(hours=1)


def test_very_large_lookback_reads_all_history() -> None:
    assert since(BOOKMARK, lookback_window=10**12) == EPOCH


def test_bookmark_keeps_its_microseconds() -> None:
    exact = BOOKMARK + timedelta(microseconds=123456)
    assert since(exact) == exact - timedelta(hours=1)


def test_run_reads_calls_up_to_its_own_start() -> None:
    assert until() == STARTED_AT


def test_run_reads_calls_up_to_end_date() -> None:
    assert until(end_date="2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)


def test_future_end_date_does_not_extend_the_time_range() -> None:
    assert until(end_date="2099-01-01") == STARTED_AT


def test_call_finalized_late_within_the_lookback_is_read(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    log = CallLog(make_calls(100))
    sandbox = serve(log)
    first = tap(config=config_for(sandbox))
    log.add(make_call(900, ended_at=FIRST_END + timedelta(minutes=41)))

    second = tap(config=config_for(sandbox), state=first.state)
    without_lookback = tap(config=config_for(sandbox, lookback_window=0), state=first.state)

    assert 900 in second.ids("calls")
    assert 900 not in without_lookback.ids("calls")
    assert bookmarks(second.state) == bookmarks(first.state)


def test_empty_time_range_sends_no_requests(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(30))

    config = config_for(sandbox, end_date=minute(10))
    run = tap(config=config, state=state_of(minute(90), minute(90)))

    assert sandbox.requests == []
    assert (run.count("SCHEMA"), run.count("RECORD"), run.returncode) == (2, 0, 0)
    assert bookmarks(run.state) == (minute(90), minute(90))
