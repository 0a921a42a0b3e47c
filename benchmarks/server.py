"""Serves calls that are encoded in advance, so that it uses much less CPU time than its clients.

It is a separate process. ``python -m benchmarks.server 25000`` prints its URL.
"""

from __future__ import annotations

import socketserver
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from typing_extensions import override

from tests.conftest import ROOT, api_time

if TYPE_CHECKING:
    from collections.abc import Generator

PATH = "/api/v2/call_usage"
FIRST_END = datetime(2020, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(minutes=1)
"""Between the ends of two calls. Half a million calls take less than a year."""
LENGTH = timedelta(minutes=30)
PEOPLE = 60
PARTICIPATIONS = (
    *(2, 1, 2, 3, 2, 2, 5, 2, 2, 2, 2, 3, 2, 2, 4, 2, 2, 2, 2, 2),
    *(2, 1, 2, 3, 2, 2, 5, 2, 2, 2, 2, 3, 2, 2, 4, 2, 2, 1, 2, 2),
)
"""Numbers of people in consecutive calls, repeated every 40: 91 in 40 calls, or 2.275 each."""


def participations_in(calls: int) -> int:
    """Return how many participations this many calls have."""
    rounds, rest = divmod(calls, len(PARTICIPATIONS))
    return rounds * sum(PARTICIPATIONS) + sum(PARTICIPATIONS[:rest])


@contextmanager
def serve(calls: int) -> Generator[str]:
    """Serve calls until the end of the block.

    Args:
        calls: The number of calls.

    Yields:
        The URL, for the setting ``api_url``.
    """
    command = [sys.executable, "-m", "benchmarks.server", str(calls)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _encoded_calls(count: int) -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    calls = []
    participation_id = 0
    for number in range(count):
        end = FIRST_END + number * INTERVAL
        started, ended = api_time(end - LENGTH), api_time(end)
        size = PARTICIPATIONS[number % len(PARTICIPATIONS)]
        call = {
            "id": number,
            "started_at": started,
            "ended_at": ended,
            "duration_seconds": int(LENGTH.total_seconds()),
            "call_participations": [
                {
                    "id": participation_id + seat,
                    "joined_at": started,
                    "left_at": ended,
                    "user": {"email": f"person{(number + seat) % PEOPLE}@lumen.example"},
                }
                for seat in range(size)
            ],
        }
        participation_id += size
        calls.append(encode(call))
    return calls


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, calls: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls = _encoded_calls(calls)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def respond(self, target: str) -> bytes:
        """Return the response to a request for a page, whatever its path and token are."""
        query = dict(parse_qsl(urlsplit(target).query))
        first = self._calls_before(query["since"])
        until = self._calls_before(query["until"]) if "until" in query else len(self.calls)
        total = max(0, until - first)
        page, per_page = int(query.get("page", 1)), int(query.get("per_page", 100))
        start = (page - 1) * per_page
        end = min(start + per_page, total)
        body = b"[" + b",".join(self.calls[first + start : first + end]) + b"]"
        link = ""
        if end < total:
            following = urlencode(query | {"page": str(page + 1)})
            link = f'Link: <{self.url}{PATH}?{following}>; rel="next"\r\n'
        head = (
            "HTTP/1.1 200 OK\r\n"
            "Content-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Total-Count: {total}\r\n"
            f"{link}\r\n"
        )
        return head.encode() + body

    def _calls_before(self, timestamp: str) -> int:
        moment = datetime.fromisoformat(timestamp)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, min(len(self.calls), -((FIRST_END - moment) // INTERVAL)))


class _Handler(socketserver.StreamRequestHandler):
    server: _Server  # ty: ignore[incompatible-mutable-override] - the only server it has
    disable_nagle_algorithm = True

    @override
    def handle(self) -> None:
        """Respond to GET requests until the client hangs up."""
        while request := self.rfile.readline():
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            target = request.split(b" ")[1].decode()
            self.wfile.write(self.server.respond(target))


if __name__ == "__main__":
    with _Server(int(sys.argv[1])) as server:
        print(server.url, flush=True)  # noqa: T201 - the parent process reads this
        server.serve_forever()
