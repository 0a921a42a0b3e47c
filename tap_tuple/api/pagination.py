"""Read all calls in a time range, even if calls come and go while they are being read.

There are two modes:

**By instant.** Page numbers are unreliable, because they count from the start of the range. If a
call is deleted after page 2 has been read, the first call of page 3 moves to page 2 and is never
seen. An instant doesn't shift. So each request starts one second before the end of the last call
seen. With a page size of three::

    since=08:00:00&per_page=3           calls that ended at 09:00:00, 09:10:00 and 09:20:00
    since=09:19:59&per_page=4           the last of them again, and three new ones

**By page number.** Paging by instant doesn't work if so many calls end within a second that they
fill a page, because the next request would return the same calls again. In such a crowded second,
the tap reads pages 1, 2, 3, ... of the same query. Together, these make up a pass. Because calls
can shift between pages, the tap repeats the pass until two in a row agree. Here, the server sends
at most four calls per page::

    since=09:19:59&per_page=4           four calls that ended at 09:20:00
    since=09:19:59&per_page=7           the same four: the server doesn't send longer pages
    since=09:19:59&per_page=7&page=2    two more from 09:20:00, then 09:30:00 and 09:40:00
    since=09:19:59&per_page=7           the pass is repeated: the same calls again, ...
    since=09:19:59&per_page=7&page=2    ... here as well, so none is missing
    since=09:39:59&per_page=4           by instant again

A pass may need several rounds over the pages. Calls may shift, or the server may order calls with
the same `ended_at` differently in each response. Then one call may appear twice and another not at
all, so the tap reads the pages again, until it has seen as many distinct calls as the pages have
entries. It also starts another round if a page was short, or if X-Total-Count or an earlier pass
shows that calls are missing.

A server can't keep the tap busy forever. If rounds or passes keep finding nothing new, the tap
continues without the missing calls, or fails if the server insists that there are more pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from singer_sdk.pagination import HeaderLinkPaginator
from typing_extensions import override

from tap_tuple.api.response import MAX_PER_PAGE, UnexpectedResponseError, total_count
from tap_tuple.timestamps import format_timestamp

if TYPE_CHECKING:
    import requests

    from tap_tuple.api.response import Call

OVERLAP = timedelta(seconds=1)
"""The next request's `since` is this long before the `ended_at` of the last call.

The API may keep more precise times than its JSON shows.
"""

# If there is a sign that calls are missing, the tap starts another round. Each MAX_ROUNDS_*
# constant limits how many consecutive rounds without a new call one kind of sign can cause. After
# that, the tap ignores the sign, or fails. If the order changes in each response, a call has at
# least a 63% chance (1 - 1/e) of appearing in a round, so ten rounds hardly ever miss it.
MAX_ROUNDS_FOR_COUNT = 3
"""The sign is that X-Total-Count, or an earlier round or pass, shows more calls."""
MAX_ROUNDS_FOR_REPEATS = 10
"""The sign is a repeated call, a short page, or a later page in an earlier round, so another call
may be missing."""
MAX_ROUNDS_FOR_LINK = 20
"""The sign is a link to the next page, or a full page. After this many rounds, the run fails."""

MAX_FRUITLESS_PASSES = 10
"""After this many consecutive passes without a new call, the tap stops waiting for two to agree."""


class Page(NamedTuple):
    """The new calls in a response."""

    calls: list[Call]
    """The calls that are new, or that have changed since they were read."""
    read_until: datetime | None
    """All calls that ended before this have been read, so a bookmark may advance to it."""


class Query(NamedTuple):
    """Parameters of a request. Queries compare by `since`, then `per_page`, then `page`."""

    since: datetime
    per_page: int
    page: int = 1

    def to_query_string(self) -> str:
        """Return the URL's query string, without the default page 1."""
        parameters: dict[str, str | int] = {
            "since": format_timestamp(self.since),
            "per_page": self.per_page,
        }
        if self.page > 1:
            parameters["page"] = self.page
        return urlencode(parameters)


@dataclass
class Pass:
    """The calls seen while reading the pages of a query, in one round or several."""

    calls: dict[int, Call] = field(default_factory=dict)
    """Calls of all rounds, by id."""

    latest_round: list[Call] = field(default_factory=list)
    """The calls on the pages of the latest round, in order. A repeated call is listed each time."""

    page_lengths: list[int] = field(default_factory=list)
    """Number of calls on each page of the latest round."""

    longest_page: int = 0
    """Number of calls on the longest page of all rounds."""

    last_page: int = 0
    """Number of the last page that had calls, in any round."""

    fruitless_responses: int = 0
    """Responses in a row that added no call to the pass."""

    def add(self, page: int, calls: dict[int, Call]) -> None:
        """Add the calls of a page. Page 1 starts a new round."""
        is_fruitless = calls.keys() <= self.calls.keys()
        self.fruitless_responses = self.fruitless_responses + 1 if is_fruitless else 0

        if page == 1:
            self.latest_round = []
            self.page_lengths = []
        self.latest_round += calls.values()
        self.page_lengths.append(len(calls))
        self.longest_page = max(self.longest_page, len(calls))
        if calls:
            self.last_page = max(self.last_page, page)
        self.calls |= calls

    @property
    def page(self) -> int:
        """Number of the page that was read last."""
        return len(self.page_lengths)

    @property
    def page_1_length(self) -> int:
        """Number of calls on page 1 in the latest round."""
        return self.page_lengths[0] if self.page_lengths else 0

    @property
    def had_more_pages(self) -> bool:
        """Whether an earlier round found calls on a later page than this one."""
        return self.page < self.last_page

    def has_short_page(self, page_length: int) -> bool:
        """Return whether any page but the last is shorter than a full page."""
        return any(length < page_length for length in self.page_lengths[:-1])

    def has_all_calls_on_page_1(self, page_length: int) -> bool:
        """Return whether page 1 shows all calls of the pass, in which case none can be missing.

        That isn't certain if page 1 is full and other pages were read after it: a call may have
        moved from page 2 to page 1 between the two requests, so that neither response shows it.
        """
        # A call may move from page 1 to page 2 and appear on both. The number of distinct calls
        # doesn't show that, so compare the number of entries, too.
        are_other_pages_empty = self.page_1_length == len(self.latest_round)
        are_all_on_page_1 = are_other_pages_empty and self.page_1_length == len(self.calls)
        return are_all_on_page_1 and (self.page == 1 or self.page_1_length < page_length)

    def calls_before(self, instant: datetime | None) -> dict[int, Call]:
        """Return the calls that ended before an instant, or all calls if it is None."""
        if instant is None:
            return self.calls
        return {call.id: call for call in self.calls.values() if call.ended_at < instant}

    def has_repeats_before(self, instant: datetime | None) -> bool:
        """Return whether the latest round repeats calls, in which case others may be missing.

        That's the case if the latest round has more entries than the whole pass has distinct calls.
        If an instant is given, count only calls that ended before it.
        """
        entries = sum(instant is None or call.ended_at < instant for call in self.latest_round)
        return entries > len(self.calls_before(instant))

    def fruitless_rounds(self, page_length: int) -> float:
        """Estimate how many rounds in a row added no call, given the length of a full page."""
        responses_per_round = max(1.0, len(self.calls) / page_length)
        return self.fruitless_responses / responses_per_round


class CallPages(HeaderLinkPaginator):
    """Paginate by instant, or by page number within a crowded second.

    A ``rel="next"`` link only shows that there are more pages. Its URL is ignored, so that the
    token never goes to another host.
    """

    def __init__(self, since: datetime, page_size: int, *, limit: int | None = None) -> None:
        """Set the start of the time range.

        Args:
            since: Read calls that ended at or after this instant.
            page_size: Number of new calls to ask for in each request.
            limit: Number of calls after which to stop.
        """
        super().__init__()
        self.calls_read = 0
        """Number of calls that were new or had changed."""
        self.calls_missing: int | None = None
        """Number of calls that X-Total-Count reports but the current pass hasn't seen.

        None if the header is missing or implausible.
        """

        self._page_size = page_size
        self._limit = limit
        self._is_finished = False
        self._read_until: datetime | None = None
        self._longest_page = 1

        self._query = Query(since, page_size)
        self._known: dict[int, Call] = {}
        self._known_count_before_pass = 0
        self._pass = Pass()
        self._previous_pass = Pass()
        self._fruitless_passes = 0

    def take(self, response: requests.Response, calls: list[Call]) -> Page:
        """Take the calls in a response, sorted by ``ended_at``, and choose the next request.

        Returns:
            A page with the calls that are new or have changed.

        Raises:
            UnexpectedResponseError: If Tuple keeps reporting more calls without sending any.
        """
        new_or_changed = [call for call in calls if self._known.get(call.id) != call]
        self.calls_read += len(new_or_changed)

        calls_by_id = {call.id: call for call in calls}
        self._known |= calls_by_id
        self._pass.add(self._query.page, calls_by_id)
        self._longest_page = max(self._longest_page, len(calls))
        self.calls_missing = self._count_missing(response)

        if self._query.page == 1:
            # Page 1 starts at a fixed instant, so all calls that ended before its last call have
            # been read.
            self._advance_read_until(calls)

        self._choose_next_request(response, calls, has_new_calls=bool(new_or_changed))
        return Page(new_or_changed, self._read_until)

    def _choose_next_request(
        self, response: requests.Response, calls: list[Call], *, has_new_calls: bool
    ) -> None:
        """Choose the next page, another round, another pass or the next instant, or finish."""
        next_since = self._next_since(calls)
        repeated = {call.id: call for call in self._known.values() if call.ended_at >= next_since}
        next_query = Query(next_since, min(MAX_PER_PAGE, self._page_size + len(repeated)))

        is_end = self._is_end(response, calls, has_new_calls=has_new_calls)
        can_move_on = self._can_move_on(next_query, calls, repeated=len(repeated))
        # Unless this is the end, the next page may have calls that ended at the same time as the
        # last one.
        settled_until = calls[-1].ended_at if calls and not is_end else None

        if not (is_end or can_move_on):
            self._turn_page(response, calls)
        elif self._may_have_skipped_calls(settled_until):
            self._start_round()
        elif not self._is_confirmed(settled_until):
            self._repeat_pass()
        elif is_end:
            self._advance_read_until(calls)
            self._is_finished = True
        else:
            self._advance_read_until(calls)
            self._move_on(next_query, repeated)

    # Conditions that decide the next request

    def _is_end(
        self, response: requests.Response, calls: list[Call], *, has_new_calls: bool
    ) -> bool:
        """Return whether this pass has seen the last call of the time range.

        A link to the next page means that it hasn't. Otherwise, reaching X-Total-Count means that
        it has. So does a page that has nothing new and isn't full, unless calls are known to be
        missing and the tap hasn't given up on them yet.
        """
        if self._has_next_link(response):
            return False

        count_is_reached = total_count(response) == len(self._pass.latest_round)
        if count_is_reached:
            return True

        # Deletions may have left fewer pages than in an earlier round. Only an empty page shows
        # that, because a short one may be followed if the server's page size has changed.
        has_given_up = not calls and self._fruitless_rounds >= MAX_ROUNDS_FOR_REPEATS
        expects_more_pages = self._pass.had_more_pages and not has_given_up
        may_be_followed = has_new_calls or self._is_full(calls) or expects_more_pages
        if may_be_followed:
            return False

        return not self._lacks_calls or self._fruitless_rounds >= MAX_ROUNDS_FOR_COUNT

    def _can_move_on(self, next_query: Query, calls: list[Call], *, repeated: int) -> bool:
        """Return whether the next query gets further than this one, and has room for new calls."""
        is_as_long_as_requested = len(calls) >= self._query.per_page
        # A shorter page shows the server's own limit.
        capacity = next_query.per_page if is_as_long_as_requested else self._full_page_length
        return next_query > self._query and repeated < capacity

    def _may_have_skipped_calls(self, settled_until: datetime | None) -> bool:
        """Return whether this round may have skipped calls and its pages should be read again."""
        has_given_up = self._fruitless_rounds >= MAX_ROUNDS_FOR_REPEATS
        if self._has_all_calls_on_page_1 or has_given_up:
            return False
        has_short_page = self._pass.has_short_page(self._full_page_length)
        return has_short_page or self._pass.has_repeats_before(settled_until)

    def _is_confirmed(self, settled_until: datetime | None) -> bool:
        """Return whether two passes agree or another pass would be pointless."""
        has_given_up = self._fruitless_passes >= MAX_FRUITLESS_PASSES
        if self._has_all_calls_on_page_1 or has_given_up:
            return True
        calls_before = self._previous_pass.calls_before(settled_until)
        return self._pass.calls_before(settled_until) == calls_before

    # The possible next steps

    def _turn_page(self, response: requests.Response, calls: list[Call]) -> None:
        """Continue with the next page. After the last one, start another round."""
        if self._fruitless_rounds >= MAX_ROUNDS_FOR_LINK:
            msg = (
                "Tuple reports more calls than it returns. Run again. If the problem persists, "
                "please report this."
            )
            raise UnexpectedResponseError(msg)

        may_be_followed = (
            self._has_next_link(response)
            or self._is_full(calls)
            or self._lacks_calls
            or self._pass.had_more_pages
        )
        if calls and may_be_followed:
            self._query = self._query._replace(page=self._query.page + 1)
        else:
            self._start_round()

    def _start_round(self) -> None:
        """Read the pages again as part of the same pass, because it lacks calls."""
        self._query = self._query._replace(page=1)

    def _repeat_pass(self) -> None:
        """Read the pages again in a new pass, to compare it with this one."""
        has_given_up = self._fruitless_rounds >= MAX_ROUNDS_FOR_REPEATS
        if has_given_up:
            # Perhaps the server sends shorter pages from now on.
            self._longest_page = self._pass.longest_page

        found_new_calls = len(self._known) > self._known_count_before_pass
        self._fruitless_passes = 0 if found_new_calls else self._fruitless_passes + 1

        self._known_count_before_pass = len(self._known)
        self._previous_pass = self._pass
        self._pass = Pass()
        self._query = self._query._replace(page=1)

    def _move_on(self, next_query: Query, repeated: dict[int, Call]) -> None:
        """Continue with the next query, whose response will include the repeated calls."""
        self._query = next_query
        self._known = repeated
        self._known_count_before_pass = len(repeated)
        self._pass = Pass()
        self._previous_pass = Pass()
        self._fruitless_passes = 0

    # Signs in the responses

    def _count_missing(self, response: requests.Response) -> int | None:
        count = total_count(response)
        seen = len(self._pass.calls)
        return None if count is None or count < seen else count - seen

    @property
    def _lacks_calls(self) -> bool:
        """Whether Tuple reports more calls, or earlier rounds and passes have seen more."""
        return bool(self.calls_missing) or len(self._pass.latest_round) < len(self._known)

    def _has_next_link(self, response: requests.Response) -> bool:
        return super().get_next_url(response) is not None

    def _is_full(self, calls: list[Call]) -> bool:
        """Return whether the server may have cut the page off here."""
        if self._pass.page > 1 and calls:
            # This page isn't empty, so page 1 must have been full, however few calls it had.
            return len(calls) >= min(self._pass.page_1_length, self._full_page_length)
        return len(calls) >= self._full_page_length

    @property
    def _full_page_length(self) -> int:
        """The number of calls on a full page, which may be fewer than requested."""
        return min(self._longest_page, self._query.per_page)

    @property
    def _has_all_calls_on_page_1(self) -> bool:
        return self._pass.has_all_calls_on_page_1(self._full_page_length)

    @property
    def _fruitless_rounds(self) -> float:
        return self._pass.fruitless_rounds(self._full_page_length)

    def _next_since(self, calls: list[Call]) -> datetime:
        last_end = calls[-1].ended_at if calls else self._query.since
        return max(self._query.since, last_end - OVERLAP)

    def _advance_read_until(self, calls: list[Call]) -> None:
        if calls:
            self._read_until = calls[-1].ended_at

    # The SDK's hooks

    @override
    def continue_if_empty(self, response: requests.Response) -> bool:
        return True

    @override
    def has_more(self, response: requests.Response) -> bool:
        is_limit_reached = self._limit is not None and self.calls_read >= self._limit
        return not (self._is_finished or is_limit_reached)

    @override
    def get_next_url(self, response: requests.Response) -> str:
        # The fragment is never sent. It makes the page token unique even if a query is repeated,
        # because the SDK treats two equal page tokens as a loop.
        return f"?{self._query.to_query_string()}#{self.count}"
