"""HTTP client for Tuple's usage API: authentication, paging, retries and error messages.

Two private members of the SDK are used, because there is no public alternative:

- `Stream._LOG_REQUEST_METRICS`: turns off the metric line that the SDK logs for each request.
- `Stream._tap`: gives access to the tap's version and logger.
"""

from __future__ import annotations

import re
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import ParseResult, parse_qsl, urlsplit

import requests
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.exceptions import FatalAPIError
from singer_sdk.streams import RESTStream
from typing_extensions import override

from tap_tuple.api.network import is_loopback, read_body
from tap_tuple.api.pagination import CallPages
from tap_tuple.api.progress import Progress
from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.api.rejections import explain_rejection
from tap_tuple.api.response import MAX_PER_PAGE, decode_calls, warn_about_new_fields
from tap_tuple.api.retries import (
    CONNECTION_TEST_POLICY,
    FIRST_CONTACT_POLICY,
    RUN_POLICY,
    Retries,
    RetryPolicy,
    raise_if_transient,
)
from tap_tuple.timestamps import TimeRange, format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_sdk.helpers.types import Auth, Context, RequestFunc
    from singer_sdk.metrics import Counter

    from tap_tuple.api.response import Call


class _NoRedirectSession(requests.Session):
    """A session that ignores where a redirect leads.

    `requests.Session` reads the whole body of a redirect, without any limit, even if it's told not
    to follow it.
    """

    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class TupleStream(RESTStream[ParseResult]):
    """Base class for streams of the usage API (``GET /api/v2/call_usage``, alpha).

    A subclass sets `time_range`.
    """

    path = "/api/v2/call_usage"
    allow_redirects = False
    # A long run makes hundreds of requests, and the SDK logs a metric for each.
    _LOG_REQUEST_METRICS = False

    # The SDK passes only the response to `parse_response`. These attributes carry the rest.
    _pages: CallPages
    """The paginator of this sync, set by `get_new_paginator`."""
    _body: bytes
    _calls: list[Call]
    """The body of the latest response and the calls in it, set by `validate_response`."""
    _has_responded = False
    """Whether Tuple has sent any response in this run."""
    _request_counter: Counter
    """Counts requests for the SDK's metrics, set by `get_http_request_counter`."""

    @property
    def time_range(self) -> TimeRange:
        """The calls to read."""
        raise NotImplementedError

    # Connection

    @cached_property
    @override
    def requests_session(self) -> requests.Session:
        """Use the environment's proxies and certificates, but no proxy for loopback hosts.

        The SDK sends prepared requests. The requests library doesn't look up certificates for
        those.
        """
        session = _NoRedirectSession()
        session.stream = True
        environment = session.merge_environment_settings(self.url_base, {}, None, None, None)
        session.verify = environment["verify"]
        session.trust_env = not is_loopback(urlsplit(self.url_base).hostname or "")
        return session

    @property
    @override
    def url_base(self) -> str:
        url = str(self.config["api_url"]).rstrip("/")
        # Accept the URL of the endpoint, too.
        return url.removesuffix(self.path).rstrip("/")

    @property
    @override
    def authenticator(self) -> Auth:
        return BearerTokenAuthenticator(token=self.config["api_token"])

    @cached_property
    @override
    def user_agent(self) -> str:
        default = f"{self.tap_name}/{self._tap.plugin_version}"
        return self.config.get("user_agent") or default

    @property
    @override
    def timeout(self) -> int:
        return self.retry_policy.timeout_seconds

    # Requests

    @property
    def page_size(self) -> int:
        """New calls per request. A connection test asks for no more than it needs."""
        page_size: int = self.config["page_size"]
        return min(page_size, self.ABORT_AT_RECORD_COUNT or MAX_PER_PAGE)

    @override
    def get_new_paginator(self) -> CallPages:
        self.progress.start()
        self._pages = CallPages(
            self.time_range.since, self.page_size, limit=self.ABORT_AT_RECORD_COUNT
        )
        return self._pages

    @override
    def get_url_params(
        self, context: Context | None, next_page_token: ParseResult | None
    ) -> dict[str, Any]:
        first_page = {
            "since": format_timestamp(self.time_range.since),
            "until": format_timestamp(self.time_range.until),
            "per_page": self.page_size,
        }
        if next_page_token is None:
            return first_page
        return first_page | dict(parse_qsl(next_page_token.query))

    @property
    def retry_policy(self) -> RetryPolicy:
        """The retry policy, which is least patient in a connection test.

        In any other run, it becomes more patient once Tuple has responded.
        """
        is_connection_test = self.ABORT_AT_RECORD_COUNT is not None
        if is_connection_test:
            return CONNECTION_TEST_POLICY
        return RUN_POLICY if self._has_responded else FIRST_CONTACT_POLICY

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """Keeps the tap within its share of the team's rate limit."""
        return RateLimiter(self.config["requests_per_minute"], self._tap.logger)

    @override
    def request_decorator(self, func: RequestFunc) -> RequestFunc:
        """Wrap requests in rate limiting, and in retries that follow `retry_policy`.

        The SDK's decorator gives up before a rate-limit window is over, and logs each failure
        twice. The SDK's `backoff_*` hooks are therefore unused.
        """
        retries = Retries(
            lambda: self.retry_policy, self.rate_limiter, self._tap.logger, self.url_base
        )
        return retries.wrap(func, on_failure=self._count_failed_request)

    def _count_failed_request(self) -> None:
        self._request_counter.increment()

    @override
    def get_http_request_counter(self) -> Counter:
        """Keep a reference, so that failed requests count too. The SDK counts only successes."""
        self._request_counter = super().get_http_request_counter()
        return self._request_counter

    # Responses

    @override
    def validate_response(self, response: requests.Response) -> None:
        """Read and decode the response, or explain the failure.

        Failures in `parse_response` aren't retried, so reading the body there would be too late.

        Raises:
            RetriableAPIError: If retrying may help.
            FatalAPIError: If it won't.
            UnexpectedResponseError: If a value's type contradicts the API's documentation.
        """
        self._has_responded = True
        self._body = read_body(response, self.retry_policy.deadline_seconds)
        raise_if_transient(response)
        if response.status_code != HTTPStatus.OK:
            raise FatalAPIError(self.response_error_message(response))
        self._calls = decode_calls(self._body, response)

    @override
    def response_error_message(self, response: requests.Response) -> str:
        """Return an error message for a rejected request."""
        message = explain_rejection(response, self._body, self.url_base, self.path)
        # The host of a redirect is quoted in lower case.
        token = re.escape(self.config["api_token"])
        return re.sub(token, "[redacted]", message, flags=re.IGNORECASE)

    @override
    def parse_response(self, response: requests.Response) -> Iterable[Any]:
        """Yield a single `Page` with the new calls in the response."""
        is_first_response = self._pages.count == 0
        if is_first_response:
            warn_about_new_fields(self._body, self._tap.logger)
        page = self._pages.take(response, self._calls)
        yield page
        self.progress.add_page(len(page.calls), self._pages.calls_missing)

    @cached_property
    def progress(self) -> Progress:
        """How far this run has come."""
        return Progress(self.rate_limiter, self._tap.logger)
