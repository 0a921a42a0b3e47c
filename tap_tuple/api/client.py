"""How Tuple is spoken to: the URL, the token, retries, and what each failure means."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import ParseResult, parse_qsl, unquote, urlsplit

import backoff
import requests
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError
from singer_sdk.streams import RESTStream
from typing_extensions import override

from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.api.response import (
    Call,
    ResponseDecoder,
    UnusableResponseError,
    check_order,
    total_count,
)
from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Generator

    from backoff.types import Details
    from singer_sdk.helpers.types import Auth, Context, RequestFunc

TIMEOUT_SECONDS = 60
"""How long to wait for a connection, and again for each part of an answer."""

MAX_TRIES = 8
"""Tries of a request that fails for another reason than the rate limit: two minutes at most."""

RATE_LIMIT_PATIENCE_SECONDS = 600
"""How long to sit out a quota that the team's other integrations use up."""

MAX_BACKOFF_SECONDS = 60
"""The longest wait of the tap's own choice: one window of the rate limit."""

MAX_RETRY_AFTER_SECONDS = 300
"""The longest wait that the server may ask for."""

MAX_QUOTED_CHARACTERS = 200
"""Quoted at most of what the API says about a refused request."""

TOKENS_PAGE = "https://production.tuple.app/team_management/api_tokens"
"""Where team owners and managers create tokens."""

RETRIED = (RetriableAPIError, requests.RequestException, ConnectionError)
"""What may pass: the server's own trouble, and the network's."""


class RateLimitedError(RetriableAPIError):
    """The team's requests of this minute are used up (status 429)."""


class TupleStream(RESTStream[ParseResult]):
    """A stream of the usage API (``GET /api/v2/call_usage``, alpha)."""

    path = "/api/v2/call_usage"
    allow_redirects = False

    calls_received: list[Call]
    """The calls of the latest response, set by `validate_response`."""

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Trust the certificates that the environment names.

        The SDK sends prepared requests, for which requests looks into no variable.
        """
        super().__init__(*args, **kwargs)
        self.requests_session.verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"]).rstrip("/")

    @property
    @override
    def authenticator(self) -> Auth:
        return BearerTokenAuthenticator(token=self.config["api_token"])

    @cached_property
    @override
    def user_agent(self) -> str:
        return self.config.get("user_agent") or f"{self.tap_name}/{self._tap.plugin_version}"

    @property
    @override
    def timeout(self) -> int:
        return TIMEOUT_SECONDS

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """The tap's share of the team's requests in this run."""
        return RateLimiter(self.config["requests_per_minute"], self._tap.logger)

    @cached_property
    def response_decoder(self) -> ResponseDecoder:
        """Decodes this run's responses."""
        return ResponseDecoder(self._tap.logger)

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: ParseResult | None,
    ) -> dict[str, Any]:
        return dict(parse_qsl(next_page_token.query)) if next_page_token else {}

    @override
    def validate_response(self, response: requests.Response) -> None:
        """Decode the calls, or say what the failure means.

        The body is decoded here rather than in `parse_response`, because only this is retried.

        Raises:
            RetriableAPIError: If asking again may help.
            FatalAPIError: If it will not.
            UnexpectedResponseError: If a value has a type that the API's page rules out.
        """
        status = response.status_code
        if status == HTTPStatus.OK:
            try:
                self.calls_received = self._calls_in(response)
            except UnusableResponseError as error:
                msg = f"Tuple answered with {error} under status {status}"
                raise RetriableAPIError(msg, response) from None
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            msg = "the team's requests of this minute are used up (status 429)"
            raise RateLimitedError(msg, response)
        elif status < HTTPStatus.MULTIPLE_CHOICES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            msg = f"Tuple answered with status {status}"
            raise RetriableAPIError(msg, response)
        else:
            raise FatalAPIError(self.response_error_message(response))

    def _calls_in(self, response: requests.Response) -> list[Call]:
        calls = self.response_decoder.decode(response.content)
        query = dict(parse_qsl(urlsplit(response.request.url or "").query))
        check_order(calls, parse_timestamp(query["since"]), parse_timestamp(query["until"]))
        is_first_page = "page" not in query
        if is_first_page and not calls and (total_count(response) or "next" in response.links):
            msg = "no calls, and promised some"
            raise UnusableResponseError(msg)
        return calls

    @override
    def response_error_message(self, response: requests.Response) -> str:
        """Say what to do about a refused request, with no part of a body that may hold emails."""
        match response.status_code:
            case HTTPStatus.UNAUTHORIZED:
                return (
                    "Tuple refuses the token (status 401): set api_token to a token that begins "
                    f"with 'sk-tuple-'. Team owners and managers create one at {TOKENS_PAGE}."
                )
            case HTTPStatus.FORBIDDEN:
                return (
                    "Tuple does not let this token read the team's calls (status 403): ask Tuple's "
                    "support for access to the usage API, or set api_token to a token of a team "
                    "that has it."
                )
            case HTTPStatus.NOT_FOUND:
                return (
                    f"There is no usage API at {self.url_base}{self.path} (status 404): check "
                    "api_url."
                )
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                return (
                    "Tuple refuses the time range (status 422): check start_date and end_date. "
                    f"Tuple says: {_redacted(response.text, self.config['api_token'])}"
                )
            case status if status < HTTPStatus.BAD_REQUEST:
                host = urlsplit(response.headers.get("Location", "")).hostname or "the same host"
                return (
                    f"{self.url_base} redirects to {host} (status {status}), and the token is not "
                    "sent there: if you trust that host, set api_url to it."
                )
            case status:
                return f"Tuple refuses the request with status {status}."

    @override
    def request_decorator(self, func: RequestFunc) -> RequestFunc:
        """Retry what may pass, each try within the rate limit.

        Replaces the SDK's decorator, whose patience ends before a window of the rate limit does
        and which logs each failure twice.
        """
        retry = partial(
            backoff.on_exception,
            self.backoff_wait_generator,
            on_backoff=self.backoff_handler,
            jitter=None,
            logger=None,
        )
        patient = retry(RateLimitedError, max_time=RATE_LIMIT_PATIENCE_SECONDS)
        retried = retry(RETRIED, max_tries=MAX_TRIES, giveup=_is_final)
        send = patient(retried(self.rate_limiter.limit(func)))

        def request(
            prepared_request: requests.PreparedRequest,
            context: Context | None,
        ) -> requests.Response:
            requests_before = self.rate_limiter.requests
            try:
                return send(prepared_request, context)
            except RETRIED as error:
                tries = self.rate_limiter.requests - requests_before
                msg = f"No answer from {self.url_base} after {tries} tries: {_reason(error)}."
                raise FatalAPIError(msg) from error

        return request

    @override
    def backoff_wait_generator(self) -> Generator[float, Any, None]:
        """Wait as long as ``Retry-After`` says, otherwise twice as long each time, with jitter.

        Yields:
            Seconds to wait; takes the exception that made the request fail.
        """
        waits = backoff.expo(factor=1, max_value=MAX_BACKOFF_SECONDS)
        # Both generators begin with a yield that nobody waits for.
        next(waits)
        error = yield 0
        while True:
            own_wait = next(waits)
            asked = _retry_after_seconds(getattr(error, "response", None))
            error = yield backoff.full_jitter(own_wait) if asked is None else asked

    @override
    def backoff_handler(self, details: Details) -> None:
        self.logger.warning(
            "Try %d failed: %s. Trying again in %.1f seconds.",
            details["tries"],
            _reason(details["exception"]),
            details["wait"],
        )


def _is_final(error: Exception) -> bool:
    """Tell failures that no retry mends, or that the rate limit's own patience takes on."""
    return isinstance(error, RateLimitedError | requests.exceptions.SSLError | ValueError)


def _retry_after_seconds(response: requests.Response | None) -> float | None:
    """Read ``Retry-After``, in seconds or as an HTTP date (RFC 9110, section 10.2.3)."""
    if response is None:
        return None
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    until = _http_date(text)
    if until is None:
        return None
    # The server's own clock, where it tells it: this machine's may be wrong.
    now = _http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _reason(error: BaseException | None) -> str:
    """Say what failed, without the request that failed."""
    if not isinstance(error, requests.RequestException):
        return str(error)
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    if isinstance(cause, Exception) and cause.args and isinstance(cause.args[-1], Exception):
        cause = cause.args[-1]
    return f"{str(cause).rpartition('): ')[2]} ({type(error).__name__})"


def _redacted(body: str, token: str) -> str:
    """Quote the beginning of what the API says, with emails and the token redacted."""
    body = unquote(body.replace(token, "[...]").replace(r"\u0040", "@"))
    words = " ".join(re.sub(r"[^\s\"'<>]*@[^\s\"'<>]*", "[...]", body).split())
    if len(words) <= MAX_QUOTED_CHARACTERS:
        return words
    return f"{words[:MAX_QUOTED_CHARACTERS]}..."
