"""The JSON of a response becomes typed calls, or the reason why it cannot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from singer_sdk.exceptions import FatalSyncError

from tap_tuple.timestamps import parse_timestamp, to_utc

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from datetime import datetime

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
    """One stay of one person in a call; somebody who rejoins has several."""

    id: Int64
    joined_at: str | None = None
    left_at: str | None = None
    user: User | None = None

    def __post_init__(self) -> None:
        """Convert the timestamps to UTC."""
        _to_utc(self, "joined_at", "left_at")


class Call(msgspec.Struct, gc=False):
    """A completed call, as the API's page shows it (``GET /api/v2/call_usage``)."""

    id: Int64
    ended_at: str
    started_at: str | None = None
    duration_seconds: Int32 | None = None
    call_participations: list[Participation] | None = None

    def __post_init__(self) -> None:
        """Convert the timestamps to UTC."""
        _to_utc(self, "started_at", "ended_at")

    @property
    def end(self) -> datetime:
        """When the call ended; of its decimals, those up to microseconds."""
        return parse_timestamp(self.ended_at)


class UnusableResponseError(Exception):
    """A body is not what was asked for, and asking again may help."""


class UnexpectedResponseError(FatalSyncError):
    """The API responds with something that cannot be right, and asking again does not help."""


class ResponseDecoder:
    """Decodes the responses of one run, and warns once of each field that the API has gained."""

    def __init__(self, logger: logging.Logger) -> None:
        """Expect the first response; the logger gets the warnings."""
        self._logger = logger
        self._decoder = msgspec.json.Decoder(list[Call])
        self._fields_are_known = False

    def decode(self, response: requests.Response) -> list[Call]:
        """Decode the calls of a page in its order, their timestamps in UTC.

        Raises:
            UnusableResponseError: If the body is no array of objects, or not what was asked for.
            UnexpectedResponseError: If a value has a type that the API's page rules out. The
                message names the field and the call, and holds none of the values.
        """
        body = response.content
        try:
            calls = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnexpectedResponseError(_locate(error, body)) from None
        _check(calls, response)
        if calls and not self._fields_are_known:
            self._fields_are_known = True
            fields = sorted(set(_new_fields(msgspec.json.decode(body), Call, "call")))
            for field in fields[:MAX_NEW_FIELDS]:
                self._logger.warning(
                    "Tuple's API has a new field, %r, which this version of tap-tuple leaves out. "
                    "Look for a newer version.",
                    field,
                )
        return calls


def total_count(response: requests.Response) -> int | None:
    """Read X-Total-Count, the calls that match the query; None without a number."""
    text = response.headers.get("X-Total-Count", "")
    return int(text) if text.isdecimal() and len(text) <= MAX_COUNT_DIGITS else None


def _to_utc(item: msgspec.Struct, *names: str) -> None:
    for name in names:
        text = getattr(item, name)
        if text is not None:
            try:
                utc = to_utc(text)
            except ValueError:
                msg = f"no timestamp in {name!r}"
                raise ValueError(msg) from None
            if utc is not text:
                setattr(item, name, utc)


def _check(calls: list[Call], response: requests.Response) -> None:
    query = dict(parse_qsl(urlsplit(response.request.url or "").query))
    since, until = parse_timestamp(query["since"]), parse_timestamp(query["until"])
    ends = [call.end for call in calls]
    problem = None
    if ends != sorted(ends):
        problem = "calls that are not sorted by ended_at"
    elif ends and (ends[0] < since - TOLERANCE or ends[-1] >= until + TOLERANCE):
        problem = "calls from outside of the time asked for"
    elif not ends and "page" not in query and (total_count(response) or "next" in response.links):
        problem = "no calls, and promised some"
    if problem:
        raise UnusableResponseError(problem)


def _locate(error: Exception, body: bytes) -> str:
    """Say which field of which call is wrong; msgspec names types and places, never values."""
    try:
        objects = msgspec.json.decode(body, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        msg = "no JSON array of calls"
        raise UnusableResponseError(msg) from None
    problem, _, place = str(error).partition(" - at `$[")
    index, _, field = place.rstrip("`").partition("]")
    call_id = objects[int(index or 0)].get("id")
    who = f"call {call_id}" if isinstance(call_id, int) else f"call number {int(index) + 1}"
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
