"""Reads and writes the rows with as little work as possible: ``python -m benchmarks.tuned_loop``.

It uses typed structs for the API's JSON and for the messages, and encodes and writes each stream
once per page. Like the bare loop, it has no settings, state, retries or checks. It shows how fast a
Python program can be.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec
import requests


class User(msgspec.Struct, gc=False):
    """A person in a call."""

    email: str | None


class Participation(msgspec.Struct, gc=False):
    """A participation, as the API returns it."""

    id: int
    joined_at: datetime
    left_at: datetime
    user: User


class Call(msgspec.Struct, gc=False):
    """A call, as the API returns it."""

    id: int
    started_at: datetime
    ended_at: datetime
    duration_seconds: int
    call_participations: list[Participation]


class ParticipationRow(msgspec.Struct, gc=False):
    """A row of call_participations."""

    id: int
    call_id: int
    call_ended_at: datetime
    joined_at: datetime
    left_at: datetime
    user_email: str | None


class CallRow(msgspec.Struct, gc=False):
    """A row of calls."""

    id: int
    started_at: datetime
    ended_at: datetime
    duration_seconds: int


class ParticipationRecord(msgspec.Struct, gc=False, tag="RECORD"):
    """A RECORD message of call_participations."""

    record: ParticipationRow
    time_extracted: datetime
    stream: str = "call_participations"


class CallRecord(msgspec.Struct, gc=False, tag="RECORD"):
    """A RECORD message of calls."""

    record: CallRow
    time_extracted: datetime
    stream: str = "calls"


def main(url: str) -> None:
    """Write a RECORD per call and per participation.

    Args:
        url: The URL of the first page.
    """
    decode = msgspec.json.Decoder(list[Call]).decode
    encode_lines = msgspec.json.Encoder().encode_lines
    write = sys.stdout.buffer.write
    session = requests.Session()
    session.headers["Authorization"] = "Bearer sk-tuple-benchmark"

    next_url: str | None = url
    while next_url:
        response = session.get(next_url, timeout=60)
        response.raise_for_status()
        extracted = datetime.now(UTC)
        calls = decode(response.content)

        participations = [
            ParticipationRecord(
                ParticipationRow(
                    participation.id,
                    call.id,
                    call.ended_at,
                    participation.joined_at,
                    participation.left_at,
                    participation.user.email,
                ),
                extracted,
            )
            for call in calls
            for participation in call.call_participations
        ]
        write(encode_lines(participations))
        records = [
            CallRecord(
                CallRow(call.id, call.started_at, call.ended_at, call.duration_seconds), extracted
            )
            for call in calls
        ]
        write(encode_lines(records))
        next_url = response.links.get("next", {}).get("url")


if __name__ == "__main__":
    main(sys.argv[1])
