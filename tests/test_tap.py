"""The tap's command line: its input, output and requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import config_for, expected_rows, make_call, make_calls

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand


def test_every_row_is_written_once_with_all_values(tap: TapCommand, serve: SandboxFactory) -> None:
    calls = [make_call(number, participations=number % 4) for number in range(1, 251)]
    sandbox = serve(calls)

    run = tap(config=config_for(sandbox, page_size=100))

    call_rows, participation_rows = expected_rows(calls)
    assert run.returncode == 0
    assert run.records("calls") == call_rows
    assert run.records("call_participations") == participation_rows


def test_large_run_sends_13_requests_and_2_schemas(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(12_345))

    run = tap(config=config_for(sandbox))

    assert len(sandbox.requests) == 13
    assert run.count("SCHEMA") == 2
    assert run.ids("calls") == list(range(1, 12_346))
    assert len(set(run.ids("call_participations"))) == run.count("RECORD") - 12_345 == 24_690
    assert 13 <= run.count("STATE") <= 16


def test_schemas_come_first_even_without_records(tap: TapCommand, serve: SandboxFactory) -> None:
    for calls in (make_calls(3), []):
        run = tap(config=config_for(serve(calls)))

        kinds = [m["type"] for m in run.messages if m["type"] != "STATE"]
        assert kinds[:2] == ["SCHEMA", "SCHEMA"]
        assert "SCHEMA" not in kinds[2:]


def test_first_request_sends_time_range_and_page_size(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    sandbox = serve([])
    began = datetime.now(UTC)

    tap(config=config_for(sandbox))

    (request,) = sandbox.requests
    until = datetime.fromisoformat(request.query.pop("until"))
    assert began <= until <= datetime.now(UTC)
    assert request.query == {"since": "1970-01-01T00:00:00.000Z", "per_page": "1000"}


def test_start_and_end_date_limit_the_calls_read(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(10))

    dates = {"start_date": "2026-03-02T09:03:00Z", "end_date": "2026-03-02T09:07:00Z"}
    run = tap(config=config_for(sandbox, **dates))

    assert run.ids("calls") == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "link",
    [
        '<https://elsewhere.example/?page=2&per_page=10&since=2026-01-01>; rel="next"',
        '</api/v2/call_usage?page=2>; rel="next"',
        '<http://[malformed>; rel="next", nonsense',
    ],
    ids=["another host", "relative", "malformed"],
)
def test_link_means_more_pages_but_its_target_is_ignored(
    tap: TapCommand, serve: SandboxFactory, link: str
) -> None:
    sandbox = serve(make_calls(25))
    sandbox.faults.append(faults.with_headers(Link=link))

    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 26))
    assert {request.path for request in sandbox.requests} == {"/api/v2/call_usage"}
    assert sandbox.requests[1].query["since"] == "2026-03-02T09:09:59.000Z"
    assert "page" not in sandbox.requests[1].query
    assert "until" in sandbox.requests[1].query


def test_connection_test_requests_only_one_call(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(25))

    run = tap("--test", config=config_for(sandbox))

    (request,) = sandbox.requests
    assert request.query["per_page"] == "1"
    assert run.returncode == 0
    assert run.errors == []
    assert (run.ids("calls"), run.ids("call_participations")) == ([1], [10])


def test_schema_test_sends_no_requests(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(25))

    run = tap("--test=schema", config=config_for(sandbox))

    assert (run.count("SCHEMA"), run.count("RECORD"), sandbox.requests) == (2, 0, [])


def test_log_contains_a_summary_per_stream(tap: TapCommand, serve: SandboxFactory) -> None:
    run = tap(config=config_for(serve(make_calls(25)), page_size=10, end_date="2026-04-01"))

    for stream, rows in (("calls", 25), ("call_participations", 50)):
        line = (
            f"{stream}: sent {rows} rows and the bookmark 2026-03-02T09:25:00.000Z to the loader "
            "(3 requests for all calls that ended before 2026-04-01T00:00:00.000Z)."
        )
        assert run.stderr.count(line) == 1


def test_summary_counts_only_rows_that_pass_the_filter(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    maps = {"calls": {"__filter__": "id > 20"}, "call_participations": {"__alias__": "seats"}}

    run = tap(config=config_for(serve(make_calls(1025)), page_size=1000, stream_maps=maps))
    single = tap(config=config_for(serve(make_calls(1))))

    assert " calls: sent 1,005 rows and " in run.stderr
    assert " call_participations: sent 2,010 rows and " in run.stderr
    assert " calls: sent 1 row and " in single.stderr
    assert " (1 request for all calls " in single.stderr


def test_rows_are_the_same_as_those_the_sdk_writes(tap: TapCommand, serve: SandboxFactory) -> None:
    """With a stream map, even one that changes nothing, the SDK's own code writes the rows."""
    config = config_for(serve(make_calls(25)), page_size=10, end_date="2026-04-01")
    identity = {"calls": {"id": "id"}, "call_participations": {"id": "id"}}

    unmapped = tap(config=config)
    mapped = tap(config=config | {"stream_maps": identity})

    written = [[m for m in run.messages if m["type"] == "RECORD"] for run in (unmapped, mapped)]
    for message in (*written[0], *written[1]):
        assert datetime.fromisoformat(message.pop("time_extracted")).tzinfo
    assert written[0] == written[1]
