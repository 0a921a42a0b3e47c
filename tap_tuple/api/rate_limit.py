"""Rate limiting, which keeps the tap within its share of the team's rate limit."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_tuple.text import count

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator

WINDOW_SECONDS = 60.0
"""The API limits the number of requests per window of this length."""
MARGIN_SECONDS = 0.25
"""Added to a window, in case the server's clock is coarse."""
MAX_REMEMBERED_REQUESTS = 10_000
"""More requests than anyone makes in a minute."""


class RateLimiter:
    """Allow a limited number of requests per 60 seconds, with bursts up to the limit.

    A request counts from when its response arrives. By then, the server has counted it. So even on
    a slow network, the server never counts more requests per window than this class does.
    """

    def __init__(self, requests_per_minute: int, logger: logging.Logger) -> None:
        """Set the limit, and the logger that reports each wait."""
        self.requests = 0
        """Number of requests so far, including retries."""
        self._limit = requests_per_minute
        self._logger = logger
        remembered = min(requests_per_minute, MAX_REMEMBERED_REQUESTS)
        self._responded_at: deque[float] = deque(maxlen=remembered)

    @contextmanager
    def turn(self) -> Generator[None]:
        """Wait until a request may start, then count the request made in this context."""
        self._wait()
        self.requests += 1
        try:
            yield
        finally:
            self._responded_at.append(time.monotonic())

    def seconds_for(self, requests: float) -> float:
        """Estimate how long the limit would delay this many more requests, in seconds."""
        now = time.monotonic()
        recent = sum(now - responded < WINDOW_SECONDS for responded in self._responded_at)
        left_in_this_window = self._limit - recent
        waiting = max(0.0, requests - left_in_this_window)
        return waiting * WINDOW_SECONDS / self._limit

    def _wait(self) -> None:
        if len(self._responded_at) < self._limit:
            return
        window_end = self._responded_at[0] + WINDOW_SECONDS + MARGIN_SECONDS
        seconds = window_end - time.monotonic()
        if seconds <= 0:
            return
        self._logger.info(
            "Reached requests_per_minute (%d). Waiting %s.", self._limit, count(seconds, "second")
        )
        time.sleep(seconds)
