"""Bookmarks: each stream has its own, which never moves back or gets ahead of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import CallLog, faults
from tests.conftest import bookmarks, config_for, make_call, make_calls, minute, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def test_bookmarks_have_a_replication_key_and_value(tap: TapCommand, serve: Serve) -> None:
    run = tap(config=config_for(serve(make_calls(5))))

    assert run.state == state_of(minute(5), minute(5))


def test_run_starts_one_lookback_before_earliest_bookmark(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(120))

    tap(config=config_for(sandbox, lookback_window=60), state=state_of(minute(100), minute(80)))

    assert sandbox.requests[0].query["since"] == minute(79)


def test_each_state_is_written_once(tap: TapCommand, serve: Serve) -> None:
    """Each of the three pages moves the bookmarks. The second run only repeats its input state."""
    config = config_for(serve(make_calls(30)), page_size=10)

    first = tap(config=config)
    states = [message for message in first.messages if message["type"] == "STATE"]
    assert [bookmarks(state["value"]) for state in states] == [
        (minute(10), minute(10)),
        (minute(20), minute(20)),
        (minute(30), minute(30)),
    ]

    second = tap(config=config, state=first.state)
    assert [m["value"] for m in second.messages if m["type"] == "STATE"] == [first.state]


def test_start_date_after_the_bookmark_logs_a_warning(tap: TapCommand, serve: Serve) -> None:
    config = config_for(serve(make_calls(30)), start_date=minute(20))

    run = tap(config=config, state=state_of(minute(10), minute(25)))

    line = "start_date is after the bookmark of calls. Calls in between are not read."
    assert run.stderr.count(line) == 1


def test_bookmarks_never_move_back_during_a_lookback(tap: TapCommand, serve: Serve) -> None:
    before = state_of(minute(100), minute(80))
    sandbox = serve(make_calls(90))

    run = tap(config=config_for(sandbox, page_size=10), state=before)

    seen = [bookmarks(m["value"]) for m in run.messages if m["type"] == "STATE"]
    assert {calls for calls, _ in seen} == {minute(100)}
    participations = [value for _, value in seen]
    assert participations == sorted(participations, key=str)
    assert participations[0] == minute(80)
    assert participations[-1] == minute(90)
    assert run.ids("calls") == list(range(20, 91))


def test_lookback_rows_are_written(tap: TapCommand, serve: Serve) -> None:
    """They're written even though no bookmark moves, so no STATE follows them."""
    run = tap(config=config_for(serve(make_calls(3))), state=state_of(minute(5), minute(5)))

    assert run.ids("calls") == [1, 2, 3]
    assert len(run.ids("call_participations")) == 6


def test_mixed_timestamp_formats_are_compared_as_instants(tap: TapCommand, serve: Serve) -> None:
    ends = [
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:00.500Z",
        "2026-03-02T11:00:01+02:00",
        "2026-03-02T09:00:01.000001Z",
        "2026-03-02T03:30:02.25-05:30",
        "2026-03-02T09:00:03",
    ]
    calls = [make_call(number, ended_at=end) for number, end in enumerate(ends, 1)]
    sandbox = serve(calls)

    run = tap(config=config_for(sandbox, page_size=1))

    assert [row["ended_at"] for row in run.records("calls")] == [
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:00.500000Z",
        "2026-03-02T09:00:01Z",
        "2026-03-02T09:00:01.000001Z",
        "2026-03-02T09:00:02.250000Z",
        "2026-03-02T09:00:03Z",
    ]
    states = [bookmarks(m["value"])[0] for m in run.messages if m["type"] == "STATE"]
    assert list(dict.fromkeys(states)) == [
        "2026-03-02T09:00:00.000Z",
        "2026-03-02T09:00:00.500Z",
        "2026-03-02T09:00:01.000Z",
        "2026-03-02T09:00:01.000001Z",
        "2026-03-02T09:00:02.250Z",
        "2026-03-02T09:00:03.000Z",
    ]


@pytest.mark.parametrize("value", [7, "yesterday", ""])
def test_invalid_bookmark_is_reported_before_any_request(
    tap: TapCommand, serve: Serve, value: Any
) -> None:
    sandbox = serve(make_calls(3))

    run = tap(config=config_for(sandbox), state=state_of(value, minute(1)))

    assert run.returncode == 1
    assert run.count("RECORD") == 0
    assert sandbox.requests == []
    (error,) = run.errors
    assert error == (
        "The bookmark of calls isn't a timestamp. Correct the state, or run with --full-refresh."
    )


def test_every_page_is_followed_by_a_state(tap: TapCommand, serve: Serve) -> None:
    for selected in ({}, {"call_participations": False}, {"calls": False}):
        config = config_for(serve(make_calls(95)), page_size=10)
        run = tap(config=config, catalog=tap.discover(**selected))

        states = {bookmarks(m["value"]) for m in run.messages if m["type"] == "STATE"}
        ends = {minute(min(number, 95)) for number in range(10, 101, 10)}
        assert {calls or parts for calls, parts in states} - {None} == ends


def test_failed_page_keeps_the_previous_state(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(30)
    # A stream map that fails on one call of the second page.
    maps = {"calls": {"inverse": "1 / (id - 15)"}}
    config = config_for(serve(calls), page_size=10, stream_maps=maps)

    run = tap(config=config)

    assert run.returncode == 1
    assert bookmarks(run.state) == (minute(10), minute(10))
    rest = tap(config=config | {"stream_maps": {}}, state=run.state)
    assert set(run.ids("calls")) | set(rest.ids("calls")) == set(range(1, 31))


def test_participations_stay_incremental_without_calls(tap: TapCommand, serve: Serve) -> None:
    log = CallLog(make_calls(30))
    sandbox = serve(log)
    config = config_for(sandbox, lookback_window=0, page_size=10)
    catalog = tap.discover(calls=False)

    first = tap(config=config, catalog=catalog)
    log.add(make_call(31))
    second = tap(config=config, catalog=catalog, state=first.state)

    assert second.ids("call_participations") == [300, 301, 310, 311]
    assert sandbox.requests[-1].query["since"] == "2026-03-02T09:29:59.000Z"


def test_stream_selected_later_is_read_from_the_start(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(50)
    sandbox = serve(calls)
    config = config_for(sandbox, page_size=10, lookback_window=0)
    only_calls = tap(config=config, catalog=tap.discover(call_participations=False))

    sandbox.faults.extend([None, None, faults.status(403)])
    killed = tap(config=config, state=only_calls.state)
    assert killed.returncode == 1
    assert bookmarks(killed.state) == (minute(50), minute(20))
    rest = tap(config=config, state=killed.state)

    kept = set(killed.ids("call_participations")) | set(rest.ids("call_participations"))
    assert kept == {p["id"] for call in calls for p in call["call_participations"]}
    assert bookmarks(rest.state) == (minute(50), minute(50))


def test_full_table_replication_leaves_bookmarks_unchanged(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        stream["replication_method"] = "FULL_TABLE"
    settings = {"page_size": 10, "lookback_window": 0, "emit_activate_version_messages": True}
    config = config_for(serve(make_calls(25)), **settings)

    run = tap(config=config, catalog=catalog, state=state_of(minute(20), minute(20)))

    assert run.ids("calls") == list(range(1, 26))
    assert len(run.ids("call_participations")) == 50
    assert bookmarks(run.state) == (minute(20), minute(20))
    assert run.count("ACTIVATE_VERSION") == 0
