"""Retries: which failures are worth another attempt, how long to wait, and when to give up."""

from __future__ import annotations

import random
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import backoff
import requests
import urllib3
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError

from tap_tuple.text import count

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator, Iterator

    from backoff.types import Details
    from singer_sdk.helpers.types import Context, RequestFunc

    from tap_tuple.api.rate_limit import RateLimiter


class RetryPolicy(NamedTuple):
    """How patient the tap is with a request."""

    timeout_seconds: int
    """How long to wait for a connection, and then for each chunk of the response."""
    deadline_seconds: int
    """For the whole body of the response, however slowly it arrives."""
    max_attempts: int
    """Not counting those that hit the rate limit."""
    max_timeouts: int
    """Attempts that connect to the server but get no response in time."""
    max_seconds: int
    """After this time, only response timeouts and rate-limited requests are still retried."""
    max_rate_limit_seconds: int
    """How long to keep retrying while the team's other integrations use up the rate limit."""
    max_backoff_seconds: int
    """The longest wait without ``Retry-After``."""


RUN_POLICY = RetryPolicy(
    timeout_seconds=60,
    deadline_seconds=180,
    max_attempts=8,
    max_timeouts=8,
    max_seconds=3600,
    max_rate_limit_seconds=600,
    max_backoff_seconds=60,  # one window of the rate limit
)
FIRST_CONTACT_POLICY = RUN_POLICY._replace(
    timeout_seconds=30, max_attempts=20, max_timeouts=2, max_seconds=30, max_backoff_seconds=8
)
"""Until Tuple has responded, failures may be due to a wrong URL or proxy. Someone may also be
watching: the tap can't tell Meltano's ``config test`` from an ordinary run."""
CONNECTION_TEST_POLICY = RetryPolicy(
    timeout_seconds=6,
    deadline_seconds=6,
    max_attempts=2,
    max_timeouts=2,
    max_seconds=30,
    max_rate_limit_seconds=10,
    max_backoff_seconds=8,
)
"""Someone is waiting for the result of a connection test, so give up soon."""

PROXY_LOGIN_MESSAGE = (
    "The proxy requires a login (HTTP 407). Set its user name and password in HTTPS_PROXY, or add "
    "api_url's host to NO_PROXY."
)

MAX_RETRY_AFTER_SECONDS = 300
"""The longest wait to accept from ``Retry-After``."""

TRANSIENT_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
"""Statuses below 500 that ask for another attempt (RFC 9110, RFC 8470), in addition to 429."""


class RateLimitedError(RetriableAPIError):
    """The team's rate limit is exhausted (status 429)."""


TRANSIENT_ERRORS = (
    RetriableAPIError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
)
"""Server and network errors, which may be temporary. `is_final` identifies those that aren't."""

TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError)


def raise_if_transient(response: requests.Response) -> None:
    """Raise an error if the status may be different on the next attempt.

    Raises:
        RateLimitedError: If the team's rate limit is exhausted.
        RetriableAPIError: If the status is 5xx, a success other than 200, or in
            `TRANSIENT_STATUSES`.
    """
    status = response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        msg = "the team's rate limit is exhausted (HTTP 429)"
        raise RateLimitedError(msg, response)

    is_other_success = status < HTTPStatus.MULTIPLE_CHOICES and status != HTTPStatus.OK
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_other_success or is_server_error or status in TRANSIENT_STATUSES:
        msg = f"Tuple responded with HTTP {status}"
        raise RetriableAPIError(msg, response)


class Retries:
    """Retries requests that failed for a reason that may be temporary."""

    def __init__(
        self,
        policy: Callable[[], RetryPolicy],
        rate_limiter: RateLimiter,
        logger: logging.Logger,
        url: str,
    ) -> None:
        """Set the policy.

        Args:
            policy: Returns the current policy, which may change during a run.
            rate_limiter: Every attempt waits for its turn.
            logger: Receives a warning before each retry.
            url: Named in the error if all attempts fail.
        """
        self._policy = policy
        self._rate_limiter = rate_limiter
        self._logger = logger
        self._url = url

    def wrap(self, send: RequestFunc, on_failure: Callable[[], None] = lambda: None) -> RequestFunc:
        """Return a function that sends a request, and sends it again if that fails.

        Rate-limited requests are retried separately, because the server is healthy, and it may take
        minutes for the team's other integrations to free up some of the quota.

        Args:
            send: Sends a request once.
            on_failure: Called after each failed attempt.
        """

        def send_with_retries(
            prepared_request: requests.PreparedRequest, context: Context | None
        ) -> requests.Response:
            attempts = _Attempts(self._policy)

            @self._retry(
                RateLimitedError, attempts, max_time=lambda: self._policy().max_rate_limit_seconds
            )
            @self._retry(TRANSIENT_ERRORS, attempts, giveup=attempts.is_last)
            def attempt() -> requests.Response:
                with self._rate_limiter.turn():
                    attempts.number += 1
                    try:
                        return send(prepared_request, context)
                    except Exception:
                        on_failure()
                        raise

            try:
                return attempt()
            except (*TRANSIENT_ERRORS, requests.RequestException, ValueError) as error:
                raise FatalAPIError(self._explain(error, attempts.number)) from error

        return send_with_retries

    def _retry(
        self,
        exceptions: type[Exception] | tuple[type[Exception], ...],
        attempts: _Attempts,
        *,
        max_time: Callable[[], float] | None = None,
        giveup: Callable[[Exception], bool] = lambda _: False,
    ) -> Callable[[Callable[[], requests.Response]], Callable[[], requests.Response]]:
        def warn(details: Details) -> None:
            error, wait = details["exception"], details["wait"]
            self._logger.warning(
                "Attempt %d failed: %s. Retrying in %s.",
                attempts.number,
                describe(error),
                count(wait, "second"),
            )

        return backoff.on_exception(
            lambda: wait_seconds(self._policy),
            exceptions,
            max_time=max_time,
            giveup=giveup,
            on_backoff=warn,
            # The waits already have jitter, and backoff's own log line would be one too many.
            jitter=None,
            logger=None,
        )

    def _explain(self, error: Exception, attempts: int) -> str:
        """Return why the tap gives up, and what to do."""
        tried = f"after {count(attempts, 'attempt')}"
        reason = describe(error)
        advice = _advice_on_setup(error)
        if advice:
            return advice
        if isinstance(error, RateLimitedError):
            return (
                f"Gave up {tried}: {reason}. The team's other integrations are using it up. Lower "
                "their rate, or run at another time."
            )
        is_unreachable = isinstance(error, requests.ConnectionError | requests.Timeout)
        if is_unreachable and not isinstance(error, requests.exceptions.ChunkedEncodingError):
            return (
                f"Can't reach {self._url} {tried}: {reason}. Check your network, your proxy and "
                "api_url."
            )
        return (
            f"No valid response from {self._url} {tried}: {reason}. Run again later. If the "
            "problem persists, check api_url and your network."
        )


def _advice_on_setup(error: Exception) -> str | None:
    """Return advice about a failure that will persist until somebody changes a setting."""
    if is_proxy_login(error):
        return PROXY_LOGIN_MESSAGE
    if is_invalid_certificate(error):
        return (
            f"Can't establish a secure connection: {describe(error)}. If a proxy or your company "
            "issued the certificate, set REQUESTS_CA_BUNDLE to a file with its root certificate."
        )
    is_invalid_request = isinstance(error, requests.RequestException)
    if is_invalid_request and not isinstance(error, TRANSIENT_ERRORS):
        return (
            f"Can't send requests ({type(error).__name__}). Check api_url and your proxy settings."
        )
    return None


class _Attempts:
    """The attempts to send one request."""

    def __init__(self, policy: Callable[[], RetryPolicy]) -> None:
        self.number = 0
        self._policy = policy
        self._failures = 0
        self._timeouts = 0
        self._started_at = time.monotonic()

    def is_last(self, error: Exception) -> bool:
        """Count a failure, and return whether to give up."""
        if isinstance(error, RateLimitedError) or is_final(error):
            return True
        policy = self._policy()
        self._failures += 1
        is_connected = not isinstance(error, requests.ConnectionError)
        if is_connected and isinstance(error, TIMEOUTS):
            self._timeouts += 1
            return self._timeouts >= policy.max_timeouts or self._failures >= policy.max_attempts
        is_out_of_time = time.monotonic() - self._started_at >= policy.max_seconds
        return is_out_of_time or self._failures >= policy.max_attempts


def wait_seconds(policy: Callable[[], RetryPolicy]) -> Generator[float, Exception, None]:
    """Generate waits for `backoff`, which sends the exception and receives the seconds to wait.

    The longest possible wait doubles each time, up to the policy's maximum. No wait is shorter than
    `retry_after_seconds`.
    """
    # backoff discards the first value.
    error = yield 0
    ceiling = 1
    while True:
        wait = random.uniform(1, ceiling)  # noqa: S311 - jitter, not a secret
        error = yield max(wait, retry_after_seconds(getattr(error, "response", None)))
        ceiling = min(2 * ceiling, policy().max_backoff_seconds)


def retry_after_seconds(response: requests.Response | None) -> float:
    """Return the wait that ``Retry-After`` asks for, or 0 if it's absent (RFC 9110, 10.2.3)."""
    if response is None:
        return 0
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)

    retry_at = _parse_http_date(text)
    if retry_at is None:
        return 0
    # Prefer the server's clock, because ours may be wrong.
    now = _parse_http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return min((retry_at - now).total_seconds(), MAX_RETRY_AFTER_SECONDS)


def is_final(error: Exception) -> bool:
    """Return whether retrying is pointless, even though the error is in `TRANSIENT_ERRORS`."""
    return is_invalid_certificate(error) or is_proxy_login(error)


def is_invalid_certificate(error: BaseException) -> bool:
    """Return whether a certificate couldn't be verified.

    Other TLS errors may be temporary.
    """
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def is_proxy_login(error: BaseException) -> bool:
    """Return whether the proxy demands a login for a tunnel (status 407)."""
    is_proxy_error = isinstance(error, requests.exceptions.ProxyError)
    return is_proxy_error and any("407" in str(cause) for cause in _causes(error))


def describe(error: BaseException) -> str:
    """Describe a failure in our own or the system's words.

    Other messages may quote private data.
    """
    if isinstance(error, RetriableAPIError):
        return str(error)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate isn't valid ({cause.verify_message})"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[0].lower() + cause.strerror[1:]
    kind = type(error).__name__
    if isinstance(error, TIMEOUTS):
        return f"timed out ({kind})"
    if isinstance(error, requests.ConnectionError):
        return f"the connection was closed ({kind})"
    return f"the response was invalid or truncated ({kind})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, including those that are only among its arguments."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        cause = pending.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        reason = getattr(cause, "reason", None)
        pending += [cause.__cause__, cause.__context__, reason, *cause.args]


def _parse_http_date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    return None
