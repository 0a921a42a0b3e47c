"""Reads the calls of a window page by page: each page begins where the last one ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from singer_sdk.pagination import HeaderLinkPaginator
from typing_extensions import override

from tap_tuple.api.response import MAX_PER_PAGE, UnexpectedResponseError, total_count
from tap_tuple.timestamps import format_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    import requests

    from tap_tuple.api.response import Call

OVERLAP = timedelta(seconds=1)
"""Read again before the last call: the API may keep finer times than its JSON shows."""

MAX_REPEATS, MAX_FRUITLESS_RESPONSES = 3, 60
"""Responses in a row without a new call, after which a count, and then a link, is not believed."""


class CallPages(HeaderLinkPaginator):
    """Asks each time for the calls that ended since the last one read, and hands out new ones.

    An instant does not shift when calls are deleted or finalised meanwhile; page numbers do, and
    are used only where more calls ended within a second than a page holds. Such pages are read
    again until two readings agree, and `read_until` waits for that.

    ``rel="next"`` says that there is more, never where: the token goes to no other host.
    """

    def __init__(self, since: datetime, page_size: int, *, limit: int | None = None) -> None:
        """Begin at an instant, with `page_size` new calls per request, and end at `limit`."""
        super().__init__()
        self.read = 0
        """Calls handed out."""
        self.missing: int | None = None
        """Calls that X-Total-Count promises beyond those that came; None if it cannot be right."""
        self.read_until: str | None = None
        """All calls that ended before it are handed out: how far a bookmark may move."""
        self._page_size, self._limit, self._has_more = page_size, limit, True
        self._longest_page, self._on_page_1, self._fruitless_responses = 1, 0, 0
        self._ask(since, page_size, {})

    def _ask(self, since: datetime, per_page: int, known: dict[int, Call]) -> None:
        """Ask for the calls since an instant, of which those in `known` may come again."""
        self._since = since
        self._per_page = per_page
        self._page = 1
        self._known = known
        # Of the calls since then, by id: those of this reading of the pages, and of the one before.
        self._seen: dict[int, Call] = {}
        self._seen_before: dict[int, Call] = {}

    def take(self, response: requests.Response, calls: list[Call]) -> list[Call]:
        """Take the calls of an answer, sorted by ``ended_at``, and choose the next request.

        Returns:
            The calls that are new, or that changed since they were read.

        Raises:
            UnexpectedResponseError: If the answers go on to promise calls that do not come.
        """
        page = {call.id: call for call in calls}
        fresh = [call for call in calls if self._known.get(call.id) != call]
        is_growing = not page.keys() <= self._seen.keys()
        if not page.keys() <= self._known.keys():
            self._fruitless_responses = 0
        elif not is_growing:
            self._fruitless_responses += 1
        if self._fruitless_responses > MAX_FRUITLESS_RESPONSES:
            msg = "Tuple promises more calls than it sends."
            raise UnexpectedResponseError(msg)
        self._known |= page
        self._seen |= page
        self.read += len(fresh)
        self._longest_page = max(self._longest_page, len(calls))
        self._on_page_1 = len(calls) if self._page == 1 else self._on_page_1
        page_length = min(self._longest_page, self._per_page)
        is_end = self._is_end(response, brought_more=bool(fresh) or len(calls) >= page_length)
        last = calls[-1].end if calls else self._since
        since = max(self._since, last - OVERLAP)
        overlap = {key: call for key, call in self._known.items() if call.end >= since - OVERLAP}
        per_page = min(MAX_PER_PAGE, self._page_size + len(overlap))
        fits = len(overlap) < (per_page if len(calls) >= self._per_page else page_length)
        is_read = is_end or (fits and (since, per_page) > (self._since, self._per_page))
        is_certain = len(self._seen) == self._on_page_1
        if is_read and not is_certain:
            # If reading goes on, calls that ended with the last one may be on the next page.
            seen, before, on_this_page = (
                {key: call for key, call in reading.items() if is_end or call.end < last}
                for reading in (self._seen, self._seen_before, page)
            )
            is_read = (self._page - 1) * page_length + len(on_this_page) <= len(seen)
            is_certain = seen == before
        if calls and (self._page == 1 or (is_read and is_certain)):
            self.read_until = calls[-1].ended_at
        if not is_read:
            # What is not seen of these pages, however many calls each brought.
            pages = len(self._seen) // page_length + 1
            self._page = max(pages, self._page + 1) if is_growing else self._page % (pages + 1) + 1
        elif is_certain:
            self._has_more = not is_end
            self._ask(since, per_page, overlap)
        else:
            self._fruitless_responses += 1
            self._page, self._seen, self._seen_before = 1, {}, self._seen
        return fresh

    @override
    def continue_if_empty(self, response: requests.Response) -> bool:
        return True

    @override
    def has_more(self, response: requests.Response) -> bool:
        return self._has_more and (self._limit is None or self.read < self._limit)

    @override
    def get_next_url(self, response: requests.Response) -> str:
        page = {"page": self._page} if self._page > 1 else {}
        query = {"since": format_timestamp(self._since), "per_page": self._per_page} | page
        # The fragment is never sent: it tells equal queries apart, which the SDK takes for a loop.
        return f"?{urlencode(query)}#{self.count}"

    def _is_end(self, response: requests.Response, *, brought_more: bool) -> bool:
        """Go by the link, and by the count if it can be right; if calls lack, ask a few times."""
        count = total_count(response)
        self.missing = None if count is None or count < len(self._seen) else count - len(self._seen)
        is_short = self.missing or len(self._seen) < len(self._known)
        may_repeat = is_short and self._fruitless_responses < MAX_REPEATS
        is_linked = super().get_next_url(response) is not None
        return not is_linked and (self.missing == 0 or not (brought_more or may_repeat))
