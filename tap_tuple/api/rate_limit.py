"""The tap's share of the team's requests, and how long a run will take with it."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

WINDOW_SECONDS = 60.0
"""The API counts requests in a minute."""

MARGIN_SECONDS = 0.25
"""Kept free at the end of a window, for a server whose clock is coarse."""

PROGRESS_INTERVAL_SECONDS = 10.0
"""The least time between two lines of progress, and before the first."""


class RateLimiter:
    """Lets at most so many requests begin in any 60 seconds; bursts are free until then.

    A request counts from the moment its response is there: whenever the server counted it, that
    was earlier. So a slow network never makes two requests look closer to the server than here.
    """

    def __init__(self, requests_per_minute: int, logger: logging.Logger) -> None:
        """Start with no request made.

        Args:
            requests_per_minute: At least 1.
            logger: Gets a line for each wait, and the progress.
        """
        self.requests = 0
        """Requests made so far, retries counted."""
        self._limit = requests_per_minute
        self._logger = logger
        self._responded_at: deque[float] = deque(maxlen=requests_per_minute)
        self._began_at = self._reported_at = time.monotonic()

    def limit(self, request: Callable[P, T]) -> Callable[P, T]:
        """Make a function that sends one request wait for its turn.

        Args:
            request: Sends one request each time it is called.

        Returns:
            The same, within the limit.
        """

        def limited(*args: P.args, **kwargs: P.kwargs) -> T:
            self._wait()
            self.requests += 1
            try:
                return request(*args, **kwargs)
            finally:
                self._responded_at.append(time.monotonic())

        return limited

    def report_progress(self, read: int, missing: int | None, page: int) -> None:
        """Log how far the run is and how long the rest will take, at most every ten seconds.

        Args:
            read: Calls read so far.
            missing: Calls that are left; None if that is not known.
            page: Pages read so far.
        """
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

    def _wait(self) -> None:
        if len(self._responded_at) < self._limit:
            return
        seconds = self._responded_at[0] + WINDOW_SECONDS + MARGIN_SECONDS - time.monotonic()
        if seconds > 0:
            self._logger.info(
                "Made %d requests within a minute, as many as requests_per_minute allows: "
                "waiting %.0f seconds.",
                self._limit,
                seconds,
            )
            time.sleep(seconds)
