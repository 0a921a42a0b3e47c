"""Runs the tap in the test's own process, so that its clock and output can be replaced."""

from __future__ import annotations

import io
import signal
import time
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator


class KilledError(BaseException):
    """Simulates a killed process, which can't clean up."""


class SimulatedClock:
    """A clock that advances only during waits, which take no real time."""

    def __init__(self) -> None:
        """Start at an arbitrary time."""
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the clock instead of waiting."""
        self.waits.append(seconds)
        self.now += seconds


class Pipe(io.TextIOBase):
    """Accepts whole lines, and simulates a kill after a given number of them."""

    def __init__(self, lines_until_killed: int | None) -> None:
        self.lines: list[bytes] = []
        self._left = lines_until_killed

    @property
    def buffer(self) -> Pipe:
        """The object that bytes are written to."""
        return self

    @override
    def write(self, data: Any) -> int:
        assert bytes(data).endswith(b"\n"), "output ends in a partial line"
        for line in bytes(data).splitlines():
            self.lines.append(line)
            if self._left is not None and len(self.lines) >= self._left:
                raise KilledError
        return len(data)


@contextmanager
def simulated(pipe: Pipe, clock: SimulatedClock) -> Generator[None]:
    """Replace standard output with the pipe, and the time with the clock."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    simulated_time = patch.multiple(time, sleep=clock.sleep, monotonic=clock.monotonic)
    try:
        with redirect_stdout(pipe), simulated_time:
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
