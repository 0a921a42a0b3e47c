"""Retries: which failures are worth another attempt, how long to wait, and when to give up."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import backoff
import requests
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator

    from backoff.types import Details
    from singer_sdk.helpers.types import Context, RequestFunc

    from tap_tuple.api.rate_limit import RateLimiter


class RetryPolicy(NamedTuple):
    """How patient the tap is with a request."""

    timeout_seconds: int
    """To connect, and again for each chunk of the response."""
    deadline_seconds: int
    """For the whole body of the response, however slowly it arrives."""
    max_attempts: int
    """Not counting those that met the rate limit."""
    max_rate_limit_seconds: int
    """For a rate limit that the team's other integrations use up."""


RUN_POLICY = RetryPolicy(
    timeout_seconds=60, deadline_seconds=180, max_attempts=8, max_rate_limit_seconds=600
)
CONNECTION_TEST_POLICY = RetryPolicy(
    timeout_seconds=6, deadline_seconds=6, max_attempts=2, max_rate_limit_seconds=10
)
"""Someone is watching a connection test."""

MAX_BACKOFF_SECONDS = 60
"""The longest wait without ``Retry-After``: one window of the rate limit."""
MAX_RETRY_AFTER_SECONDS = 300
"""The longest wait that the server may ask for."""


class RateLimitedError(RetriableAPIError):
    """The team's rate limit is exhausted (status 429)."""


TRANSIENT_ERRORS = (RetriableAPIError, requests.RequestException, HTTPError, ValueError)
"""Failures worth another attempt: server errors and network errors."""


class Retries:
    """Repeats requests that failed for a reason that may pass."""

    def __init__(
        self, policy: RetryPolicy, rate_limiter: RateLimiter, logger: logging.Logger, url: str
    ) -> None:
        """Set the policy.

        Args:
            policy: How patient to be.
            rate_limiter: Every attempt waits for its turn.
            logger: Receives a warning per failed attempt.
            url: Named in the error if all attempts fail.
        """
        self._policy = policy
        self._rate_limiter = rate_limiter
        self._logger = logger
        self._url = url

    def wrap(self, send: RequestFunc) -> RequestFunc:
        """Return a function that sends a request, and sends it again if that fails.

        Rate limits are retried separately: the server is well, and it may take minutes until the
        team's other integrations leave some of the quota.
        """

        @self._retry(RateLimitedError, max_time=self._policy.max_rate_limit_seconds)
        @self._retry(TRANSIENT_ERRORS, max_tries=self._policy.max_attempts, giveup=_is_final)
        def attempt(
            prepared_request: requests.PreparedRequest, context: Context | None
        ) -> requests.Response:
            with self._rate_limiter.turn():
                return send(prepared_request, context)

        def send_with_retries(
            prepared_request: requests.PreparedRequest, context: Context | None
        ) -> requests.Response:
            requests_before = self._rate_limiter.requests
            try:
                return attempt(prepared_request, context)
            except TRANSIENT_ERRORS as error:
                attempts = self._rate_limiter.requests - requests_before
                reason = describe(error)
                msg = f"No usable answer from {self._url} (tries: {attempts}): {reason}."
                raise FatalAPIError(msg) from error

        return send_with_retries

    def _retry(
        self,
        exceptions: type[Exception] | tuple[type[Exception], ...],
        *,
        max_tries: int | None = None,
        max_time: float | None = None,
        giveup: Callable[[Exception], bool] = lambda _: False,
    ) -> Callable[[RequestFunc], RequestFunc]:
        return backoff.on_exception(
            wait_seconds,
            exceptions,
            max_tries=max_tries,
            max_time=max_time,
            giveup=giveup,
            on_backoff=self._warn,
            # The waits have their own jitter, and the SDK's log line would come on top.
            jitter=None,
            logger=None,
        )

    def _warn(self, details: Details) -> None:
        self._logger.warning(
            "Try %d failed: %s. Trying again in %.1f seconds.",
            details["tries"],
            describe(details["exception"]),
            details["wait"],
        )


def wait_seconds() -> Generator[float, Exception, None]:
    """Generate waits for `backoff`, which sends the exception and receives the seconds to wait.

    Each wait is up to twice as long as the last one, and at least what ``Retry-After`` says.
    """
    # backoff discards the first value.
    error = yield 0
    ceiling = 1
    while True:
        wait = random.uniform(1, ceiling)  # noqa: S311 - jitter, not a secret
        error = yield max(wait, retry_after_seconds(getattr(error, "response", None)))
        ceiling = min(2 * ceiling, MAX_BACKOFF_SECONDS)


def retry_after_seconds(response: requests.Response | None) -> float:
    """Return the wait of a ``Retry-After`` header, or 0 without one (RFC 9110, section 10.2.3)."""
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


def describe(error: BaseException) -> str:
    """Describe a failure in our own or the system's words. Others may quote private data."""
    if isinstance(error, RetriableAPIError):
        return str(error)

    kind = type(error).__name__
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror} ({kind})"
        cause = cause.__cause__ or cause.__context__

    if isinstance(error, requests.Timeout | Urllib3TimeoutError):
        return f"nothing came in time ({kind})"
    return f"what came is no HTTP, or broke off ({kind})"


def _is_final(error: Exception) -> bool:
    """Return whether another attempt is useless, or is left to the retries of the rate limit."""
    return isinstance(error, (RateLimitedError, requests.exceptions.SSLError))


def _parse_http_date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    return None
