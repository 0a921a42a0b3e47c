"""Tells a person who watches a long run how far it is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from tap_tuple.budget import RequestBudget
    from tap_tuple.pagination import CallPages

INTERVAL_SECONDS = 10.0
"""The least time between two lines, and before the first."""


class Progress:
    """Says at most every ten seconds what is read, and how long the rest will take."""

    def __init__(self, pages: CallPages, budget: RequestBudget, logger: logging.Logger) -> None:
        """Start the clock.

        Args:
            pages: Knows how many calls are read, and of how many.
            budget: Knows what the rate limit makes of the requests to come.
            logger: Takes a line now and then.
        """
        self._pages = pages
        self._budget = budget
        self._logger = logger
        self._began = self._said = time.monotonic()

    def report(self) -> None:
        """Say how far the run is, if it is time to."""
        now = time.monotonic()
        if now - self._said < INTERVAL_SECONDS:
            return
        self._said = now
        read, left, page = self._pages.read, self._pages.missing, self._pages.count + 1
        if not read or not left:
            self._logger.info("Read %d calls, page %d.", read, page)
            return
        promised = read + left
        at_this_pace = (now - self._began) / read * left
        by_the_budget = self._budget.seconds_for(-(-left * page // read))
        self._logger.info(
            "Read %d of %d calls (%d %%), page %d; about %s left.",
            read,
            promised,
            100 * read // promised,
            page,
            timedelta(seconds=round(max(at_this_pace, by_the_budget))),
        )
