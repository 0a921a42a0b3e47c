"""Progress of a run: how many calls have been read, and how long the rest will take."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_tuple.text import count

if TYPE_CHECKING:
    import logging

    from tap_tuple.api.rate_limit import RateLimiter

INTERVAL_SECONDS = 10.0
"""The minimum time between two progress lines."""


class Progress:
    """Counts calls and pages, and logs a progress line at most every ten seconds."""

    def __init__(self, rate_limiter: RateLimiter, logger: logging.Logger) -> None:
        """Start counting from zero."""
        self.calls_read = 0
        """Number of calls that were new or had changed."""
        self.calls_missing: int | None = None
        """Number of calls that Tuple reports but that haven't been read. None if it isn't known."""
        self.pages_read = 0
        """Number of pages, including repeated ones."""
        self._rate_limiter = rate_limiter
        self._logger = logger
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._started_at = time.monotonic()
        self._reported_at = self._started_at

    def add_page(self, calls: int, missing: int | None) -> None:
        """Count a page with this many calls, and log a progress line if one is due."""
        self.calls_read += calls
        self.calls_missing = missing
        self.pages_read += 1

        now = time.monotonic()
        if now - self._reported_at >= INTERVAL_SECONDS:
            self._reported_at = now
            self._report()

    def _report(self) -> None:
        if not self.calls_read or not self.calls_missing:
            calls = count(self.calls_read, "call")
            self._logger.info("Read %s, page %d.", calls, self.pages_read)
            return
        total = self.calls_read + self.calls_missing
        self._logger.info(
            "Read %s of %s calls (%d%%), page %d. About %s left.",
            f"{self.calls_read:,}",
            f"{total:,}",
            100 * self.calls_read // total,
            self.pages_read,
            self._time_left(self.calls_missing),
        )

    def _time_left(self, missing: int) -> timedelta:
        elapsed_seconds = time.monotonic() - self._started_at
        at_this_pace = elapsed_seconds / self.calls_read * missing
        pages_left = math.ceil(self.pages_read / self.calls_read * missing)
        at_the_rate_limit = self._rate_limiter.seconds_for(pages_left)
        return timedelta(seconds=round(max(at_this_pace, at_the_rate_limit)))
