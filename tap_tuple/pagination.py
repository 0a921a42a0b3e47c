"""Follows the pages of calls, and notices when they moved between two requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from singer_sdk.pagination import HeaderLinkPaginator
from typing_extensions import override

from tap_tuple.errors import UnexpectedAnswerError
from tap_tuple.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    import logging
    from datetime import datetime

    import requests

    from tap_tuple.answer import Call
    from tap_tuple.window import Window

RUN_PARAMETERS = {"since", "until", "per_page"}
"""What a run asks for, which no link may change."""

MAX_RESTARTS_WITHOUT_PROGRESS = 5
"""So often in a row may the pages not fit together before the run gives up."""

TOLERANCE = timedelta(seconds=1)
"""How far a call may lie outside of the window: the API may round where the database does not."""


@dataclass(slots=True)
class _LastCalls:
    """The end of the calls seen so far: ids tell calls apart that ended at the same instant."""

    end: datetime | None = None
    ids: set[int] = field(default_factory=set)

    def has(self, call: Call, end: datetime) -> bool:
        return end == self.end and call.id in self.ids

    def add_all(self, calls: list[Call], ends: list[datetime]) -> None:
        if not calls:
            return
        if ends[-1] != self.end:
            self.end = ends[-1]
            self.ids = set()
        self.ids.update(call.id for call, end in zip(calls, ends, strict=True) if end == self.end)


@dataclass(slots=True)
class _Sequence:
    """Pages of one and the same query: page 1, 2, 3 ... of all calls since an instant."""

    since: datetime
    known: set[int]
    """Ids of the calls since then that were handed out before."""
    known_until: datetime
    """When the last of them ended; one that ends later now was changed."""
    read_before: int = 0
    total: int | None = None
    pages: int = 0
    received: int = 0
    length: int = 0
    """Calls on the latest page."""
    last: _LastCalls = field(default_factory=_LastCalls)


class CallPages(HeaderLinkPaginator):
    """Follows ``rel="next"`` and hands out every call of a window once.

    The API numbers its pages from the start of the window. A call that is deleted, or finalised
    late, between two requests shifts all later calls, and the next page leaves some out. A page
    is therefore taken only if it fits to those before it: the same ``X-Total-Count``, the order
    unbroken, no call twice, and as many calls as promised. If it does not fit, reading begins
    again at the last ``ended_at`` taken: ``since`` includes that instant, and the calls known
    from it are left out.

    If it is the count that changed, it begins again a page earlier: a server that counts first
    and selects then may have shifted the latest page already, under the count of before.
    """

    def __init__(
        self,
        window: Window,
        page_size: int,
        logger: logging.Logger,
        *,
        limit: int | None = None,
    ) -> None:
        """Start before the first page.

        Args:
            window: The calls to read.
            page_size: Calls asked for per page.
            logger: Takes a line whenever reading begins again.
            limit: Calls after which to stop, as a connection test does; None for all.
        """
        super().__init__()
        self.read = 0
        """Calls handed out so far."""
        self.promised: int | None = None
        """Calls there are to hand out, as X-Total-Count had it last."""
        self._page_size = page_size
        self._short_page: int | None = None
        self._logger = logger
        self._limit = limit
        self._window = window
        self._last = _LastCalls()
        self._last_but_one = _LastCalls()
        self._latest_page: set[int] = set()
        self._sequence = _Sequence(window.since, set(), window.since)
        self._begins_again = False
        self._restarts_without_progress = 0

    def take(self, response: requests.Response, calls: list[Call]) -> list[Call]:
        """Take the page that an answer brought.

        Args:
            response: The answer, for its headers.
            calls: The calls in its body.

        Returns:
            The calls that no page before brought; none if the page does not fit.

        Raises:
            UnexpectedAnswerError: If the pages did not fit together too often in a row.
        """
        ends = [parse_timestamp(call.ended_at) for call in calls]
        total = _total_count(response)
        misfit = self._misfit(calls, ends, total, more="next" in response.links)
        if misfit:
            is_shifted = self._sequence.pages > 1 and total != self._sequence.total
            self._begin_again(misfit, a_page_earlier=is_shifted)
            return []

        sequence = self._sequence
        if not sequence.pages and total is not None:
            sequence.total = total
            self.promised = sequence.read_before + total
        sequence.pages += 1
        sequence.received += len(calls)
        sequence.length = len(calls)
        fresh = [
            call
            for call, end in zip(calls, ends, strict=True)
            if call.id not in sequence.known or end > sequence.known_until
        ]
        sequence.last.add_all(calls, ends)
        if fresh:
            self._restarts_without_progress = 0
            self.read += len(fresh)
            self._last_but_one = _LastCalls(self._last.end, set(self._last.ids))
            self._latest_page = {call.id for call in calls}
        self._last.add_all(calls, ends)
        return fresh

    @override
    def continue_if_empty(self, response: requests.Response) -> bool:
        """Leave the end to `has_more`: after a restart, a page may hold known calls alone."""
        return True

    @override
    def has_more(self, response: requests.Response) -> bool:
        if self._limit is not None and self.read >= self._limit:
            return False
        if self._begins_again:
            return True
        sequence = self._sequence
        if not sequence.length or "next" in response.links:
            return bool(sequence.length)
        # A proxy may strip the link, and more: a full page is the end only if the count says so.
        return sequence.length >= self._page_size and sequence.received != sequence.total

    @override
    def get_next_url(self, response: requests.Response) -> str | None:
        """Return a URL of which only the query counts: that of the link to the next page.

        The token must not follow the link to another host, and the window and the page size stay
        those of this run, whatever the link makes of them. Where a proxy strips the link, or it
        skips a page, the page's number stands in for it.
        """
        own = {"since": format_timestamp(self._sequence.since), "per_page": self._page_size}
        if self._begins_again:
            self._begins_again = False
            # The fragment is never sent: it tells a second restart at one instant from a loop.
            return f"?{urlencode(own)}#{self._restarts_without_progress}"
        page = str(self._sequence.pages + 1)
        linked = parse_qs(urlsplit(super().get_next_url(response) or "").query)
        if not linked or linked.get("page", [page]) != [page]:
            linked = {"page": [page]}
        followed = {name: values for name, values in linked.items() if name not in RUN_PARAMETERS}
        query = urlencode(followed | own, doseq=True)
        if self.current_value and query == self.current_value.query:
            query = urlencode({"page": page} | own)
        return f"?{query}"

    def _misfit(
        self,
        calls: list[Call],
        ends: list[datetime],
        total: int | None,
        *,
        more: bool,
    ) -> str | None:
        """Say why a page cannot follow the ones before it, if it cannot."""
        sequence = self._sequence
        if sequence.pages and total != sequence.total:
            return f"X-Total-Count went from {sequence.total} to {total}"
        if misfit := self._order_misfit(calls, ends):
            return misfit
        if total is None:
            return "a page came without calls" if more and not calls else None
        return self._length_misfit(len(calls), total)

    def _order_misfit(self, calls: list[Call], ends: list[datetime]) -> str | None:
        """Compare when a page's calls ended with each other, the page before and the window."""
        sequence = self._sequence
        if not ends:
            return None
        if any(later < earlier for earlier, later in pairwise(ends)):
            return "a page is not sorted by ended_at"
        if sequence.last.end and ends[0] < sequence.last.end:
            return "a page begins before the end of the one before it"
        if ends[0] < sequence.since - TOLERANCE or ends[-1] >= self._window.until + TOLERANCE:
            return "a page has calls from outside of the window"
        if any(sequence.last.has(call, end) for call, end in zip(calls, ends, strict=True)):
            return "a call came on two pages"
        return None

    def _length_misfit(self, length: int, total: int) -> str | None:
        """Compare a page's length with what X-Total-Count and the page size promise."""
        is_first = not self._sequence.pages
        if is_first and length and (length == self._short_page or length > self._page_size):
            # Twice as short, or longer: the server holds to a page size of its own.
            self._page_size = length
        expected = max(0, min(self._page_size, total - self._sequence.received))
        if length == expected or (is_first and length > expected):
            return None
        if is_first:
            self._short_page = length
        return f"a page has {length} calls instead of {expected}"

    def _begin_again(self, misfit: str, *, a_page_earlier: bool) -> None:
        """Go back to the last call taken, or to the last one of the page before.

        Raises:
            UnexpectedAnswerError: If there was no progress for too long.
        """
        self._restarts_without_progress += 1
        if self._restarts_without_progress > MAX_RESTARTS_WITHOUT_PROGRESS:
            of_all = "" if self.promised is None else f" of {self.promised}"
            msg = (
                f"Tuple's pages did not fit together {self._restarts_without_progress} times in "
                f"a row ({misfit}); {self.read}{of_all} calls were read. The next run continues "
                "from there."
            )
            raise UnexpectedAnswerError(msg)
        point, known = self._last, self._last.ids
        if a_page_earlier and self._last_but_one.end:
            point, known = self._last_but_one, self._last_but_one.ids | self._latest_page
        since = point.end or self._sequence.since
        self._sequence = _Sequence(
            since,
            set(known),
            self._last.end or since,
            read_before=self.read - len(known),
        )
        self._begins_again = True
        self._logger.warning(
            "The pages of calls moved while they were read (%s): beginning again at %s.",
            misfit,
            format_timestamp(since),
        )


def _total_count(response: requests.Response) -> int | None:
    """Read X-Total-Count; a value that is no number counts as none."""
    text = response.headers.get("X-Total-Count", "")
    return int(text) if text.isdecimal() else None
