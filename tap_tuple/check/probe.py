"""Sends single requests to the API, and returns whatever comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError

from tap_tuple.api.network import read_body
from tap_tuple.api.rejections import explain_rejection, is_web_page
from tap_tuple.api.response import INVALID_JSON, total_count
from tap_tuple.api.retries import RateLimitedError, Retries, RetryPolicy, raise_if_transient

if TYPE_CHECKING:
    import logging

    import requests
    from singer_sdk.helpers.types import Context

    from tap_tuple.api.client import TupleStream

    Json = Any

POLICY = RetryPolicy(
    timeout_seconds=30,
    deadline_seconds=60,
    max_attempts=2,
    max_timeouts=2,
    max_seconds=60,
    max_rate_limit_seconds=120,  # two windows of the rate limit
    max_backoff_seconds=4,
)
"""Someone is watching, but it's worth waiting if others have used up the rate limit."""

OWN_TOKEN = ""
"""Represents the token in the tap's settings, which is never empty."""

UNAVAILABLE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
"""Statuses that say nothing about the API itself."""


class OutOfRequestsError(FatalAPIError):
    """The allowed number of requests has been sent."""


@dataclass(frozen=True)
class Reply:
    """A response from the API, whatever its status."""

    response: requests.Response
    """Use it only for the status and headers, because its body has already been read."""
    body: bytes
    seconds: float
    """From sending the request until the body was complete."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def is_ok(self) -> bool:
        """Whether the API accepted the request."""
        return self.status == HTTPStatus.OK

    @property
    def is_web_page(self) -> bool:
        """Whether the body is HTML instead of JSON."""
        return is_web_page(self.body)

    @cached_property
    def json(self) -> Json:
        """The decoded body. None if it isn't JSON."""
        try:
            return msgspec.json.decode(self.body)
        except INVALID_JSON:
            return None

    @property
    def is_list_of_calls(self) -> bool:
        """Whether the body is an array of objects."""
        return isinstance(self.json, list) and all(isinstance(item, dict) for item in self.json)

    @property
    def calls(self) -> list[dict[str, Json]]:
        """The calls in the body. Empty if the body isn't an array of objects."""
        return self.json if self.is_list_of_calls else []

    @property
    def total_count(self) -> int | None:
        """The number in X-Total-Count, or None if it's missing or invalid."""
        return total_count(self.response)

    @property
    def links(self) -> set[str]:
        """The relations of the Link header, such as "next"."""
        return set(self.response.links)


@dataclass
class Probe:
    """Sends requests with any parameters, within the rate limit.

    It uses the session, the token and the rate limit of the tap's own stream.
    """

    stream: TupleStream
    logger: logging.Logger
    """Logs waits and retries."""
    max_requests: int | None = None
    """Including retries. None means no limit."""
    requests_sent: int = field(default=0, init=False)
    """Number of requests so far, including retries."""

    def get(self, *, token: str | None = OWN_TOKEN, **params: object) -> Reply:
        """Send a request, and retry it if it fails for a reason that may be temporary.

        Args:
            token: A token other than the tap's own, or None to send no token.
            **params: Query parameters.

        Raises:
            OutOfRequestsError: If the request would be one too many.
            FatalAPIError: If the last attempt gets no response, or HTTP 429, 502, 503 or 504.
        """
        stream = self.stream
        request = stream.build_prepared_request(
            method="GET", url=f"{stream.url_base}{stream.path}", params=params
        )
        if token is None:
            del request.headers["Authorization"]
        elif token != OWN_TOKEN:
            request.headers["Authorization"] = f"Bearer {token}"
        # A cookie from an earlier response might replace the token.
        request.headers.pop("Cookie", None)

        replies: list[Reply] = []

        def send(prepared: requests.PreparedRequest, _: Context | None) -> requests.Response:
            self._count_request()
            reply = self._send(prepared)
            replies.append(reply)
            raise_if_transient(reply.response)
            return reply.response

        retries = Retries(lambda: POLICY, stream.rate_limiter, self.logger, stream.url_base)
        try:
            retries.wrap(send)(request, None)
        except FatalAPIError as error:
            is_response_error = isinstance(error.__cause__, RetriableAPIError)
            is_rate_limited = isinstance(error.__cause__, RateLimitedError)
            if not is_response_error or is_rate_limited or not replies:
                raise
            if replies[-1].status in UNAVAILABLE:
                raise
        return replies[-1]

    def explain_rejection(self, reply: Reply) -> str:
        """Return what the tap would say about a rejected request, without quoting the response."""
        stream = self.stream
        body = reply.body if reply.is_web_page else b""
        return explain_rejection(reply.response, body, stream.url_base, stream.path)

    def _count_request(self) -> None:
        if self.max_requests is not None and self.requests_sent >= self.max_requests:
            msg = (
                f"Stopped after {self.max_requests} requests, most of which had to be repeated. "
                "The warnings above say why. Run the check again later."
            )
            raise OutOfRequestsError(msg)
        self.requests_sent += 1

    def _send(self, request: requests.PreparedRequest) -> Reply:
        started_at = time.monotonic()
        response = self.stream.requests_session.send(
            request, timeout=POLICY.timeout_seconds, allow_redirects=False
        )
        body = read_body(response, POLICY.deadline_seconds)
        return Reply(response, body, time.monotonic() - started_at)
