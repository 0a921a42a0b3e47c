"""Keeps the tap within its share of the team's requests per minute."""

from __future__ import annotations

import time
from collections import deque
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


class RequestBudget:
    """Lets at most so many requests begin in any 60 seconds; bursts are free until then.

    A request counts from the moment its answer is there: whenever the server counted it, that
    was earlier. So a slow network never makes two requests look closer to the server than they
    are here.
    """

    def __init__(self, requests_per_minute: int, logger: logging.Logger) -> None:
        """Start with an unused budget.

        Args:
            requests_per_minute: At least 1.
            logger: Takes a line when the tap begins to wait.
        """
        self.spent = 0
        """Requests made so far, retries counted."""
        self._logger = logger
        self._answered: deque[float] = deque(maxlen=requests_per_minute)

    def limit(self, request: Callable[P, T]) -> Callable[P, T]:
        """Make a function that sends one request wait for its turn.

        Args:
            request: Sends one request each time it is called.

        Returns:
            The same, within the budget.
        """

        def within_budget(*args: P.args, **kwargs: P.kwargs) -> T:
            self._wait()
            self.spent += 1
            try:
                return request(*args, **kwargs)
            finally:
                self._answered.append(time.monotonic())

        return within_budget

    def seconds_for(self, requests: int) -> float:
        """Return the least time that so many more requests take, were they answered at once."""
        share = self._answered.maxlen or 1
        now = time.monotonic()
        recent = sum(now - answered < WINDOW_SECONDS for answered in self._answered)
        return max(0, requests - (share - recent)) * WINDOW_SECONDS / share

    def _wait(self) -> None:
        if len(self._answered) < (self._answered.maxlen or 0):
            return
        seconds = self._answered[0] + WINDOW_SECONDS + MARGIN_SECONDS - time.monotonic()
        if seconds > 0:
            self._logger.info(
                "%d requests were made in a minute, as many as requests_per_minute allows: "
                "waiting %.0f seconds.",
                len(self._answered),
                seconds,
            )
            time.sleep(seconds)
