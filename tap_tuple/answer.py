"""Reads an answer of the usage API: its shape, its types, and the fields it has gained."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from tap_tuple.errors import UnexpectedAnswerError
from tap_tuple.timestamps import in_utc, parse_timestamp

if TYPE_CHECKING:
    import logging
    from datetime import datetime

    import requests


MAX_PER_PAGE = 1000
"""Calls that the API answers with at most."""

TOLERANCE = timedelta(seconds=1)
"""How far a call may lie outside of what was asked for: the API may round its times."""


class User(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Who took part; a deleted account may have no email."""

    email: str | None = None


class Participation(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One stay of one person in a call; somebody who rejoins has several."""

    id: int
    joined_at: str | None = None
    left_at: str | None = None
    user: User | None = None


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A completed call, as the API's page shows it (``GET /api/v2/call_usage``)."""

    id: int
    ended_at: str
    started_at: str | None = None
    duration_seconds: int | None = None
    call_participations: list[Participation] | None = None

    @property
    def end(self) -> datetime:
        """When the call ended; of its decimals, those up to microseconds."""
        return parse_timestamp(self.ended_at)


class NotCallsError(Exception):
    """A body is not what was asked for, and asking again may help."""


class AnswerReader:
    """Reads the answers of one run, and says once of each field that the API has gained."""

    def __init__(self, logger: logging.Logger) -> None:
        """Start with no new field seen.

        Args:
            logger: Takes a warning per new field.
        """
        self._logger = logger
        self._new_fields: set[str] = set()
        self._decoder = msgspec.json.Decoder(list[Call])

    def read(self, body: bytes) -> list[Call]:
        """Read the calls of a page, their timestamps in UTC.

        Args:
            body: The JSON text of an answer with status 200.

        Returns:
            The calls in the answer's order.

        Raises:
            NotCallsError: If the body is no array of objects, so that asking again may help.
            UnexpectedAnswerError: If a value has a type that the API's page rules out. The
                message names the field and the call, and holds none of the values.
        """
        try:
            calls = self._decoder.decode(body)
        except msgspec.DecodeError:
            calls = self._read_closely(body)
        for call in calls:
            _move_to_utc(call)
        return calls

    def _read_closely(self, body: bytes) -> list[Call]:
        """Read an answer that differs from the API's page: tell new fields from wrong values."""
        try:
            objects = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = "no JSON"
            raise NotCallsError(msg) from error
        if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
            msg = "no array of calls"
            raise NotCallsError(msg)
        known = [self._without_new_fields(each, Call) for each in objects]
        try:
            return msgspec.convert(known, list[Call])
        except msgspec.ValidationError as error:
            raise UnexpectedAnswerError(_locate(error, objects)) from None

    def _without_new_fields(
        self,
        value: dict[str, Any],
        shape: type[msgspec.Struct],
    ) -> dict[str, Any]:
        """Drop the fields that the API's page does not show, and warn once of each."""
        known = {}
        for name, item in value.items():
            if name in shape.__struct_fields__:
                known[name] = self._known_part(item, _NESTED.get(name))
                continue
            # A name that is none may be a value, such as an email.
            field = f"{_NAMES[shape]}.{name if name.isidentifier() else '...'}"
            if field not in self._new_fields:
                self._new_fields.add(field)
                self._logger.warning(
                    "Tuple's API has a new field, %r, which this version of tap-tuple leaves out. "
                    "Look for a newer version.",
                    field,
                )
        return known

    def _known_part(self, item: Any, shape: type[msgspec.Struct] | None) -> Any:  # noqa: ANN401
        if shape is None:
            return item
        if isinstance(item, list):
            return [self._known_part(each, shape) for each in item]
        return self._without_new_fields(item, shape) if isinstance(item, dict) else item


def total_count(response: requests.Response) -> int | None:
    """Read X-Total-Count, the calls that match the query; a value that is no number is none."""
    text = response.headers.get("X-Total-Count", "")
    return int(text) if text.isdecimal() else None


def check_order(calls: list[Call], since: datetime, until: datetime) -> None:
    """Check that calls are sorted by their ends, and that these are in what was asked for.

    Raises:
        NotCallsError: If they are not.
    """
    # Without the Z, texts that are in order are in order of time, and quicker to compare.
    texts = [call.ended_at[:-1] for call in calls]
    if texts != sorted(texts) and any(later.end < call.end for call, later in pairwise(calls)):
        msg = "calls that are not sorted by ended_at"
        raise NotCallsError(msg)
    if calls and (calls[0].end < since - TOLERANCE or calls[-1].end >= until + TOLERANCE):
        msg = "calls from outside of the time asked for"
        raise NotCallsError(msg)


_NAMES: dict[type[msgspec.Struct], str] = {
    Call: "call",
    Participation: "call_participations",
    User: "user",
}
_NESTED: dict[str, type[msgspec.Struct]] = {"call_participations": Participation, "user": User}


def _move_to_utc(call: Call) -> None:
    name = "ended_at"
    try:
        call.ended_at = in_utc(call.ended_at)
        name = "started_at"
        if call.started_at is not None:
            call.started_at = in_utc(call.started_at)
        for participation in call.call_participations or ():
            name = "joined_at"
            if participation.joined_at is not None:
                participation.joined_at = in_utc(participation.joined_at)
            name = "left_at"
            if participation.left_at is not None:
                participation.left_at = in_utc(participation.left_at)
    except ValueError:
        msg = f"Tuple's answer has no timestamp in {name!r} of call {call.id}."
        raise UnexpectedAnswerError(msg) from None


def _locate(error: msgspec.ValidationError, objects: list[dict[str, Any]]) -> str:
    """Say which field of which call is wrong; msgspec names types and places, never values."""
    problem, _, path = str(error).partition(" - at ")
    place = re.match(r"`\$\[(\d+)\]\.?(.*)`", path)
    if place is None:
        return f"Tuple's answer is not as documented: {problem}."
    call_id = objects[int(place[1])].get("id")
    who = f"call {call_id}" if isinstance(call_id, int) else f"call number {int(place[1]) + 1}"
    where = f" in {place[2]!r}" if place[2] else ""
    return f"Tuple's answer is not as documented: {problem}{where} of {who}; no row of it was used."
