"""Asks the API for the number of calls in each month."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from singer_sdk.exceptions import FatalAPIError

from tap_tuple.api.pagination import OVERLAP
from tap_tuple.check.responses import end_times_of
from tap_tuple.singer.command import reject
from tap_tuple.timestamps import TimeRange, format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tap_tuple.check.probe import Probe, Reply

LONGEST_MONTH = timedelta(days=31)
ADVICE = "Run tap-tuple-check without --months, and report its output."


class MonthCount(NamedTuple):
    """The number of calls that ended in a month (in UTC)."""

    month: str
    """For example, "2026-03"."""
    calls: int


def count_calls_per_month(probe: Probe, time_range: TimeRange) -> Iterator[MonthCount]:
    """Yield the number of calls per month, sending one request for each month that may have calls.

    Months without calls are left out, as in the result of a database query.

    Raises:
        FatalAPIError: If the API rejects a request.
        ConfigurationError: If a response isn't as documented, or its count is missing or wrong.
    """
    if time_range.is_empty:
        return
    first_page = _get_one(probe, time_range)
    if not first_page.calls:
        return
    end_times = end_times_of(first_page)
    if not end_times:
        reject(
            f"Tuple's response isn't as documented: the first call has no valid ended_at. {ADVICE}"
        )
    # Tuple's database may hold an earlier time than the API shows.
    start = max(end_times[0] - OVERLAP, time_range.since)
    for month in _months(start, time_range.until):
        count = _count(_get_one(probe, month))
        if count:
            yield MonthCount(f"{month.since:%Y-%m}", count)


def _get_one(probe: Probe, time_range: TimeRange) -> Reply:
    """Return a response with at most one call, and with the total number of calls."""
    reply = probe.get(
        since=format_timestamp(time_range.since),
        until=format_timestamp(time_range.until),
        per_page=1,
    )
    if not reply.is_ok:
        raise FatalAPIError(probe.explain_rejection(reply))
    if not reply.is_list_of_calls:
        reject("Tuple's response isn't a JSON array of calls. Check api_url and your network.")
    return reply


def _count(reply: Reply) -> int:
    if reply.total_count is None:
        reject(f"Tuple sent no valid X-Total-Count, so the calls can't be counted. {ADVICE}")
    if reply.total_count < len(reply.calls):
        reject(f"Tuple's X-Total-Count is wrong, so the counts can't be trusted. {ADVICE}")
    return reply.total_count


def _months(since: datetime, until: datetime) -> Iterator[TimeRange]:
    """Split a time range at the beginning of each month."""
    start = since
    while start < until:
        first_day = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        next_month = (first_day + LONGEST_MONTH).replace(day=1)
        yield TimeRange(start, min(next_month, until))
        start = next_month
