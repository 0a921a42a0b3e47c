"""No row is ever skipped: bookmarks, selection, kills, pages that move, and odd data."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import CallLog, faults
from tests.conftest import (
    FIRST_END,
    Run,
    api_time,
    clean_environment,
    config_for,
    make_call,
    make_calls,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def bookmark(value: str | None, key: str = "ended_at") -> dict[str, Any]:
    return {} if value is None else {"replication_key": key, "replication_key_value": value}


def state_of(calls: str | None = None, participations: str | None = None) -> dict[str, Any]:
    return {
        "bookmarks": {
            "calls": bookmark(calls),
            "call_participations": bookmark(participations, "call_ended_at"),
        },
    }


def bookmarks(state: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the values of both bookmarks."""
    found = state.get("bookmarks", {})
    calls, participations = found.get("calls", {}), found.get("call_participations", {})
    return calls.get("replication_key_value"), participations.get("replication_key_value")


def minute(number: int) -> str:
    """Return when the call of a number ended."""
    return api_time(FIRST_END + timedelta(minutes=number))


# Bookmarks


def test_each_stream_has_a_bookmark_of_strings_under_its_own_key(
    tap: TapCommand,
    serve: Serve,
) -> None:
    run = tap(config=config_for(serve(make_calls(5))))

    assert run.state == state_of(minute(5), minute(5))


@pytest.mark.parametrize(
    ("calls", "participations", "settings", "since"),
    [
        (minute(100), minute(80), {"lookback_window": 60}, minute(79)),
        (minute(80), minute(100), {"lookback_window": 0}, "2026-03-02T10:19:59.000Z"),
        (minute(80), minute(100), {}, minute(20)),
        (minute(80), minute(80), {"start_date": minute(50)}, minute(50)),
        (minute(80), minute(80), {"start_date": minute(90)}, minute(90)),
        (minute(80), minute(80), {"lookback_window": 10**12}, "1970-01-01T00:00:00.000Z"),
        ("2026-03-02T11:20:01+02:00", minute(80), {"lookback_window": 0}, minute(20)),
        ("2026-03-02T09:20:01.123456Z", minute(80), {"lookback_window": 1}, None),
        (minute(80), None, {}, "1970-01-01T00:00:00.000Z"),
        (None, None, {"start_date": "2026-03-01"}, "2026-03-01T00:00:00.000Z"),
    ],
)
def test_a_run_begins_at_the_earlier_bookmark_less_the_lookback_of_a_second_at_least(
    tap: TapCommand,
    serve: Serve,
    calls: str | None,
    participations: str | None,
    settings: dict[str, Any],
    since: str | None,
) -> None:
    sandbox = serve(make_calls(120))

    tap(config=config_for(sandbox, **settings), state=state_of(calls, participations))

    assert sandbox.requests[0].query["since"] == (since or "2026-03-02T09:20:00.123456Z")


def test_a_start_date_after_the_bookmark_is_warned_of(tap: TapCommand, serve: Serve) -> None:
    config = config_for(serve(make_calls(30)), start_date=minute(20))

    run = tap(config=config, state=state_of(minute(10), minute(25)))

    line = "start_date is after the bookmark of calls: calls in between are not read."
    assert run.stderr.count(line) == 1


def test_bookmarks_never_move_back_while_a_lookback_reads_older_calls(
    tap: TapCommand,
    serve: Serve,
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


def test_rows_of_a_lookback_alone_are_written(tap: TapCommand, serve: Serve) -> None:
    """No STATE takes them along, because no bookmark moves."""
    run = tap(config=config_for(serve(make_calls(3))), state=state_of(minute(5), minute(5)))

    assert run.ids("calls") == [1, 2, 3]
    assert len(run.ids("call_participations")) == 6


def test_timestamps_of_any_width_and_offset_are_in_order(tap: TapCommand, serve: Serve) -> None:
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
        "2026-03-02T09:00:00.500Z",
        "2026-03-02T09:00:01Z",
        "2026-03-02T09:00:01.000001Z",
        "2026-03-02T09:00:02.25Z",
        "2026-03-02T09:00:03Z",
    ]
    states = [bookmarks(m["value"])[0] for m in run.messages if m["type"] == "STATE"]
    ends = [row["ended_at"] for row in run.records("calls")]
    assert [state for state in ends if state in states] == list(dict.fromkeys(filter(None, states)))
    assert states[-1] == ends[-1]


@pytest.mark.parametrize("value", [7, "yesterday", ""])
def test_a_state_that_is_no_timestamp_is_named(tap: TapCommand, serve: Serve, value: Any) -> None:
    sandbox = serve(make_calls(3))

    run = tap(config=config_for(sandbox), state=state_of(value, minute(1)))

    assert run.returncode == 1
    assert run.count("RECORD") == 0
    assert sandbox.requests == []
    (error,) = run.errors
    assert error == (
        "The state has no timestamp in 'replication_key_value' of 'calls': correct the state, or "
        "run with --full-refresh."
    )


# Selection


def test_participations_alone_stay_incremental(tap: TapCommand, serve: Serve) -> None:
    log = CallLog(make_calls(30))
    sandbox = serve(log)
    config = config_for(sandbox, lookback_window=0, page_size=10)
    catalog = tap.discover(calls=False)

    first = tap(config=config, catalog=catalog)
    log.add(make_call(31))
    second = tap(config=config, catalog=catalog, state=first.state)

    assert second.ids("call_participations") == [300, 301, 310, 311]
    assert sandbox.requests[-1].query["since"] == "2026-03-02T09:29:59.000Z"


def test_a_stream_selected_later_gets_its_past_even_if_that_is_killed(
    tap: TapCommand,
    serve: Serve,
) -> None:
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


def test_full_table_replication_reads_everything_and_keeps_no_bookmark(
    tap: TapCommand,
    serve: Serve,
) -> None:
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


def test_no_version_is_activated_in_an_incremental_run(tap: TapCommand, serve: Serve) -> None:
    config = config_for(serve(make_calls(25)), page_size=10, emit_activate_version_messages=True)

    run = tap(config=config)

    assert {m["type"] for m in run.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert not any("version" in m for m in run.messages)


# Killed anywhere


def rows_until_last_state(lines: list[str]) -> tuple[set[int], set[int], dict[str, Any]]:
    """Return what a target kept that holds to the last STATE, and that state."""
    calls: set[int] = set()
    participations: set[int] = set()
    kept: tuple[set[int], set[int], dict[str, Any]] = (set(), set(), {})
    for line in lines:
        message = json.loads(line)
        if message["type"] == "RECORD":
            ids = calls if message["stream"] == "calls" else participations
            ids.add(message["record"]["id"])
        elif message["type"] == "STATE":
            kept = (set(calls), set(participations), message["value"])
    return kept


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
@pytest.mark.parametrize("lines_read", [1, 150, 1000])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_run_that_is_stopped_is_completed_by_the_next(
    tap: TapCommand,
    serve: Serve,
    stop: signal.Signals | None,
    lines_read: int,
    unbuffered: str,
) -> None:
    """A signal to the tap, or (None) a target that closes the pipe."""
    calls = make_calls(600)
    config = config_for(serve(calls), page_size=100, lookback_window=0)
    tap_process = subprocess.Popen(
        tap.command(config=config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment() | {"PYTHONUNBUFFERED": unbuffered},
        text=True,
    )
    with tap_process as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(lines_read)]
        if stop is None:
            process.stdout.close()
        else:
            process.send_signal(stop)
            lines += process.stdout.readlines()
        stderr = process.stderr.read()
        returncode = process.wait()

    assert all(line.endswith("\n") for line in lines), "a line was cut"
    kept_calls, kept_participations, state = rows_until_last_state(lines)
    rest = tap(config=config, state=state)
    assert kept_calls | set(rest.ids("calls")) == {call["id"] for call in calls}
    every_participation = {p["id"] for call in calls for p in call["call_participations"]}
    assert kept_participations | set(rest.ids("call_participations")) == every_participation
    if stop is None:
        assert returncode == 1
        assert Run(returncode, "", stderr).errors == [
            "The target stopped reading. Look for its own error; the next run goes on here.",
        ]
    elif stop is not signal.SIGKILL:
        assert returncode == 128 + stop
    assert "Traceback" not in stderr


def test_sigterm_ends_a_run_whose_target_has_stopped_reading(
    tap: TapCommand,
    serve: Serve,
) -> None:
    """A full pipe must not hold a tap that is told to stop."""
    config = config_for(serve(make_calls(5000)))
    command = tap.command(config=config)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(1.5)  # until the pipe is full
        process.terminate()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        assert process.stdout.read().endswith(b"\n")


def test_sigterm_ends_a_wait_at_once(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, faults.rate_limited("300")])
    command = tap.command(config=config_for(sandbox, page_size=10))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for line in process.stderr:
            if b"Trying again in" in line:
                break
        process.terminate()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        kept_calls, _, state = rows_until_last_state(process.stdout.read().decode().splitlines())
    assert kept_calls == set(range(1, 11))
    assert bookmarks(state) == (minute(10), minute(10))


def test_a_state_follows_every_page(tap: TapCommand, serve: Serve) -> None:
    for selected in ({}, {"call_participations": False}, {"calls": False}):
        config = config_for(serve(make_calls(95)), page_size=10)
        run = tap(config=config, catalog=tap.discover(**selected))

        states = {bookmarks(m["value"]) for m in run.messages if m["type"] == "STATE"}
        ends = {minute(min(number, 95)) for number in range(10, 101, 10)}
        assert {calls or parts for calls, parts in states} - {None} == ends


def test_an_error_in_the_middle_of_a_page_leaves_the_state_of_the_page_before(
    tap: TapCommand,
    serve: Serve,
) -> None:
    calls = make_calls(30)
    # A stream map that fails on one call of the second page.
    maps = {"calls": {"inverse": "1 / (id - 15)"}}
    config = config_for(serve(calls), page_size=10, stream_maps=maps)

    run = tap(config=config)

    assert run.returncode == 1
    assert bookmarks(run.state) == (minute(10), minute(10))
    rest = tap(config=config | {"stream_maps": {}}, state=run.state)
    assert set(run.ids("calls")) | set(rest.ids("calls")) == set(range(1, 31))


# Late calls


def test_a_call_finalised_within_the_lookback_is_picked_up_by_the_next_run(
    tap: TapCommand,
    serve: Serve,
) -> None:
    log = CallLog(make_calls(100))
    sandbox = serve(log)
    first = tap(config=config_for(sandbox))
    log.add(make_call(900, ended_at=FIRST_END + timedelta(minutes=41)))

    second = tap(config=config_for(sandbox), state=first.state)
    without = tap(config=config_for(sandbox, lookback_window=0), state=first.state)

    assert 900 in second.ids("calls")
    assert 900 not in without.ids("calls")
    assert bookmarks(second.state) == bookmarks(first.state)


# Odd data


def test_nulls_and_missing_participations_are_rows_like_others(
    tap: TapCommand,
    serve: Serve,
) -> None:
    calls = make_calls(4)
    calls[0]["call_participations"][0]["user"] = None
    calls[0]["call_participations"][1]["user"] = {"email": None}
    calls[1]["call_participations"][0]["left_at"] = None
    calls[1]["call_participations"][1]["user"] = {}
    calls[2]["call_participations"] = []
    del calls[3]["call_participations"]
    calls[3]["started_at"] = None
    del calls[3]["duration_seconds"]

    run = tap(config=config_for(serve(calls)))

    emails = [row["user_email"] for row in run.records("call_participations")]
    assert emails == [None, None, "person0@lumen.example", None]
    assert run.records("call_participations")[2]["left_at"] is None
    assert run.records("calls")[3] == {
        "id": 4,
        "started_at": None,
        "ended_at": minute(4),
        "duration_seconds": None,
    }
    assert run.returncode == 0


def test_each_new_field_is_warned_of_once_a_run(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(30)
    for call in calls:
        call["room"] = {"name": "Lounge"}
        for participation in call["call_participations"]:
            participation["role"] = "host"
            participation["user"]["name"] = "canary"
            participation["user"]["canary@lumen.example"] = 1

    run = tap(config=config_for(serve(calls), page_size=10))

    assert run.ids("calls") == list(range(1, 31))
    for name in ("call.room", "call_participations.role", "user.name"):
        assert run.stderr.count(f"has a new field, '{name}'") == 1
    assert "canary" not in run.stdout + run.stderr
    assert run.stderr.count("WARNING") == 4


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", "abc", "Expected `int`, got `str` in 'id' of call number 3"),
        ("id", None, "Expected `int`, got `null` in 'id' of call number 3"),
        ("ended_at", None, "Expected `str`, got `null` in 'ended_at' of call 12"),
        ("ended_at", 1772442000, "Expected `str`, got `int` in 'ended_at' of call 12"),
        ("started_at", "canary@lumen.example", "no timestamp in 'started_at' of call 12"),
        ("duration_seconds", "long", "got `str` in 'duration_seconds' of call 12"),
        ("call_participations", {}, "got `object` in 'call_participations' of call 12"),
        (
            "call_participations",
            [{"id": 1, "user": "canary@lumen.example"}],
            "got `str` in 'call_participations[0].user' of call 12",
        ),
        (
            "call_participations",
            [{"user": None}],
            "missing required field `id` in 'call_participations[0]' of call 12",
        ),
    ],
)
def test_a_wrong_value_is_named_and_nothing_of_its_page_goes_out(
    tap: TapCommand,
    serve: Serve,
    field: str,
    value: Any,
    message: str,
) -> None:
    sandbox = serve(make_calls(30))

    def spoil(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls[2][field] = value
        return calls

    sandbox.faults.extend([None, faults.edited(spoil)])
    run = tap(config=config_for(sandbox, page_size=10))

    assert run.returncode == 1
    assert run.ids("calls") == list(range(1, 11))
    assert len(run.ids("call_participations")) == 20
    assert bookmarks(run.state) == (minute(10), minute(10))
    (error,) = run.errors
    assert message in error
    assert "canary" not in run.stderr


def test_an_empty_window_asks_for_nothing(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(30))

    config = config_for(sandbox, end_date=minute(10))
    run = tap(config=config, state=state_of(minute(90), minute(90)))

    assert sandbox.requests == []
    assert (run.count("SCHEMA"), run.count("RECORD"), run.returncode) == (2, 0, 0)
    assert bookmarks(run.state) == (minute(90), minute(90))


def test_a_state_that_is_no_state_is_refused(tap: TapCommand, tmp_path: Path) -> None:
    for text in ("[]", '{"bookmarks": []}', '{"bookmarks": {"calls": 1}}', "{"):
        path = tmp_path / "odd.json"
        path.write_text(text)
        run = tap("--state", str(path), config={"api_token": "sk-tuple-x"})

        assert run.returncode == 1
        (error,) = run.errors
        assert error.startswith("--state ")
        assert "Traceback" not in run.stderr
