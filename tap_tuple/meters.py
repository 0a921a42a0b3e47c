"""Meters that measure a run where the SDK's measure a sync, of which a child has one per page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from singer_sdk.metrics import Counter, Metric, Point, Tag, Timer, log
from typing_extensions import override

if TYPE_CHECKING:
    from types import TracebackType


class RunCounter(Counter):
    """Counts records until `exit` reports them."""

    def __init__(self, stream: str) -> None:
        """Start at zero.

        Args:
            stream: The stream's name.
        """
        super().__init__(Metric.RECORD_COUNT, {Tag.STREAM: stream}, log_interval=math.inf)

    @override
    def increment(self, value: int = 1) -> None:
        """Count, without a look at the clock."""
        self.value += value

    @override
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Wait for the next page."""


class RunTimer(Timer):
    """Adds up the time of all syncs until `exit` reports it."""

    def __init__(self, stream: str) -> None:
        """Start at zero.

        Args:
            stream: The stream's name.
        """
        super().__init__(Metric.SYNC_DURATION, {Tag.STREAM: stream})
        self.seconds = 0.0

    @override
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Add the time of one sync."""
        self.seconds += self.elapsed()

    def exit(self) -> None:
        """Report the time of all syncs."""
        log(self.logger, Point("timer", self.metric, self.seconds, self.tags))
