"""The tap's share of the team's requests, and how long a run will take with it."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator

WINDOW_SECONDS = 60.0  # the API counts requests in a minute
MARGIN_SECONDS = 0.25  # kept free at the end of a window, for a server whose clock is coarse
MAX_REMEMBERED = 10_000  # requests of a minute that are kept in mind: more cannot be made
PROGRESS_INTERVAL_SECONDS = 10.0  # the least time before a line of progress


class RateLimiter:
    """Lets at most so many requests begin in any 60 seconds; bursts are free until then.

    A request counts from the moment its response is there: whenever the server counted it, that
    was earlier. So a slow network never makes two requests look closer to the server than here.
    """

    def __init__(self, requests_per_minute: int, logger: logging.Logger) -> None:
        """Start with no request made; the logger gets each wait, and the progress."""
        self.requests = 0  # made so far, retries counted
        self._limit = requests_per_minute
        self._logger = logger
        self._responded_at: deque[float] = deque(maxlen=min(requests_per_minute, MAX_REMEMBERED))
        self._began_at = self._reported_at = time.monotonic()

    @contextmanager
    def turn(self) -> Generator[None]:
        """Wait until a request may begin, and count the one that is made in this context."""
        if len(self._responded_at) == self._limit:
            seconds = self._responded_at[0] + WINDOW_SECONDS + MARGIN_SECONDS - time.monotonic()
            if seconds > 0:
                self._logger.info(
                    "Made %d requests within a minute, as many as requests_per_minute allows: "
                    "waiting %.0f seconds.",
                    self._limit,
                    seconds,
                )
                time.sleep(seconds)
        self.requests += 1
        try:
            yield
        finally:
            self._responded_at.append(time.monotonic())

    def report_progress(self, read: int, missing: int | None, page: int) -> None:
        """Log the calls read, those missing and the time they take, at most every ten seconds."""
        now = time.monotonic()
        if now - self._reported_at < PROGRESS_INTERVAL_SECONDS:
            return
        self._reported_at = now
        if not read or not missing:
            self._logger.info("Read %d calls, page %d.", read, page)
            return
        at_this_pace = (now - self._began_at) / read * missing
        # If every request were answered at once.
        recent = sum(now - responded < WINDOW_SECONDS for responded in self._responded_at)
        waiting = -(-missing * page // read) - (self._limit - recent)
        at_the_limit = max(0, waiting) * WINDOW_SECONDS / self._limit
        self._logger.info(
            "Read %d of %d calls (%d %%), page %d; about %s left.",
            read,
            read + missing,
            100 * read // (read + missing),
            page,
            timedelta(seconds=round(max(at_this_pace, at_the_limit))),
        )
