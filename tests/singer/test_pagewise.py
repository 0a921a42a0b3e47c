"""Bookmarks: each stream has its own, which never moves back or gets ahead of the rows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigurationError

from tap_tuple.sandbox import CallLog, faults
from tap_tuple.singer.pagewise import PagewiseStream
from tap_tuple.tap import TapTuple
from tests.conftest import FIRST_END, bookmarks, config_for, make_call, make_calls, minute, state_of

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand


def streams_with(
    state: dict[str, Any], *, catalog: dict[str, Any] | None = None
) -> tuple[PagewiseStream, PagewiseStream]:
    """Return the calls and participations streams of a tap with the given state."""
    tap = TapTuple(config={"api_token": "sk-tuple-x"}, state=state, catalog=catalog)
    calls, participations = tap.streams["calls"], tap.streams["call_participations"]
    assert isinstance(calls, PagewiseStream)
    assert isinstance(participations, PagewiseStream)
    return calls, participations


class TestBookmark:
    def test_each_stream_has_its_own_bookmark(self) -> None:
        calls, participations = streams_with(state_of(minute(1), minute(2)))

        assert calls.bookmark == FIRST_END + timedelta(minutes=1)
        assert participations.bookmark == FIRST_END + timedelta(minutes=2)

    @pytest.mark.parametrize("state", [{}, {"bookmarks": {}}, state_of(None, minute(1))], ids=str)
    def test_missing_bookmark_is_none(self, state: dict[str, Any]) -> None:
        calls, _ = streams_with(state)

        assert calls.bookmark is None

    def test_bookmark_of_another_replication_key_is_ignored(self) -> None:
        state = state_of(minute(1), minute(1))
        state["bookmarks"]["calls"]["replication_key"] = "updated_at"

        calls, participations = streams_with(state)

        assert calls.bookmark is None
        assert participations.bookmark is not None

    def test_bookmark_without_a_replication_key_is_used(self) -> None:
        state = state_of(minute(1), minute(1))
        del state["bookmarks"]["calls"]["replication_key"]

        calls, _ = streams_with(state)

        assert calls.bookmark == FIRST_END + timedelta(minutes=1)

    @pytest.mark.parametrize("value", [7, "yesterday", ""])
    def test_invalid_bookmark_is_rejected(self, value: Any) -> None:
        with pytest.raises(
            ConfigurationError, match=r"^The bookmark of 'calls' isn't a timestamp\. "
        ):
            streams_with(state_of(value, minute(1)))

    def test_bookmark_advances_but_never_moves_back(self) -> None:
        state = state_of(minute(5), None)
        calls, participations = streams_with(state)

        for minutes in (4, 6, 5):
            for stream in (calls, participations):
                stream.advance_bookmark(FIRST_END + timedelta(minutes=minutes))

        assert calls.tap_state == state_of(minute(6), minute(6))

    def test_bookmark_at_the_same_instant_is_left_as_it_is(self) -> None:
        """A run without new calls repeats its input state exactly."""
        state = state_of("2026-03-02T10:00:00+01:00", None)
        calls, _ = streams_with(state)

        calls.advance_bookmark(FIRST_END)

        assert bookmarks(calls.tap_state) == ("2026-03-02T10:00:00+01:00", None)

    def test_full_table_replication_does_not_use_bookmarks(self, tap: TapCommand) -> None:
        catalog = tap.discover()
        for stream in catalog["streams"]:
            stream["replication_method"] = "FULL_TABLE"
        calls, _ = streams_with(state_of(minute(5), minute(5)), catalog=catalog)

        calls.advance_bookmark(FIRST_END + timedelta(minutes=6))

        assert calls.bookmark is None
        assert bookmarks(calls.tap_state) == (minute(5), minute(5))


def test_bookmarks_have_a_replication_key_and_value(tap: TapCommand, serve: SandboxFactory) -> None:
    run = tap(config=config_for(serve(make_calls(5))))

    assert run.state == state_of(minute(5), minute(5))


def test_each_state_is_written_once(tap: TapCommand, serve: SandboxFactory) -> None:
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


def test_start_date_after_the_bookmark_logs_a_warning(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    config = config_for(serve(make_calls(30)), start_date=minute(20))

    run = tap(config=config, state=state_of(minute(10), minute(25)))

    line = (
        "start_date is after the bookmark of 'calls', so calls that ended in between aren't read."
    )
    assert run.stderr.count(line) == 1


def test_bookmarks_never_move_back_during_a_lookback(
    tap: TapCommand, serve: SandboxFactory
) -> None:
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


def test_lookback_rows_are_written(tap: TapCommand, serve: SandboxFactory) -> None:
    """No bookmark moves, so no STATE follows these rows, but they're still written."""
    run = tap(config=config_for(serve(make_calls(3))), state=state_of(minute(5), minute(5)))

    assert run.ids("calls") == [1, 2, 3]
    assert len(run.ids("call_participations")) == 6


def test_mixed_timestamp_formats_are_compared_as_instants(
    tap: TapCommand, serve: SandboxFactory
) -> None:
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


def test_every_page_is_followed_by_a_state(tap: TapCommand, serve: SandboxFactory) -> None:
    for selected in ({}, {"call_participations": False}, {"calls": False}):
        config = config_for(serve(make_calls(95)), page_size=10)
        run = tap(config=config, catalog=tap.discover(**selected))

        states = {bookmarks(m["value"]) for m in run.messages if m["type"] == "STATE"}
        ends = {minute(min(number, 95)) for number in range(10, 101, 10)}
        assert {calls or parts for calls, parts in states} - {None} == ends


def test_failed_page_keeps_the_previous_state(tap: TapCommand, serve: SandboxFactory) -> None:
    calls = make_calls(30)
    # A stream map that fails on one call on the second page.
    maps = {"calls": {"inverse": "1 / (id - 15)"}}
    config = config_for(serve(calls), page_size=10, stream_maps=maps)

    run = tap(config=config)

    assert run.returncode == 1
    assert bookmarks(run.state) == (minute(10), minute(10))
    rest = tap(config=config | {"stream_maps": {}}, state=run.state)
    assert set(run.ids("calls")) | set(rest.ids("calls")) == set(range(1, 31))


def test_participations_stay_incremental_without_calls(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    log = CallLog(make_calls(30))
    sandbox = serve(log)
    config = config_for(sandbox, lookback_window=0, page_size=10)
    catalog = tap.discover(calls=False)

    first = tap(config=config, catalog=catalog)
    log.add(make_call(31))
    second = tap(config=config, catalog=catalog, state=first.state)

    assert second.ids("call_participations") == [300, 301, 310, 311]
    assert sandbox.requests[-1].query["since"] == "2026-03-02T09:29:59.000Z"


def test_stream_selected_later_is_read_from_the_start(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    calls = make_calls(50)
    sandbox = serve(calls)
    config = config_for(sandbox, page_size=10, lookback_window=0)
    only_calls = tap(config=config, catalog=tap.discover(call_participations=False))

    sandbox.faults.extend([None, None, faults.status(403)])
    failed = tap(config=config, state=only_calls.state)
    assert failed.returncode == 1
    assert bookmarks(failed.state) == (minute(50), minute(20))
    rest = tap(config=config, state=failed.state)

    kept = set(failed.ids("call_participations")) | set(rest.ids("call_participations"))
    assert kept == {p["id"] for call in calls for p in call["call_participations"]}
    assert bookmarks(rest.state) == (minute(50), minute(50))


def test_invalid_bookmark_is_reported_before_any_output(tap: TapCommand) -> None:
    run = tap(config={"api_token": "sk-tuple-x"}, state=state_of("yesterday", None))

    assert run.only_error == (
        "The bookmark of 'calls' isn't a timestamp. Correct the state, or run with --full-refresh."
    )
    assert run.stdout == ""


def test_future_bookmark_logs_a_warning(tap: TapCommand, serve: SandboxFactory) -> None:
    run = tap(config=config_for(serve(make_calls(3))), state=state_of("2099-01-01T00:00:00Z", None))

    warning = (
        "The bookmark of 'calls' is in the future (2099-01-01T00:00:00.000Z), so it won't "
        "advance until then. Correct the state, or run with --full-refresh."
    )
    assert run.stderr.count(warning) == 1


def test_ignored_bookmark_logs_a_warning(tap: TapCommand, serve: SandboxFactory) -> None:
    state = state_of(minute(2), minute(2))
    state["bookmarks"]["calls"]["replication_key"] = "updated_at"

    run = tap(config=config_for(serve(make_calls(3))), state=state)

    assert (
        run.stderr.count(
            "Ignoring the bookmark of 'calls', because its replication key is 'updated_at'"
        )
        == 1
    )
    assert run.ids("calls") == [1, 2, 3]


def test_ignored_start_date_is_logged_once(tap: TapCommand, serve: SandboxFactory) -> None:
    config = config_for(serve(make_calls(3)), start_date="2025-01-01")

    run = tap(config=config, state=state_of(minute(100), minute(100)))

    assert run.stderr.count("Continuing from the bookmark, so start_date doesn't apply.") == 1
