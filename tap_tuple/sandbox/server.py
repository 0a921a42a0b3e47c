"""A mock of Tuple's usage API on this machine, as Tuple documents it."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random
    from types import TracebackType

    from tap_tuple.sandbox.company import Call

    Fault = Callable[["Response"], "Response | None"]

PATH = "/api/v2/call_usage"
TOKEN = "sk-tuple-sandbox"  # noqa: S105 - only the sandbox accepts it
DEFAULT_PER_PAGE = 100
MAX_PER_PAGE = 1000
REQUESTS_PER_MINUTE = 60
MINUTE_SECONDS = 60.0


class CallSource(Protocol):
    """Provides the sandbox's calls."""

    def calls(self, now: datetime) -> Sequence[Call]:
        """Return the calls completed by `now`, sorted by ``ended_at``."""


def end_of(call: Call) -> datetime:
    """Return when a call ended. Without a time zone, it's UTC."""
    end = datetime.fromisoformat(call["ended_at"])
    return end if end.tzinfo else end.replace(tzinfo=UTC)


class CallLog:
    """A mutable list of calls: add or delete some while the server runs."""

    def __init__(self, calls: Iterable[Call] = (), *, shuffle_ties: Random | None = None) -> None:
        """Start with some calls.

        Args:
            calls: In any order. Calls that ended at the same instant keep their order.
            shuffle_ties: On each request, reorders the calls that ended at the same instant, as a
                database may.
        """
        self._calls = sorted(calls, key=end_of)
        self.shuffle_ties = shuffle_ties

    def calls(self, now: datetime) -> Sequence[Call]:  # noqa: ARG002 - all calls are over
        """Return all calls."""
        if random := self.shuffle_ties:
            return sorted(self._calls, key=lambda call: (end_of(call), random.random()))
        return self._calls

    def add(self, call: Call) -> None:
        """Add a call, as Tuple does when it finalizes one, possibly late."""
        insort(self._calls, call, key=end_of)

    def delete(self, call_id: int) -> None:
        """Delete a call."""
        self._calls = [call for call in self._calls if call["id"] != call_id]


@dataclass(slots=True)
class Response:
    """A response to a client. A fault may replace it with a different response, or with none."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_length: int | None = None
    """The Content-Length header for a truncated body. None means the length of the body."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request, and the status of its response."""

    at: float
    """Seconds on the monotonic clock."""
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int | None
    """None if the connection was closed instead."""


class Sandbox:
    """A mock of Tuple on a port of 127.0.0.1, which runs until its ``with`` block ends.

    `requests` records every request. Each fault in `faults` changes one response, in order; None
    leaves a response untouched. `every_response` is applied first, to every response.
    """

    def __init__(
        self,
        source: CallSource,
        *,
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        max_per_page: int = MAX_PER_PAGE,
        on_request: Callable[[int], None] = lambda _: None,
        on_count: Callable[[int], None] = lambda _: None,
        every_response: Fault = lambda response: response,
    ) -> None:
        """Prepare the server.

        Args:
            source: The calls to serve.
            port: 0 for a free one.
            clock: Returns the current time, which decides which calls are over.
            requests_per_minute: The number of requests allowed in any 60 seconds.
            max_per_page: Larger values of ``per_page`` are clamped to it.
            on_request: Called with the number of each request, from 1, before the response.
            on_count: Like `on_request`, but called between counting the calls and selecting them.
            every_response: Changes every response.
        """
        self.token = TOKEN
        self.requests: list[ReceivedRequest] = []
        self.faults: deque[Fault | None] = deque()
        self._source = source
        self._clock = clock
        self._requests_per_minute = requests_per_minute
        self.max_per_page = max_per_page
        self._on_request = on_request
        self._on_count = on_count
        self._every_response = every_response
        self._lock = threading.Lock()
        self._responded_at: deque[float] = deque()
        self._server = _Server(port, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """The server's URL, for the setting ``api_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop the server, and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self) -> None:
        """Serve until this process is stopped."""
        self._thread.join()

    def respond(self, target: str, headers: dict[str, str]) -> Response | None:
        """Record a request, and return the response to it.

        Args:
            target: The path and the query.
            headers: The request's headers.

        Returns:
            The response, or None to close the connection.
        """
        with self._lock:
            self._on_request(len(self.requests) + 1)
            path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
            response: Response | None = self._documented_response(path, query, headers)
            response = self._every_response(response) if response else None
            fault = self.faults.popleft() if self.faults else None
            if fault and response:
                response = fault(response)
            status = response.status if response else None
            self.requests.append(ReceivedRequest(time.monotonic(), path, query, headers, status))
            return response

    def _documented_response(
        self, path: str, query: dict[str, str], headers: dict[str, str]
    ) -> Response:
        if path != PATH:
            return _error(HTTPStatus.NOT_FOUND, "Not found")
        if headers.get("Authorization") != f"Bearer {self.token}":
            return _error(HTTPStatus.UNAUTHORIZED, "Missing or invalid token")
        if wait := self._rate_limit_seconds():
            response = _error(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded")
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        try:
            since = _parse_instant(query, "since")
            until = _parse_instant(query, "until") if "until" in query else self._clock()
            page = _parse_positive_number(query, "page", default=1)
            per_page = min(
                _parse_positive_number(query, "per_page", default=DEFAULT_PER_PAGE),
                self.max_per_page,
            )
        except ValueError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        total = len(self._matching(since, until))
        self._on_count(len(self.requests) + 1)
        first = (page - 1) * per_page
        response = _json(HTTPStatus.OK, self._matching(since, until)[first : first + per_page])
        response.headers["X-Total-Count"] = str(total)
        links = {"prev": page - 1} if page > 1 else {}
        if first + per_page < total:
            links["next"] = page + 1
        if links:
            response.headers["Link"] = ", ".join(
                f'<{self.url}{PATH}?{urlencode(query | {"page": str(number)})}>; rel="{rel}"'
                for rel, number in links.items()
            )
        return response

    def _matching(self, since: datetime, until: datetime) -> Sequence[Call]:
        calls = self._source.calls(self._clock())
        return calls[bisect_left(calls, since, key=end_of) : bisect_left(calls, until, key=end_of)]

    def _rate_limit_seconds(self) -> float:
        """Count the request and return 0, or return the seconds until one is allowed again."""
        now = time.monotonic()
        while self._responded_at and self._responded_at[0] <= now - MINUTE_SECONDS:
            self._responded_at.popleft()
        if len(self._responded_at) >= self._requests_per_minute:
            return self._responded_at[0] + MINUTE_SECONDS - now
        self._responded_at.append(now)
        return 0.0


def _parse_instant(query: dict[str, str], name: str) -> datetime:
    try:
        return end_of({"ended_at": query[name]})
    except (KeyError, ValueError):
        msg = f"{name} must be a valid ISO 8601 datetime"
        raise ValueError(msg) from None


def _parse_positive_number(query: dict[str, str], name: str, *, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        msg = f"{name} must be a positive number"
        raise ValueError(msg)
    return int(text)


def _json(status: int, value: Any) -> Response:  # noqa: ANN401 - any JSON
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=utf-8"})


def _error(status: int, message: str) -> Response:
    return _json(status, {"error": message})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, sandbox: Sandbox) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.sandbox = sandbox

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing if a client closes the connection early."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # ty: ignore[incompatible-mutable-override] - the only server it has
    # Send headers and body in one piece, without waiting for an acknowledgment.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        response = self.server.sandbox.respond(self.path, dict(self.headers.items()))
        if response is None:
            self._cut()
            return
        self.send_response_only(response.status)
        for name, value in ({"Date": self.date_time_string()} | response.headers).items():
            self.send_header(name, value)
        content_length = response.content_length or len(response.body)
        self.send_header("Content-Length", str(content_length))
        self.end_headers()
        self.wfile.write(response.body)
        if content_length != len(response.body):
            self.wfile.flush()
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the requests are in `Sandbox.requests`."""
