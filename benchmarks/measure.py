"""Runs commands, and measures their cost and output."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from benchmarks import launcher
from tests.conftest import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

LAUNCHER = (sys.executable, "-I", "-S", launcher.__file__)
RECORD_PREFIX = b'{"type":"RECORD"'
LAST_LINES = 20


class CommandFailedError(Exception):
    """A measured command failed, so its figures are meaningless."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run."""

    arguments: Sequence[str]
    """The program's path comes first."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The cost and the output of one run of a command."""

    cpu_seconds: float
    """User and system time, including that of child processes it waited for."""
    wall_seconds: float
    peak_bytes: int
    """Peak memory of one process."""
    messages: Counter[str] = field(default_factory=Counter)
    """Singer messages by type."""
    log_lines: int = 0


def measure(command: Command) -> Measurement:
    """Run a command, and read the messages that it writes.

    Raises:
        CommandFailedError: If it does not exit with 0.
    """
    with _Run(command, stdout=subprocess.PIPE) as run:
        assert run.process.stdout
        messages = _count_messages(run.process.stdout)
        return run.finish(messages)


def measure_pipe(tap: Command, target: Command) -> tuple[Measurement, Measurement]:
    """Run two commands, with the output of the first piped into the second.

    Returns:
        The measurement of each. The wall time is that of both together.

    Raises:
        CommandFailedError: If one of them does not exit with 0.
    """
    began = time.perf_counter()
    with (
        _Run(tap, stdout=subprocess.PIPE) as source,
        _Run(target, stdin=source.process.stdout, stdout=subprocess.DEVNULL) as sink,
    ):
        assert source.process.stdout
        # Only the target may hold the pipe's read end, so that the tap notices if the target dies.
        source.process.stdout.close()
        loaded = sink.finish()
        extracted = source.finish()
    wall_seconds = time.perf_counter() - began
    first, second = (
        Measurement(each.cpu_seconds, wall_seconds, each.peak_bytes, log_lines=each.log_lines)
        for each in (extracted, loaded)
    )
    return first, second


class _Run:
    """A running command, as a context manager."""

    def __init__(
        self, command: Command, *, stdin: IO[bytes] | int | None = subprocess.DEVNULL, stdout: int
    ) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._report = folder / "report.json"
            self._log = folder / "log"
            self.process = stack.enter_context(
                subprocess.Popen(
                    [*LAUNCHER, str(self._report), *command.arguments],
                    cwd=ROOT,
                    env={**clean_environment(), **command.env},
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stack.enter_context(self._log.open("wb")),
                )
            )
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._stack.close()

    def finish(self, messages: Counter[str] | None = None) -> Measurement:
        """Wait for the command to finish."""
        code = self.process.wait()
        with self._log.open("rb") as log:
            lines = sum(1 for _ in log)
        if code != 0:
            last = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            msg = "\n".join([f"{self.process.args!r} exited with {code}:", *last])
            raise CommandFailedError(msg)
        figures = json.loads(self._report.read_text())
        return Measurement(**figures, messages=messages or Counter(), log_lines=lines)


def _count_messages(lines: IO[bytes]) -> Counter[str]:
    """Count Singer messages by type. Any other line counts as "other"."""
    records = 0
    others: Counter[str] = Counter()
    for line in lines:
        if line.startswith(RECORD_PREFIX):
            records += 1
        else:
            others[_type_of(line)] += 1
    return Counter({"RECORD": records}) + others


def _type_of(line: bytes) -> str:
    try:
        message = json.loads(line)
    except ValueError:
        return "other"
    return str(message.get("type", "other")) if isinstance(message, dict) else "other"
