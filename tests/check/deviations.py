"""Servers that each deviate from the API's documentation in one way."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_tuple.sandbox import Sandbox
from tap_tuple.sandbox.server import Response
from tap_tuple.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.server import CallSource

    Query = dict[str, str]
    Headers = dict[str, str]
    Documented = Callable[[Query], Response]
    Deviation = Callable[[Documented, Query, Headers], Response]


class DeviatingSandbox(Sandbox):
    """A sandbox whose responses deviate from the documented ones."""

    def __init__(self, source: CallSource, deviation: Deviation) -> None:
        super().__init__(source, requests_per_minute=10_000)
        self._deviation = deviation

    @override
    def _documented_response(self, path: str, query: Query, headers: Headers) -> Response:
        def documented(changed_query: Query) -> Response:
            return super(DeviatingSandbox, self)._documented_response(path, changed_query, headers)

        return self._deviation(documented, query, headers)


def with_query(**changes: Callable[[str], str]) -> Deviation:
    """Change some parameters of the query."""

    def deviate(documented: Documented, query: Query, _: Headers) -> Response:
        changed = {name: change(query[name]) for name, change in changes.items() if name in query}
        return documented(query | changed)

    return deviate


def with_default(**defaults: str) -> Deviation:
    """Add parameters that are missing."""
    return lambda documented, query, _: documented(defaults | query)


def with_calls(change: Callable[[list[dict[str, Any]]], Any]) -> Deviation:
    """Change the body of a response that has calls."""

    def deviate(documented: Documented, query: Query, _: Headers) -> Response:
        response = documented(query)
        calls = json.loads(response.body)
        if response.status == 200 and calls:
            response.body = json.dumps(change(calls)).encode()
        return response

    return deviate


def with_header(name: str, change: Callable[[str], str]) -> Deviation:
    """Change a header of a successful response. An empty one isn't sent."""

    def deviate(documented: Documented, query: Query, _: Headers) -> Response:
        response = documented(query)
        if response.status == 200:
            response.headers[name] = change(response.headers.get(name, ""))
            if not response.headers[name]:
                del response.headers[name]
        return response

    return deviate


def with_status(status: int, condition: Callable[[Query, Headers], bool]) -> Deviation:
    """Respond with another status to some requests."""

    def deviate(documented: Documented, query: Query, headers: Headers) -> Response:
        if condition(query, headers):
            return Response(status, b'{"error":"No"}')
        return documented(query)

    return deviate


def a_millisecond_later(timestamp: str) -> str:
    """Add a millisecond, so that `since` becomes exclusive and `until` inclusive."""
    try:
        return format_timestamp(parse_timestamp(timestamp) + timedelta(milliseconds=1))
    except ValueError:
        return timestamp


def whole_second(timestamp: str) -> str:
    """Drop the fractional seconds from a timestamp."""
    return timestamp.partition(".")[0] + "Z" if "." in timestamp else timestamp


def swap_neighbors(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Swap two calls on a large page."""
    if len(calls) > 150:
        calls[120], calls[121] = calls[121], calls[120]
    return calls


def without_duration(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out a documented field."""
    return [{key: call[key] for key in call if key != "duration_seconds"} for call in calls]


def is_page_2_with_two_calls(query: Query) -> bool:
    """Return whether a query asks for page 2, with two calls per page."""
    return query.get("per_page") == "2" and query.get("page") == "2"


def skipping_a_page(documented: Documented, query: Query, _: Headers) -> Response:
    """Send page 3 instead of page 2."""
    return documented(query | {"page": "3"} if is_page_2_with_two_calls(query) else query)


def repeating_a_page(documented: Documented, query: Query, _: Headers) -> Response:
    """Send the calls of page 1 again, as page 2."""
    response = documented(query)
    if is_page_2_with_two_calls(query):
        response.body = documented(query | {"page": "1"}).body
    return response


def count_of_the_page(documented: Documented, query: Query, _: Headers) -> Response:
    """Count only the calls of the page."""
    response = documented(query)
    if response.status == 200:
        response.headers["X-Total-Count"] = str(len(json.loads(response.body)))
    return response


DEVIATIONS: dict[str, dict[str, Deviation]] = {
    "Without a token, the status is 401": {
        "403": with_status(403, lambda _, headers: "Authorization" not in headers)
    },
    "With an invalid token, the status is 401": {
        "404": with_status(404, lambda _, headers: "invalid" in headers.get("Authorization", ""))
    },
    "The body is an array of calls": {"object": with_calls(lambda calls: {"calls": calls})},
    "Calls have all documented fields": {"missing": with_calls(without_duration)},
    "Fields have the documented types": {
        "no objects": with_calls(
            lambda calls: [call | {"call_participations": [7]} for call in calls]
        ),
        "text": with_calls(lambda calls: [call | {"duration_seconds": "1800"} for call in calls]),
    },
    "There are no other fields": {
        "topic": with_calls(lambda calls: [call | {"topic": "secret"} for call in calls])
    },
    "Calls are sorted by ended_at, ascending": {"swapped": with_calls(swap_neighbors)},
    "With a malformed since, the status is 422": {
        "400": with_status(400, lambda query, _: query.get("since") == "yesterday")
    },
    "With a malformed until, the status is 422": {
        "200": with_query(until=lambda text: "2030-01-01" if text == "yesterday" else text)
    },
    "since is required": {"optional": with_default(since="1970-01-01")},
    "until defaults to now": {
        "required": with_status(422, lambda query, _: "until" not in query),
        "midnight": with_default(until="2026-03-02"),
    },
    "since is inclusive": {"exclusive": with_query(since=a_millisecond_later)},
    "since is as precise as ended_at": {"seconds": with_query(since=whole_second)},
    "until is exclusive": {"inclusive": with_query(until=a_millisecond_later)},
    "until is as precise as ended_at": {"seconds": with_query(until=whole_second)},
    "A range without calls gives an empty array": {
        "404": with_status(404, lambda query, _: query.get("until", "").startswith("1970"))
    },
    "per_page=2 is honored": {
        "more": with_query(per_page=lambda text: "3" if text == "2" else text),
        "fewer": with_query(per_page=lambda text: "1" if text == "2" else text),
    },
    "per_page=1000 is honored": {"100": with_query(per_page=lambda text: str(min(int(text), 100)))},
    "per_page defaults to 100": {"50": with_default(per_page="50")},
    "Page 2 continues page 1": {"skipped": skipping_a_page, "repeated": repeating_a_page},
    "A page past the end is empty": {
        "404": with_status(404, lambda query, _: query.get("page") == "100000"),
        "last page": with_query(page=lambda text: "1" if text == "100000" else text),
    },
    "X-Total-Count is the number of calls": {
        "higher": with_header("X-Total-Count", lambda count: str(int(count) + 1)),
        "lower": with_header("X-Total-Count", lambda count: str(max(int(count) - 1, 0))),
        "missing": with_header("X-Total-Count", lambda _: ""),
        "of the page": count_of_the_page,
        "of all calls": with_header("X-Total-Count", lambda _: "250"),
    },
    "Link has next if and only if more calls follow": {
        "never": with_header("Link", lambda link: link if "prev" in link else ""),
        "always": with_header("Link", lambda link: f'{link}, <x>; rel="next"'.strip(", ")),
    },
    "Link has prev on page 2, but not on page 1": {
        "never": with_header("Link", lambda link: link.replace('rel="prev"', 'rel="first"')),
        "always": with_header("Link", lambda link: f'{link}, <x>; rel="prev"'.strip(", ")),
    },
}
"""Deviations by the statement that they contradict, and by a label."""
