"""The JSON of a response becomes typed calls, or the reason why it cannot."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import msgspec
from singer_sdk.exceptions import FatalSyncError, RetriableAPIError

from tap_tuple.timestamps import parse_timestamp, to_utc

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    import requests

MAX_PER_PAGE = 1000  # calls that the API responds with at most
MAX_COUNT_DIGITS = 12  # a longer X-Total-Count counts no calls
MAX_NEW_FIELDS = 10  # warned of at most
TOLERANCE = timedelta(seconds=1)  # outside of what was asked for: the API may round its times

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class User(msgspec.Struct, gc=False):
    """Who took part; a deleted account may have no email."""

    email: str | None = None


class Participation(msgspec.Struct, gc=False):
    """The time that one person spent in a call. Someone who rejoins has several."""

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
    """The API responds with something that cannot be right, and asking again does not help."""


_DECODER = msgspec.json.Decoder(list[Call])


def decode(response: requests.Response) -> list[Call]:
    """Decode the calls of a page in its order, their timestamps in UTC.

    Raises:
        RetriableAPIError: If the body is no array of objects, or not what was asked for.
        UnexpectedResponseError: If a value has a type that the API's page rules out. The message
            names the field and the call, and holds none of the values.
    """
    try:
        calls = _DECODER.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedResponseError(_locate(error, response)) from None
    query = dict(parse_qsl(urlsplit(response.request.url or "").query))
    since, until = parse_timestamp(query["since"]), parse_timestamp(query["until"])
    ends = [call.ended_at for call in calls]
    if ends != sorted(ends):
        _ask_again("calls that are not sorted by ended_at", response)
    if ends and (ends[0] < since - TOLERANCE or ends[-1] >= until + TOLERANCE):
        _ask_again("calls from outside of the time asked for", response)
    if not ends and "page" not in query and (total_count(response) or "next" in response.links):
        _ask_again("no calls where it promised some", response)
    return calls


def warn_of_new_fields(response: requests.Response, logger: logging.Logger) -> None:
    """Warn of the fields, up to ten, that the API has gained."""
    with suppress(ValueError, RecursionError):  # of a value in a field that is left out
        fields = sorted(set(_new_fields(msgspec.json.decode(response.content), Call, "call")))
        for field in fields[:MAX_NEW_FIELDS]:
            logger.warning(
                "Tuple's API has a new field, %r, which this version of tap-tuple leaves out. "
                "Look for a newer version.",
                field,
            )


def total_count(response: requests.Response) -> int | None:
    """Read X-Total-Count, the calls that match the query; None without a number."""
    text = response.headers.get("X-Total-Count", "")
    return int(text) if text.isdecimal() and len(text) <= MAX_COUNT_DIGITS else None


def _ask_again(problem: str, response: requests.Response) -> NoReturn:
    msg = f"Tuple answered with {problem} (status 200)"
    raise RetriableAPIError(msg, response) from None


def _locate(error: Exception, response: requests.Response) -> str:
    """Say which field of which call is wrong; msgspec names types and places, never values."""
    try:
        objects = msgspec.json.decode(response.content, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _ask_again("no JSON array of calls", response)
    problem, _, place = str(error).partition(" - at `$[")
    index, _, field = place.rstrip("`").partition("]")
    position = int(index or 0)
    call_id = objects[position].get("id")
    who = f"call {call_id}" if isinstance(call_id, int) else f"call number {position + 1}"
    where = f" in {field[1:]!r}" if field else ""
    return f"Tuple's answer is not as documented: {problem}{where} of {who}; no row of it was used."


_NESTED: dict[str, type[msgspec.Struct]] = {"call_participations": Participation, "user": User}


def _new_fields(value: Any, shape: type[msgspec.Struct], name: str) -> Iterator[str]:  # noqa: ANN401
    for item in value if isinstance(value, list) else [value]:
        for field, inner in item.items() if isinstance(item, dict) else ():
            if field not in shape.__struct_fields__:
                # A name that is none may be a value, such as an email.
                yield f"{name}.{field if field.isidentifier() else '...':.40}"
            elif field in _NESTED:
                yield from _new_fields(inner, _NESTED[field], field)
