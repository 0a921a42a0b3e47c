"""The output has only whole lines, however a run ends, and the state never gets ahead of it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import Run, bookmarks, clean_environment, config_for, make_calls, minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def rows_until_last_state(lines: list[str]) -> tuple[set[int], set[int], dict[str, Any]]:
    """Return the call ids and participation ids written before the last STATE, and that state."""
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


@pytest.mark.parametrize(
    ("stop", "lines_read", "unbuffered"),
    [
        (signal.SIGKILL, 1, "1"),
        (signal.SIGKILL, 150, ""),
        (signal.SIGKILL, 1000, "1"),
        (signal.SIGTERM, 1, ""),
        (signal.SIGTERM, 150, "1"),
        (signal.SIGINT, 1000, ""),
        (None, 1, "1"),
        (None, 1000, ""),
    ],
)
def test_next_run_completes_a_stopped_run(
    tap: TapCommand, serve: Serve, stop: signal.Signals | None, lines_read: int, unbuffered: str
) -> None:
    """The run is stopped by a signal or, if `stop` is None, by a target that closes the pipe."""
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
            "The target stopped reading. Look for its error. The next run continues."
        ]
    elif stop is not signal.SIGKILL:
        assert returncode == 128 + stop
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_sigterm_ends_a_run_with_a_stuck_target(tap: TapCommand, serve: Serve) -> None:
    """The tap stops even if it's blocked by a full pipe."""
    config = config_for(serve(make_calls(5000)))
    command = tap.command(config=config)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(1.5)  # until the pipe is full
        process.terminate()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        assert process.stdout.read().endswith(b"\n")


@pytest.mark.parametrize("attempt", range(5))
def test_sigterm_ends_a_retry_wait_immediately(tap: TapCommand, serve: Serve, attempt: int) -> None:  # noqa: ARG001
    """The signal arrives while the tap is still logging the message that announces the wait."""
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, faults.rate_limited("300")])
    command = tap.command(config=config_for(sandbox, page_size=10))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for line in process.stderr:
            if b"Retrying in" in line:
                break
        process.terminate()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        kept_calls, _, state = rows_until_last_state(process.stdout.read().decode().splitlines())
    assert kept_calls == set(range(1, 11))
    assert bookmarks(state) == (minute(10), minute(10))
