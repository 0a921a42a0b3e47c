"""Decode response bodies into typed calls, or explain why that isn't possible."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from singer_sdk.exceptions import FatalSyncError, RetriableAPIError

from tap_tuple.timestamps import parse_timestamp, to_utc

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    import requests

MAX_PER_PAGE = 1000
"""The API's maximum number of calls per page."""
MAX_COUNT_DIGITS = 12
"""A longer X-Total-Count is garbage."""
MAX_REPORTED_FIELDS = 10
"""The maximum number of new fields to report. With this many, the API has clearly changed."""
TOLERANCE = timedelta(seconds=1)
"""How far calls may lie outside the requested time range, because the API may round its times."""

INVALID_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors for malformed JSON. A subclass of `DecodeError` covers values of the wrong type."""

MAX_ID = 2**63 - 1
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=MAX_ID)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class User(msgspec.Struct, gc=False):
    """The person in a participation. A deleted account may have no email."""

    email: str | None = None


class Participation(msgspec.Struct, gc=False):
    """A period that one person spent in a call. Someone who rejoins has several."""

    id: Int64
    joined_at: datetime | None = None
    left_at: datetime | None = None
    user: User | None = None

    def __post_init__(self) -> None:
        """Convert timestamps to UTC while decoding."""
        self.joined_at = self.joined_at and to_utc(self.joined_at)
        self.left_at = self.left_at and to_utc(self.left_at)


class Call(msgspec.Struct, gc=False):
    """A completed call, as documented for ``GET /api/v2/call_usage``."""

    id: Int64
    ended_at: datetime
    started_at: datetime | None = None
    duration_seconds: Int32 | None = None
    call_participations: list[Participation] | None = None

    def __post_init__(self) -> None:
        """Convert timestamps to UTC while decoding."""
        self.ended_at = to_utc(self.ended_at)
        self.started_at = self.started_at and to_utc(self.started_at)


class UnexpectedResponseError(FatalSyncError):
    """The API sent an invalid response, and retrying won't help."""


class InvalidResponseError(RetriableAPIError):
    """The API, or a proxy in front of it, sent an invalid response. Retrying may help."""

    def __init__(self, problem: str, response: requests.Response) -> None:
        """Describe the problem in a few words that complete "Tuple sent"."""
        super().__init__(f"Tuple sent {problem}", response)


# Not strict: also accept whole numbers that are sent as strings, or as floats such as 1.0.
_DECODER = msgspec.json.Decoder(list[Call], strict=False)


def decode_calls(body: bytes, response: requests.Response) -> list[Call]:
    """Decode and check the calls on a page. Their timestamps are in UTC.

    Raises:
        InvalidResponseError: If the body isn't an array of objects, or doesn't match the query.
        UnexpectedResponseError: If a value's type contradicts the API's documentation. The message
            names the field and the call, and quotes no value.
    """
    try:
        calls = _DECODER.decode(body)
    except INVALID_JSON as error:
        raise _explain_invalid_body(body, error, response) from None
    _check_calls(calls, response)
    return calls


def total_count(response: requests.Response) -> int | None:
    """Return X-Total-Count, the number of calls that match the query. None if it isn't a number."""
    text = response.headers.get("X-Total-Count", "")
    is_number = text.isdecimal() and len(text) <= MAX_COUNT_DIGITS
    return int(text) if is_number else None


def warn_about_new_fields(body: bytes, logger: logging.Logger) -> None:
    """Warn about fields that this version of the tap doesn't know."""
    # A new field may hold a value that can't be decoded.
    with suppress(*INVALID_JSON):
        calls = msgspec.json.decode(body)
        new_fields = sorted(set(find_new_fields(calls)))
        for field in new_fields[:MAX_REPORTED_FIELDS]:
            logger.warning(
                "Tuple's API has a new field, %r, which this version of tap-tuple leaves out. "
                "Look for a newer version.",
                field,
            )


def _check_calls(calls: list[Call], response: requests.Response) -> None:
    problem = _find_problem(calls, response)
    if problem:
        raise InvalidResponseError(problem, response)


def _find_problem(calls: list[Call], response: requests.Response) -> str | None:
    """Return why a page doesn't match its query, or None if it does."""
    query = dict(parse_qsl(urlsplit(response.request.url or "").query))
    ends = [call.ended_at for call in calls]

    if not ends:
        is_first_page = "page" not in query
        should_have_calls = total_count(response) or "next" in response.links
        return "no calls although it reported some" if is_first_page and should_have_calls else None

    if ends != sorted(ends):
        return "calls that aren't sorted by ended_at"

    is_too_early = ends[0] < parse_timestamp(query["since"]) - TOLERANCE
    is_too_late = ends[-1] >= parse_timestamp(query["until"]) + TOLERANCE
    return "calls from outside the requested time range" if is_too_early or is_too_late else None


def _explain_invalid_body(
    body: bytes, error: Exception, response: requests.Response
) -> InvalidResponseError | UnexpectedResponseError:
    """Return the error for a body that can't be decoded, with the field and the call at fault."""
    try:
        objects = msgspec.json.decode(body, type=list[dict[str, Any]])
    except INVALID_JSON:
        return InvalidResponseError("something other than a JSON array of calls", response)

    problem, json_path = _split_message(error)
    call_number, field = _split_json_path(json_path)
    call_id = objects[call_number - 1].get("id")
    has_usable_id = type(call_id) is int and abs(call_id) <= MAX_ID
    which_call = f"call {call_id}" if has_usable_id else f"call number {call_number}"
    location = f"in {field!r} of {which_call}" if field else f"in {which_call}"
    return UnexpectedResponseError(
        f"Tuple's response isn't as documented: {problem} {location}. No rows from this "
        "page of calls were written. Look for a newer version of tap-tuple, or report this message."
    )


def _split_message(error: Exception) -> tuple[str, str]:
    """Split msgspec's message, which quotes no values, into the problem and its JSON path.

    For example, "Expected `int`, got `str`" and "$[2].id".
    """
    problem, _, json_path = str(error).partition(" - at ")
    return problem.strip(), json_path.strip("`")


def _split_json_path(json_path: str) -> tuple[int, str]:
    """Split a JSON path into the number of the call and the rest.

    For example, "$[2].call_participations[0].id" becomes 3 and "call_participations[0].id". An
    empty path means the first call.
    """
    index, _, field = json_path.removeprefix("$[").partition("]")
    return int(index or 0) + 1, field.removeprefix(".")


_STRUCT_OF_FIELD: dict[str, type[msgspec.Struct]] = {
    "call_participations": Participation,
    "user": User,
}


def find_new_fields(
    value: Any,  # noqa: ANN401
    struct: type[msgspec.Struct] = Call,
    name: str = "call",
) -> Iterator[str]:
    """Yield the names of fields that a struct doesn't have, such as "user.name"."""
    if isinstance(value, list):
        for item in value:
            yield from find_new_fields(item, struct, name)
    if not isinstance(value, dict):
        return
    for field, inner_value in value.items():
        if field not in struct.__struct_fields__:
            # A key that isn't an identifier may be data, such as an email.
            yield f"{name}.{field:.40}" if field.isidentifier() else f"{name}.<unnamed>"
        elif field in _STRUCT_OF_FIELD:
            yield from find_new_fields(inner_value, _STRUCT_OF_FIELD[field], field)
