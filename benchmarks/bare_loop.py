"""A minimal loop that reads the calls and writes the records: ``python -m benchmarks.bare_loop``.

It has no settings, state, retries or checks. Every tap has to do at least this much.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec
import requests


def main(url: str) -> None:
    """Write a RECORD per call and per participation.

    Args:
        url: The URL of the first page.
    """
    encode = msgspec.json.Encoder().encode
    write = sys.stdout.buffer.write
    session = requests.Session()
    session.headers["Authorization"] = "Bearer sk-tuple-benchmark"
    next_url: str | None = url
    while next_url:
        response = session.get(next_url, timeout=60)
        response.raise_for_status()
        extracted = datetime.now(UTC)
        for call in msgspec.json.decode(response.content):
            for participation in call["call_participations"]:
                row = {
                    "id": participation["id"],
                    "call_id": call["id"],
                    "call_ended_at": call["ended_at"],
                    "joined_at": participation["joined_at"],
                    "left_at": participation["left_at"],
                    "user_email": participation["user"]["email"],
                }
                message = {
                    "type": "RECORD",
                    "stream": "call_participations",
                    "record": row,
                    "time_extracted": extracted,
                }
                write(encode(message) + b"\n")
            row = {
                "id": call["id"],
                "started_at": call["started_at"],
                "ended_at": call["ended_at"],
                "duration_seconds": call["duration_seconds"],
            }
            message = {
                "type": "RECORD",
                "stream": "calls",
                "record": row,
                "time_extracted": extracted,
            }
            write(encode(message) + b"\n")
        next_url = response.links.get("next", {}).get("url")


if __name__ == "__main__":
    main(sys.argv[1])
