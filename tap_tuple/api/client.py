"""How Tuple is spoken to: the URL, the token, retries, and what each failure means."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import ParseResult, urlsplit

import backoff
import requests
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError
from singer_sdk.streams import RESTStream
from typing_extensions import override
from urllib3.exceptions import HTTPError

from tap_tuple.api.network import ends_within, is_loopback
from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.api.response import Call, decode

if TYPE_CHECKING:
    from collections.abc import Generator

    from backoff.types import Details
    from singer_sdk.helpers.types import Auth, Context, RequestFunc


class RetryPolicy(NamedTuple):
    """How long, and how often, a request is tried."""

    timeout_seconds: int  # to connect, and again for each part of an answer
    deadline_seconds: int  # for a whole answer, however it drips
    max_tries: int  # for another reason than the rate limit
    max_rate_limit_seconds: int  # to sit out a quota that the team's other integrations use up


RUN = RetryPolicy(timeout_seconds=60, deadline_seconds=180, max_tries=8, max_rate_limit_seconds=600)
TEST = RetryPolicy(timeout_seconds=6, deadline_seconds=6, max_tries=2, max_rate_limit_seconds=10)

MAX_BACKOFF_SECONDS = 60  # the longest wait of the tap's own choice: one window of the rate limit
MAX_RETRY_AFTER_SECONDS = 300  # the longest wait that the server may ask for
TOKENS_PAGE = "https://production.tuple.app/team_management/api_tokens"

REFUSALS = {
    401: "Tuple refuses the token (status 401): set api_token to a token that begins with "
    f"'sk-tuple-'. Team owners and managers create one at {TOKENS_PAGE}.",
    403: "Tuple does not let this token read the team's calls (status 403): ask Tuple's support "
    "for access to the usage API, or set api_token to a token of a team that has it.",
    404: "There is no usage API at {url} (status 404): check api_url.",
    422: "Tuple refuses the time range (status 422): check start_date and end_date. Tuple says: "
    "{words}.",
}
"""What to do about a refused request, by its status."""

RETRIED = (RetriableAPIError, requests.RequestException, HTTPError, TimeoutError, ValueError)
"""Failures worth another try: the server's own, and the network's."""

PLAIN_WORDS = re.compile(r"[\w ,.:;()-]{1,200}", re.ASCII)
"""What may be quoted of a body: neither an email nor an encoded one, nor markup."""


class RateLimitedError(RetriableAPIError):
    """The team's requests of this minute are used up (status 429)."""


class TupleStream(RESTStream[ParseResult]):
    """A stream of the usage API (``GET /api/v2/call_usage``, alpha)."""

    path = "/api/v2/call_usage"
    allow_redirects = False

    calls_received: list[Call]
    """The calls of the latest response, set by `validate_response`."""

    @cached_property
    @override
    def requests_session(self) -> requests.Session:
        """Take proxies and certificates from the environment, but no proxy to this machine.

        The SDK sends prepared requests, for which requests does not look for certificates.
        """
        session = requests.Session()
        environment = session.merge_environment_settings(self.url_base, {}, None, None, None)
        session.verify = environment["verify"]
        session.trust_env = not is_loopback(urlsplit(self.url_base).hostname or "")
        return session

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
        return self.retry_policy.timeout_seconds

    @property
    def retry_policy(self) -> RetryPolicy:
        """A run gets more than a connection test, for which somebody waits."""
        return RUN if self.ABORT_AT_RECORD_COUNT is None else TEST

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """The tap's share of the team's requests in this run."""
        return RateLimiter(self.config["requests_per_minute"], self._tap.logger)

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
            self.calls_received = decode(response)
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            msg = "the team's requests of this minute are used up (status 429)"
            raise RateLimitedError(msg, response)
        elif status < HTTPStatus.MULTIPLE_CHOICES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            msg = f"Tuple answered with status {status}"
            raise RetriableAPIError(msg, response)
        else:
            message = self.response_error_message(response)
            raise FatalAPIError(message.replace(self.config["api_token"], "[redacted]"))

    @override
    def response_error_message(self, response: requests.Response) -> str:
        """Say what to do about a refused request, with no part of a body that may hold emails."""
        status = response.status_code
        if status < HTTPStatus.BAD_REQUEST:
            host = urlsplit(response.headers.get("Location", "")).hostname or "the same host"
            host = host if PLAIN_WORDS.fullmatch(host) else "another host"
            return (
                f"{self.url_base} redirects to {host} (status {status}), and the token is not "
                "sent there: if you trust that host, set api_url to it."
            )
        try:
            words = str(json.loads(response.content)["error"]).rstrip(".")
        except (ValueError, LookupError, TypeError, RecursionError):
            words = ""
        words = words if PLAIN_WORDS.fullmatch(words) else "nothing that can be quoted"
        message = REFUSALS.get(status, "Tuple refuses the request with status {status}.")
        return message.format(status=status, url=f"{self.url_base}{self.path}", words=words)

    @override
    def request_decorator(self, func: RequestFunc) -> RequestFunc:
        """Retry what may pass, each try within the rate limit.

        Replaces the SDK's decorator, whose patience ends before a window of the rate limit does
        and which logs each failure twice.
        """
        waits, warn = self.backoff_wait_generator, self.backoff_handler
        retry = partial(backoff.on_exception, waits, on_backoff=warn, jitter=None, logger=None)
        policy = self.retry_policy
        patient = retry(RateLimitedError, max_time=policy.max_rate_limit_seconds)
        # No try mends a certificate, and the rate limit has a patience of its own.
        final = (RateLimitedError, requests.exceptions.SSLError)
        retried = retry(RETRIED, max_tries=policy.max_tries, giveup=lambda e: isinstance(e, final))
        limited = self.rate_limiter.turn()(ends_within(policy.deadline_seconds)(func))
        send = patient(retried(limited))

        def request(
            prepared_request: requests.PreparedRequest, context: Context | None
        ) -> requests.Response:
            requests_before = self.rate_limiter.requests
            try:
                return send(prepared_request, context)
            except RETRIED as error:
                tries = self.rate_limiter.requests - requests_before
                msg = f"No usable answer from {self.url_base} (tries: {tries}): {_reason(error)}."
                raise FatalAPIError(msg) from error

        return request

    @override
    def backoff_wait_generator(self) -> Generator[float, Any, None]:
        """Yield seconds, about twice as many each time, and as many as ``Retry-After`` says."""
        waits = backoff.expo(factor=1, max_value=MAX_BACKOFF_SECONDS)
        # backoff discards what a wait generator yields first.
        next(waits)
        error = yield 0
        for longest in waits:
            wait = 1 + backoff.full_jitter(longest - 1)
            error = yield max(wait, _retry_after_seconds(getattr(error, "response", None)))

    @override
    def backoff_handler(self, details: Details) -> None:
        tries, reason, wait = details["tries"], _reason(details["exception"]), details["wait"]
        message = "Try %d failed: %s. Trying again in %.1f seconds."
        self.logger.warning(message, tries, reason, wait)


def _retry_after_seconds(response: requests.Response | None) -> float:
    """Read ``Retry-After``, in seconds or as an HTTP date (RFC 9110, section 10.2.3)."""
    headers = {} if response is None else response.headers
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    # The server's own clock, where it tells it: this machine's may be wrong.
    now = _http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(((_http_date(text) or now) - now).total_seconds(), MAX_RETRY_AFTER_SECONDS)


def _http_date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    return None


def _reason(error: BaseException) -> str:
    """Say what failed in the tap's own words or the system's: others may quote what was read."""
    if isinstance(error, RetriableAPIError):
        return str(error)
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror} ({type(error).__name__})"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, requests.Timeout):
        return f"nothing came in time ({type(error).__name__})"
    return f"what came is no HTTP, or broke off ({type(error).__name__})"
