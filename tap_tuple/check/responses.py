"""The responses used to check the statements, each requested once, when it's needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_tuple.api.response import MAX_PER_PAGE
from tap_tuple.check.fields import FieldReport, is_timestamp, report_fields
from tap_tuple.check.probe import OWN_TOKEN
from tap_tuple.timestamps import EPOCH, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from tap_tuple.check.probe import Probe, Reply

SMALL_PAGE = 2
"""Calls per page: so few that even a small team has two pages."""
MAX_DECIMALS = 6
PAGE_PAST_THE_END = 100_000
MALFORMED_TIMESTAMP = "yesterday"
INVALID_TOKEN = "sk-tuple-invalid"  # noqa: S105 - meant to be rejected
MARGIN = timedelta(minutes=1)
"""The length of the time ranges that start or end when a call ended."""


@dataclass(frozen=True)
class Sample:
    """A call used to check the limits of the time range."""

    call_id: str
    ended_at: datetime
    precision: timedelta
    """The smallest difference that the API's timestamps show."""

    @property
    def just_after(self) -> datetime:
        """The earliest timestamp after the call's end that the API can show."""
        return self.ended_at + self.precision

    def is_in(self, reply: Reply) -> bool:
        """Return whether a response has the call."""
        return self.call_id in ids_of(reply)


class Responses:
    """Responses from the API, and what they say about its calls."""

    def __init__(self, probe: Probe) -> None:
        """Set the probe, without sending anything yet.

        Args:
            probe: Sends the requests.
        """
        self._probe = probe
        self._until = format_timestamp(datetime.now(UTC))

    def _get(self, *, token: str | None = OWN_TOKEN, **params: object) -> Reply:
        """Send a request for all calls, unless `params` say otherwise.

        A parameter that is None is left out.
        """
        all_calls = {"since": format_timestamp(EPOCH), "until": self._until}
        wanted = {name: value for name, value in (all_calls | params).items() if value is not None}
        return self._probe.get(token=token, **wanted)

    # All calls

    @cached_property
    def all_calls(self) -> Reply:
        """The first page of all calls, as large as a page can be."""
        return self._get(per_page=MAX_PER_PAGE)

    @cached_property
    def all_calls_again(self) -> Reply:
        """The response to the same request as `all_calls`, sent a second time."""
        return self._get(per_page=MAX_PER_PAGE)

    @cached_property
    def second_large_page(self) -> Reply:
        """The page after `all_calls`. It shows whether there are more calls."""
        return self._get(per_page=MAX_PER_PAGE, page=2)

    @cached_property
    def page_past_the_end(self) -> Reply:
        """A page with a number that no team reaches."""
        return self._get(per_page=MAX_PER_PAGE, page=PAGE_PAST_THE_END)

    @cached_property
    def has_more(self) -> bool:
        """Whether there are more calls than fit on a page, going by the next page."""
        return bool(ids_of(self.second_large_page) - ids_of(self.all_calls))

    def is_total(self, count: int) -> bool:
        """Return whether a number is the total, judging by the last page and the one after it."""
        page_size = len(self.all_calls.calls)
        if not self.has_more:
            return count == page_size
        full_pages, rest = divmod(count, page_size)
        page_with_the_rest = self._get(per_page=MAX_PER_PAGE, page=full_pages + 1)
        page_after_that = self._get(per_page=MAX_PER_PAGE, page=full_pages + 2)
        return len(page_with_the_rest.calls) == rest and not page_after_that.calls

    # Small pages

    @cached_property
    def default_page(self) -> Reply:
        """The page for a request without `per_page`."""
        return self._get()

    @cached_property
    def first_small_page(self) -> Reply:
        """The first page with a page size of two."""
        return self._get(per_page=SMALL_PAGE, page=1)

    @cached_property
    def second_small_page(self) -> Reply:
        """The second page with a page size of two."""
        return self._get(per_page=SMALL_PAGE, page=2)

    @cached_property
    def oversized_page(self) -> Reply:
        """The page for a `per_page` above the documented maximum."""
        return self._get(per_page=MAX_PER_PAGE + 1)

    # Requests that must be rejected

    @cached_property
    def without_token(self) -> Reply:
        """The response to a request without an Authorization header."""
        return self._get(token=None, per_page=1)

    @cached_property
    def with_invalid_token(self) -> Reply:
        """The response to a request with a token that doesn't exist."""
        return self._get(token=INVALID_TOKEN, per_page=1)

    @cached_property
    def with_malformed_since(self) -> Reply:
        """The response to a request whose `since` isn't a timestamp."""
        return self._get(since=MALFORMED_TIMESTAMP, per_page=1)

    @cached_property
    def with_malformed_until(self) -> Reply:
        """The response to a request whose `until` isn't a timestamp."""
        return self._get(until=MALFORMED_TIMESTAMP, per_page=1)

    @cached_property
    def without_since(self) -> Reply:
        """The response to a request without `since`, which is required."""
        return self._get(since=None, per_page=1)

    # The time range

    @cached_property
    def without_until(self) -> Reply:
        """The response to a request without `until`, which defaults to now."""
        return self._get(until=None, per_page=MAX_PER_PAGE)

    @cached_property
    def empty_range(self) -> Reply:
        """The response to a request for 1970-01-01, long before the first call."""
        return self._get(until=format_timestamp(EPOCH + timedelta(days=1)))

    @cached_property
    def sample(self) -> Sample | None:
        """The call whose `ended_at` has the most decimals, or None if none is plausible."""
        calls = [call for call in self.all_calls.calls if _has_plausible_end(call)]
        if not calls:
            return None
        call = max(calls, key=lambda call: len(_decimals(call["ended_at"]).rstrip("0")))
        precision = timedelta(seconds=1) / 10 ** min(self.decimals, MAX_DECIMALS)
        return Sample(str(call.get("id")), parse_timestamp(call["ended_at"]), precision)

    def calls_since(self, start: datetime) -> Reply:
        """Return the calls that ended in the minute that begins at `start`."""
        return self._calls_between(start, start + MARGIN)

    def calls_until(self, end: datetime) -> Reply:
        """Return the calls that ended in the minute up to `end`."""
        return self._calls_between(end - MARGIN, end)

    def _calls_between(self, start: datetime, end: datetime) -> Reply:
        since, until = format_timestamp(start), format_timestamp(end)
        return self._get(since=since, until=until, per_page=MAX_PER_PAGE)

    # Properties of the calls

    @cached_property
    def fields(self) -> FieldReport:
        """A report on the fields of all calls on the first page."""
        return report_fields(self.all_calls.calls)

    @property
    def end_times(self) -> list[datetime]:
        """When the calls on the first page ended, in the API's order."""
        return end_times_of(self.all_calls)

    @cached_property
    def decimals(self) -> int:
        """The largest number of decimals in `ended_at`."""
        texts = [str(call.get("ended_at")) for call in self.all_calls.calls]
        return max((len(_decimals(text)) for text in texts), default=0)

    @cached_property
    def calls_changed(self) -> bool:
        """Whether calls were added or deleted between the first request and the repeated one."""
        before, after = self.all_calls, self.all_calls_again
        if not after.is_ok:
            return False
        same_calls = _ids_before_last_instant(before) == _ids_before_last_instant(after)
        return before.total_count != after.total_count or not same_calls


def end_times_of(reply: Reply) -> list[datetime]:
    """Return when the calls in a response ended, in the API's order."""
    texts: list[Any] = [call.get("ended_at") for call in reply.calls]
    return [parse_timestamp(text) for text in texts if is_timestamp(text)]


def ids_of(reply: Reply) -> set[str]:
    """Return the ids of the calls in a response, converted to text."""
    return {str(call.get("id")) for call in reply.calls}


def _has_plausible_end(call: dict[str, Any]) -> bool:
    """Return whether a call's `ended_at` is plausible: a timestamp from 1970 to now.

    The first minute of 1970 is left out, because `calls_until` starts a minute before the end.
    """
    if not is_timestamp(call.get("ended_at")):
        return False
    end = parse_timestamp(call["ended_at"])
    return EPOCH + MARGIN <= end <= datetime.now(UTC)


def _ids_before_last_instant(reply: Reply) -> set[str]:
    """Return the ids of calls, except those that may trade places with calls on the next page."""
    if not reply.calls:
        return set()
    last_end = reply.calls[-1].get("ended_at")
    return {str(call.get("id")) for call in reply.calls if call.get("ended_at") != last_end}


def _decimals(timestamp: str) -> str:
    found = re.search(r"\.(\d+)", timestamp)
    return found[1] if found else ""
