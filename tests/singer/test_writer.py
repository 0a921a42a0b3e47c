"""The output has only whole lines, however a run ends, and the state never gets ahead of it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import RecordMessage, StateMessage
from typing_extensions import override

from tap_tuple.sandbox import faults
from tap_tuple.singer.writer import ATOMIC_BYTES, LineWriter, OutputError
from tests.conftest import Run, bookmarks, clean_environment, config_for, make_calls, minute

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand


EMPTY_LINE = (
    b'{"type":"RECORD","stream":"calls","record":{"x":""},'
    b'"time_extracted":"2026-03-02T09:00:00.123456Z"}\n'
)
"""The line of a row with an empty value. Its length is the same for any `time_extracted`."""


class Output(io.RawIOBase):
    """Standard output that records each write, and may accept only part of it."""

    def __init__(self, max_bytes: int | None = None) -> None:
        """Accept at most this many bytes per write. None means no limit."""
        self.writes: list[bytes] = []
        self._max_bytes = max_bytes

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        accepted = bytes(data)[: self._max_bytes]
        self.writes.append(accepted)
        return len(accepted)


def write_lines(output: io.RawIOBase, *lengths: int) -> LineWriter:
    """Write rows whose lines have these lengths, including the line break."""
    writer = LineWriter()
    with io.TextIOWrapper(io.BufferedWriter(output)) as stdout, redirect_stdout(stdout):
        values = ("x" * (length - len(EMPTY_LINE)) for length in lengths)
        writer.write_rows("calls", [{"x": value} for value in values])
    return writer


class TestLineWriter:
    @pytest.mark.parametrize(
        ("lengths", "written"),
        [
            ([1000], [1000]),
            ([ATOMIC_BYTES], [ATOMIC_BYTES]),
            ([ATOMIC_BYTES // 2] * 2, [ATOMIC_BYTES]),
            (
                [ATOMIC_BYTES // 2, ATOMIC_BYTES // 2 + 1],
                [ATOMIC_BYTES // 2, ATOMIC_BYTES // 2 + 1],
            ),
            ([ATOMIC_BYTES + 1], [ATOMIC_BYTES + 1]),
            ([1000, 3 * ATOMIC_BYTES, 1000], [1000, 3 * ATOMIC_BYTES, 1000]),
            ([1000] * 6, [4000, 2000]),
        ],
        ids=str,
    )
    def test_each_write_holds_whole_lines_up_to_pipe_buf(
        self, lengths: list[int], written: list[int]
    ) -> None:
        """A longer line gets a separate write."""
        output = Output()

        write_lines(output, *lengths)

        assert [len(each) for each in output.writes] == written
        assert all(each.endswith(b"\n") for each in output.writes)

    def test_partial_writes_are_continued(self) -> None:
        whole, partial = Output(), Output(max_bytes=7)

        write_lines(whole, 1000, 1000)
        write_lines(partial, 1000, 1000)

        assert len(b"".join(partial.writes)) == len(b"".join(whole.writes)) == 2000

    def test_writer_waits_for_a_full_nonblocking_pipe(self) -> None:
        """Without waiting, it would retry thousands of times before the reader starts."""
        reading_end, writing_end = os.pipe()
        os.set_blocking(writing_end, False)
        received = bytearray()
        attempts = []

        class Pipe(io.FileIO):
            @override
            def write(self, data: Any) -> Any:
                attempts.append(len(data))
                return super().write(data)

        def read_late() -> None:
            time.sleep(0.2)
            with os.fdopen(reading_end, "rb") as file:
                received.extend(file.read())

        reader = threading.Thread(target=read_late)
        reader.start()
        # More than a pipe holds.
        lines = 100
        write_lines(Pipe(writing_end, "w"), *[ATOMIC_BYTES] * lines)
        reader.join()

        assert len(received) == lines * ATOMIC_BYTES
        assert len(attempts) < 3 * lines

    def test_rows_are_counted_by_stream(self) -> None:
        writer = write_lines(Output(), 1000, 1000)
        with redirect_stdout(io.TextIOWrapper(io.BufferedWriter(Output()))):
            writer.write_message(RecordMessage("seats", {"id": 1}))
            writer.write_message(StateMessage({}))

        assert writer.rows == {"calls": 2, "seats": 1}

    def test_full_disk_is_reported(self) -> None:
        with pytest.raises(OutputError, match="Can't write to standard output: No space left"):
            write_lines(io.FileIO("/dev/full", "w"), 1000)

    def test_target_that_stopped_reading_is_reported(self) -> None:
        reading_end, writing_end = os.pipe()
        os.close(reading_end)

        with pytest.raises(OutputError, match=r"The target stopped reading\. Look for its error."):
            write_lines(io.FileIO(writing_end, "w"), 1000)


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
        (signal.SIGKILL, 1000, "1"),
        (signal.SIGTERM, 150, ""),
        (None, 150, "1"),
        pytest.param(signal.SIGKILL, 1, "1", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, 150, "", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 1, "1", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 1000, "", marks=pytest.mark.slow),
        pytest.param(None, 1000, "", marks=pytest.mark.slow),
    ],
)
def test_next_run_completes_a_stopped_run(
    tap: TapCommand,
    serve: SandboxFactory,
    stop: signal.Signals | None,
    lines_read: int,
    unbuffered: str,
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

    assert all(line.endswith("\n") for line in lines), "output ends in a partial line"
    kept_calls, kept_participations, state = rows_until_last_state(lines)
    rest = tap(config=config, state=state)
    assert kept_calls | set(rest.ids("calls")) == {call["id"] for call in calls}
    every_participation = {p["id"] for call in calls for p in call["call_participations"]}
    assert kept_participations | set(rest.ids("call_participations")) == every_participation
    if stop is None:
        assert returncode == 1
        assert Run(returncode, "", stderr).errors == [
            (
                "The target stopped reading. Look for its error. The next run resumes from the "
                "last saved bookmark."
            )
        ]
    elif stop is not signal.SIGKILL:
        assert returncode == 128 + stop
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_sigterm_ends_a_run_with_a_stuck_target(tap: TapCommand, serve: SandboxFactory) -> None:
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


@pytest.mark.parametrize(
    "attempt", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))]
)
def test_sigterm_ends_a_retry_wait_immediately(
    tap: TapCommand,
    serve: SandboxFactory,
    attempt: int,  # noqa: ARG001
) -> None:
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


def test_closed_standard_output_is_reported_on_one_line(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    command = tap.command(config=config_for(serve(make_calls(3))))

    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "bash", *command],  # noqa: S607
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
        check=False,
    )

    assert Run(done.returncode, "", done.stderr).only_error.startswith(
        "Can't write to standard output: "
    )
