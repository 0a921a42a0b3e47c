"""Runs the tap inside of the test's process, where time can stand still or fly."""

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
    """Stands for a process that ends here, without a chance to clean up."""


class StandingClock:
    """A clock that only a wait moves: an hour of waiting takes no time."""

    def __init__(self) -> None:
        """Start somewhere."""
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        """Tell the time, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.now += seconds


class Pipe(io.TextIOBase):
    """Takes whole lines until it is time for the tap to be killed."""

    def __init__(self, lines_until_killed: int | None) -> None:
        self.lines: list[bytes] = []
        self._left = lines_until_killed

    @property
    def buffer(self) -> Pipe:
        """What a writer of bytes writes to."""
        return self

    @override
    def write(self, data: Any) -> int:
        assert bytes(data).endswith(b"\n"), "a line was cut"
        for line in bytes(data).splitlines():
            self.lines.append(line)
            if self._left is not None and len(self.lines) >= self._left:
                raise KilledError
        return len(data)


@contextmanager
def standing_in(pipe: Pipe, clock: StandingClock) -> Generator[None]:
    """Put the pipe in the place of standard output, and the clock in that of time."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    time_stands = patch.multiple(time, sleep=clock.sleep, monotonic=clock.monotonic)
    try:
        with redirect_stdout(pipe), time_stands:
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
