"""The statements in the API's documentation, each with its check, in the order of the output."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from singer_sdk.exceptions import FatalAPIError

from tap_tuple.api.response import MAX_PER_PAGE
from tap_tuple.check.fields import join_names
from tap_tuple.check.outcomes import (
    HOLDS,
    NO_CALLS,
    TOO_FEW_CALLS,
    Outcome,
    Verdict,
    differs,
    holds_if,
    not_checked,
    observed,
)
from tap_tuple.check.probe import OutOfRequestsError
from tap_tuple.check.responses import SMALL_PAGE, end_times_of, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tap_tuple.check.probe import Reply
    from tap_tuple.check.responses import Responses, Sample

    Check = Callable[[Responses], Outcome]

# If there are fewer calls than a statement needs, it's reported as not checked. So that this
# doesn't reveal the number of calls, each minimum is either shared by several statements, or a
# power of ten. A power of ten reveals only the order of magnitude, which is printed anyway.
MORE_THAN_A_SMALL_PAGE = SMALL_PAGE + 1
DEFAULT_PER_PAGE = 100
"""As documented."""

RATE_LIMIT_HEADERS = {
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
}
"""Common names. Only these are printed, because others may contain data."""

ENCODINGS = {"br", "deflate", "gzip", "zstd"}

NO_RESPONSE = not_checked("there was no response")
TOO_MANY_REQUESTS = not_checked("too many requests had to be repeated")
CHANGED = not_checked("calls were added or deleted during the check. Run the check again")


class Statement(NamedTuple):
    """A sentence about the API, and its check."""

    area: str
    text: str
    check: Check
    needs_calls: int
    """The check isn't possible with fewer calls."""
    compares_responses: bool
    """Whether the check relies on the calls staying the same from one request to the next."""


class Result(NamedTuple):
    """A statement and its outcome."""

    statement: Statement
    outcome: Outcome


STATEMENTS: list[Statement] = []


def check_all(responses: Responses) -> Iterator[Result]:
    """Check all statements, in order."""
    for statement in STATEMENTS:
        yield Result(statement, _check(statement, responses))


def _check(statement: Statement, responses: Responses) -> Outcome:
    count = len(responses.all_calls.calls)
    if count < statement.needs_calls:
        return TOO_FEW_CALLS if count else NO_CALLS
    try:
        outcome = statement.check(responses)
        is_unexpected = outcome.verdict is Verdict.DIFFERS
        if is_unexpected and statement.compares_responses and responses.calls_changed:
            return CHANGED
    except OutOfRequestsError:
        return TOO_MANY_REQUESTS
    except FatalAPIError:
        return NO_RESPONSE
    return outcome


def statement(
    area: str, text: str, *, needs_calls: int = 0, compares_responses: bool = False
) -> Callable[[Check], Check]:
    """Add a statement to `STATEMENTS`. The decorated function checks it."""

    def add(check: Check) -> Check:
        STATEMENTS.append(Statement(area, text, check, needs_calls, compares_responses))
        return check

    return add


@statement("Access", "The token is accepted")
def token_is_accepted(responses: Responses) -> Outcome:
    return _has_status(responses.all_calls, HTTPStatus.OK)


@statement("Access", "Without a token, the status is 401")
def missing_token_is_rejected(responses: Responses) -> Outcome:
    return _has_status(responses.without_token, HTTPStatus.UNAUTHORIZED)


@statement("Access", "With an invalid token, the status is 401")
def invalid_token_is_rejected(responses: Responses) -> Outcome:
    return _has_status(responses.with_invalid_token, HTTPStatus.UNAUTHORIZED)


@statement("Calls", "The body is an array of calls")
def body_is_an_array(responses: Responses) -> Outcome:
    return holds_if(responses.all_calls.is_list_of_calls, "it is something else")


@statement("Calls", "Calls have all documented fields", needs_calls=1)
def fields_are_present(responses: Responses) -> Outcome:
    missing = responses.fields.missing
    return holds_if(not missing, f"missing: {join_names(missing)}")


@statement("Calls", "Fields have the documented types", needs_calls=1)
def fields_have_documented_types(responses: Responses) -> Outcome:
    mistyped = responses.fields.mistyped
    return holds_if(not mistyped, f"unexpected type: {join_names(mistyped)}")


@statement("Calls", "There are no other fields", needs_calls=1)
def no_new_fields(responses: Responses) -> Outcome:
    new = responses.fields.new
    return holds_if(not new, f"new: {join_names(new)}")


@statement("Calls", "Fields that are null", needs_calls=1)
def null_fields(responses: Responses) -> Outcome:
    return observed(join_names(responses.fields.null) or "none")


@statement("Calls", "Decimal places in ended_at")
def decimals_of_timestamps(responses: Responses) -> Outcome:
    return observed(str(responses.decimals)) if responses.end_times else NO_CALLS


@statement("Order", "Calls are sorted by ended_at, ascending")
def calls_are_sorted(responses: Responses) -> Outcome:
    end_times = responses.end_times
    if len(end_times) < MORE_THAN_A_SMALL_PAGE:
        return TOO_FEW_CALLS
    return holds_if(end_times == sorted(end_times), "a call is out of order")


@statement("Order", "Calls with the same ended_at", needs_calls=1)
def calls_share_an_end(responses: Responses) -> Outcome:
    return observed("some" if _has_ties(responses.end_times) else "none")


@statement("Order", "Order of calls with the same ended_at")
def order_of_ties_is_stable(responses: Responses) -> Outcome:
    if not _has_ties(responses.end_times):
        return not_checked("no calls have the same ended_at")
    if responses.calls_changed:
        return CHANGED
    before, after = (
        [call.get("id") for call in reply.calls]
        for reply in (responses.all_calls, responses.all_calls_again)
    )
    return observed("stable" if before == after else "changes from request to request")


@statement("Time range", "With a malformed since, the status is 422")
def malformed_since_is_rejected(responses: Responses) -> Outcome:
    return _has_status(responses.with_malformed_since, HTTPStatus.UNPROCESSABLE_ENTITY)


@statement("Time range", "With a malformed until, the status is 422")
def malformed_until_is_rejected(responses: Responses) -> Outcome:
    return _has_status(responses.with_malformed_until, HTTPStatus.UNPROCESSABLE_ENTITY)


@statement("Time range", "since is required")
def since_is_required(responses: Responses) -> Outcome:
    status = responses.without_since.status
    is_rejected = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return holds_if(is_rejected, f"without it, the status is {status}")


@statement("Time range", "until defaults to now", compares_responses=True)
def until_is_optional(responses: Responses) -> Outcome:
    reply = responses.without_until
    if not reply.is_ok:
        return differs(f"without it, the status is {reply.status}")
    has_fewer_calls = len(reply.calls) < len(responses.all_calls.calls)
    return holds_if(not has_fewer_calls, "without it, calls are missing")


@statement("Time range", "since is inclusive", compares_responses=True)
def since_is_inclusive(responses: Responses) -> Outcome:
    return _check_limit(responses, lambda call: responses.calls_since(call.ended_at), is_in=True)


@statement("Time range", "since is as precise as ended_at", compares_responses=True)
def since_is_precise(responses: Responses) -> Outcome:
    return _check_limit(responses, lambda call: responses.calls_since(call.just_after), is_in=False)


@statement("Time range", "until is exclusive", compares_responses=True)
def until_is_exclusive(responses: Responses) -> Outcome:
    return _check_limit(responses, lambda call: responses.calls_until(call.ended_at), is_in=False)


@statement("Time range", "until is as precise as ended_at", compares_responses=True)
def until_is_precise(responses: Responses) -> Outcome:
    return _check_limit(responses, lambda call: responses.calls_until(call.just_after), is_in=True)


@statement("Time range", "A range without calls gives an empty array")
def empty_range_is_an_empty_array(responses: Responses) -> Outcome:
    reply = responses.empty_range
    if not reply.is_ok:
        return differs(f"the status is {reply.status}")
    return holds_if(reply.json == [], "it gives something else")


@statement(
    "Pages", "per_page=2 is honored", needs_calls=MORE_THAN_A_SMALL_PAGE, compares_responses=True
)
def small_pages_are_honored(responses: Responses) -> Outcome:
    return _has_size(responses.first_small_page, SMALL_PAGE)


@statement("Pages", "per_page=1000 is honored", needs_calls=1, compares_responses=True)
def large_pages_are_honored(responses: Responses) -> Outcome:
    size = len(responses.all_calls.calls)
    is_full = size == MAX_PER_PAGE
    return holds_if(
        is_full or not responses.has_more, "a page has fewer than 1000 calls, although more follow"
    )


@statement(
    "Pages", "per_page defaults to 100", needs_calls=DEFAULT_PER_PAGE, compares_responses=True
)
def default_page_size(responses: Responses) -> Outcome:
    return _has_size(responses.default_page, DEFAULT_PER_PAGE)


@statement("Pages", "per_page over 1000")
def oversized_pages(responses: Responses) -> Outcome:
    reply = responses.oversized_page
    if not reply.is_ok:
        return observed(f"rejected with status {reply.status}")
    if len(responses.all_calls.calls) < MAX_PER_PAGE:
        return observed("accepted")
    size = len(reply.calls)
    if size == MAX_PER_PAGE:
        return observed("accepted, with at most 1000 calls")
    if size > MAX_PER_PAGE:
        return observed("accepted, with more than 1000 calls")
    return observed("accepted, with fewer than 1000 calls")


@statement("Pages", "Page 2 continues page 1", compares_responses=True)
def pages_continue(responses: Responses) -> Outcome:
    first, second = responses.first_small_page, responses.second_small_page
    page_size = len(first.calls)
    if not page_size or len(responses.all_calls.calls) <= page_size:
        return TOO_FEW_CALLS
    end_times = end_times_of(second)
    is_split_tie = bool(end_times) and end_times_of(first)[-1:] == end_times[:1]
    if ids_of(first) & ids_of(second):
        if is_split_tie:
            return not_checked("calls that end at the same time change places")
        return differs("page 2 repeats a call from page 1")
    expected_end_times = responses.end_times[page_size : page_size + len(end_times)]
    return holds_if(
        bool(end_times) and end_times == expected_end_times, "page 2 doesn't have the next calls"
    )


@statement("Pages", "A page past the end is empty")
def page_past_the_end_is_empty(responses: Responses) -> Outcome:
    reply = responses.page_past_the_end
    if not reply.is_ok:
        return differs(f"the status is {reply.status}")
    return holds_if(reply.json == [], "it isn't an empty array")


@statement("Headers", "X-Total-Count is the number of calls", compares_responses=True)
def total_count_is_right(responses: Responses) -> Outcome:
    total = responses.all_calls.total_count
    if not responses.all_calls.is_list_of_calls:
        return NO_CALLS
    if total is None:
        return differs("it is missing, or isn't a number")
    if not responses.is_total(total):
        return differs("it doesn't match the number of calls on the pages")
    if responses.first_small_page.total_count != total:
        return differs("it depends on the page")
    count_of_empty_range = responses.empty_range.total_count
    return holds_if(count_of_empty_range in {None, 0}, "it ignores the time range")


@statement("Headers", "Link has next if and only if more calls follow", compares_responses=True)
def link_has_next(responses: Responses) -> Outcome:
    if not responses.all_calls.is_list_of_calls:
        return NO_CALLS
    for reply, has_more in _pages_with_links(responses):
        if has_more and "next" not in reply.links:
            return differs("more calls follow, but there is no next")
        if not has_more and "next" in reply.links:
            return differs("no more calls follow, but there is a next")
    return HOLDS


@statement(
    "Headers",
    "Link has prev on page 2, but not on page 1",
    needs_calls=MORE_THAN_A_SMALL_PAGE,
    compares_responses=True,
)
def link_has_prev(responses: Responses) -> Outcome:
    if "prev" not in responses.second_small_page.links:
        return differs("page 2 has no prev")
    return holds_if("prev" not in responses.first_small_page.links, "page 1 has prev")


@statement("Headers", "Format of the links")
def form_of_links(responses: Responses) -> Outcome:
    link = responses.first_small_page.response.links.get("next", {}).get("url")
    if not link:
        return not_checked("there is no link")
    try:
        target = urlsplit(link)
    except ValueError:
        return observed("not a URL")
    if not target.netloc:
        return observed("relative")
    asked = urlsplit(str(responses.first_small_page.response.request.url))
    scheme = target.scheme if target.scheme in {"http", "https"} else "another scheme"
    host = "the same host" if target.netloc.lower() == asked.netloc.lower() else "another host"
    return observed(f"{scheme}, {host}")


@statement("Headers", "Rate limit")
def rate_limit_headers(responses: Responses) -> Outcome:
    sent = {name.lower() for name in responses.all_calls.response.headers}
    return observed(", ".join(sorted(sent & RATE_LIMIT_HEADERS)) or "no headers")


@statement("Headers", "Compression")
def compression(responses: Responses) -> Outcome:
    encoding = responses.all_calls.response.headers.get("Content-Encoding", "").lower()
    if not encoding:
        return observed("none")
    return observed(encoding if encoding in ENCODINGS else "an unknown encoding")


@statement("Size and speed", "Number of calls")
def number_of_calls(responses: Responses) -> Outcome:
    count = len(responses.all_calls.calls)
    if responses.has_more:
        count = max(count, responses.all_calls.total_count or 0)
    return observed(order_of_magnitude(count))


@statement("Size and speed", "Time for a page of 1000", needs_calls=MAX_PER_PAGE)
def time_for_a_page(responses: Responses) -> Outcome:
    return observed(f"{responses.all_calls.seconds:.1f} seconds")


def order_of_magnitude(count: int) -> str:
    """Return the order of magnitude of a number as a range, for example "1,000 to 9,999"."""
    if not count:
        return "none"
    lower = 10 ** (len(str(count)) - 1)
    return f"{lower:,} to {lower * 10 - 1:,}"


def _pages_with_links(responses: Responses) -> Iterator[tuple[Reply, bool]]:
    """Yield pages, and whether there are more calls after each."""
    yield responses.all_calls, responses.has_more
    known_calls = len(responses.all_calls.calls)
    calls_read = len(responses.first_small_page.calls)
    yield responses.first_small_page, known_calls > calls_read
    if known_calls > calls_read:
        calls_read += len(responses.second_small_page.calls)
        yield responses.second_small_page, known_calls > calls_read or responses.has_more


def _has_status(reply: Reply, status: HTTPStatus) -> Outcome:
    return holds_if(reply.status == status, f"it is {reply.status}")


def _has_size(page: Reply, size: int) -> Outcome:
    """Compare the size of a page without revealing it, as it may be the total number of calls."""
    comparison = "more" if len(page.calls) > size else "fewer"
    return holds_if(len(page.calls) == size, f"a page has {comparison} calls")


def _has_ties(end_times: list[datetime]) -> bool:
    return any(count > 1 for count in Counter(end_times).values())


def _check_limit(
    responses: Responses, calls_around: Callable[[Sample], Reply], *, is_in: bool
) -> Outcome:
    """Check that a time range includes the sample call, or excludes it if `is_in` is false.

    The range starts or ends when the call ended, or just after that.
    """
    sample = responses.sample
    if not sample:
        return NO_CALLS
    reply = calls_around(sample)
    if not reply.is_ok:
        return differs(f"the status is {reply.status}")

    is_as_expected = sample.is_in(reply) == is_in
    if is_in and not is_as_expected and len(reply.calls) >= MAX_PER_PAGE:
        return not_checked("too many calls end within a minute")
    return holds_if(
        is_as_expected,
        "a call inside the range is missing" if is_in else "a call outside the range was returned",
    )
