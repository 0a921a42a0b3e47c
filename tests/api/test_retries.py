"""Retries: how long to wait, which failures to retry, and the final error message."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError

from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.api.retries import (
    CONNECTION_TEST_POLICY,
    FIRST_CONTACT_POLICY,
    MAX_RETRY_AFTER_SECONDS,
    PROXY_LOGIN_MESSAGE,
    RUN_POLICY,
    RateLimitedError,
    Retries,
    describe,
    raise_if_transient,
    retry_after_seconds,
    wait_seconds,
)
from tests.in_process import Pipe, SimulatedClock, simulated

if TYPE_CHECKING:
    from tap_tuple.api.retries import RetryPolicy

LOGGER = logging.getLogger("test")
URL = "https://tuple.example"


def make_response(
    status: int = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    return response


def http_date(seconds_from_now: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_from_now), usegmt=True)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "42"}, 42),
            ({"Retry-After": " 42 "}, 42),
            ({"Retry-After": "0"}, 0),
            ({"Retry-After": "300"}, MAX_RETRY_AFTER_SECONDS),
            ({"Retry-After": "301"}, MAX_RETRY_AFTER_SECONDS),
            ({}, 0),
            ({"Retry-After": "soon"}, 0),
            ({"Retry-After": "-5"}, 0),
            ({"Retry-After": "1.5"}, 0),
            ({"Retry-After": "Sun, 99 Nov 2026 99:00:00 GMT"}, 0),
            ({"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, 0),
        ],
    )
    def test_seconds_are_capped_and_nonsense_is_ignored(
        self, headers: dict[str, str], seconds: float
    ) -> None:
        assert retry_after_seconds(make_response(headers=headers)) == seconds

    def test_failure_without_a_response_has_no_retry_after(self) -> None:
        assert retry_after_seconds(None) == 0

    def test_date_is_relative_to_the_server_clock(self) -> None:
        """This machine's clock may be wrong by more than the wait."""
        hour = 3600
        headers = {"Retry-After": http_date(hour + 30), "Date": http_date(hour)}

        assert retry_after_seconds(make_response(headers=headers)) == 30

    @pytest.mark.parametrize("headers", [{}, {"Date": "soon"}], ids=["missing", "invalid"])
    def test_local_clock_is_used_without_a_valid_date_header(self, headers: dict[str, str]) -> None:
        seconds = retry_after_seconds(
            make_response(headers={"Retry-After": http_date(30), **headers})
        )

        assert 28 < seconds <= 30

    def test_distant_date_is_capped(self) -> None:
        assert retry_after_seconds(make_response(headers={"Retry-After": http_date(86400)})) == 300

    @pytest.mark.parametrize(("zone", "server_zone"), [("GMT", "-0000"), ("-0000", "GMT")])
    def test_dates_without_a_time_zone_are_utc(self, zone: str, server_zone: str) -> None:
        headers = {
            "Retry-After": f"Mon, 02 Mar 2026 09:00:30 {zone}",
            "Date": f"Mon, 02 Mar 2026 09:00:00 {server_zone}",
        }

        assert retry_after_seconds(make_response(headers=headers)) == 30


def waits_after(*errors: Exception, policy: RetryPolicy = RUN_POLICY) -> list[float]:
    """Return the waits between attempts that fail with these errors, in seconds."""
    waits = wait_seconds(lambda: policy)
    next(waits)
    return [waits.send(error) for error in errors]


def rate_limited(retry_after: str) -> RateLimitedError:
    return RateLimitedError("rate limited", make_response(429, {"Retry-After": retry_after}))


class TestWaits:
    def test_wait_equals_retry_after(self) -> None:
        assert waits_after(rate_limited("42")) == [42]

    def test_wait_is_at_least_a_second(self) -> None:
        for value in ("0", http_date(-60)):
            assert waits_after(rate_limited(value)) == [1]

    def test_retry_after_of_zero_still_backs_off(self) -> None:
        waits = waits_after(*[rate_limited("0")] * 8)

        assert sum(waits) > 20

    @pytest.mark.parametrize(
        ("policy", "ceilings"),
        [
            (RUN_POLICY, [1, 2, 4, 8, 16, 32, 60, 60]),
            (FIRST_CONTACT_POLICY, [1, 2, 4, 8, 8, 8, 8, 8]),
        ],
        ids=["run", "first contact"],
    )
    def test_backoff_doubles_up_to_the_limit_of_the_policy(
        self, policy: RetryPolicy, ceilings: list[int]
    ) -> None:
        """Each wait is random, between one second and its ceiling."""
        errors = [requests.ConnectionError()] * len(ceilings)
        samples = [waits_after(*errors, policy=policy) for _ in range(300)]

        for ceiling, waits in zip(ceilings, zip(*samples, strict=True), strict=True):
            assert min(waits) >= 1
            assert max(waits) <= ceiling
            assert max(waits) > 0.9 * ceiling
            assert min(waits) < 1 + 0.1 * ceiling


class TestStatuses:
    @pytest.mark.parametrize("status", [201, 204, 299, 408, 425, 500, 502, 503, 599])
    def test_transient_status_is_retried(self, status: int) -> None:
        with pytest.raises(RetriableAPIError, match=f"Tuple responded with HTTP {status}"):
            raise_if_transient(make_response(status))

    def test_exhausted_rate_limit_has_its_own_error(self) -> None:
        with pytest.raises(RateLimitedError, match="HTTP 429"):
            raise_if_transient(make_response(429))

    @pytest.mark.parametrize("status", [200, 300, 301, 401, 403, 404, 407, 422, 499])
    def test_final_status_is_not_retried(self, status: int) -> None:
        raise_if_transient(make_response(status))


def certificate_error() -> requests.exceptions.SSLError:
    cause = ssl.SSLCertVerificationError(1, "canary")
    cause.verify_message = "self-signed certificate"
    return requests.exceptions.SSLError(urllib3.exceptions.SSLError(cause))


def proxy_error(text: str) -> requests.exceptions.ProxyError:
    return requests.exceptions.ProxyError(urllib3.exceptions.ProxyError(text, OSError(text)))


DESCRIPTIONS: list[tuple[Exception, str]] = [
    (RetriableAPIError("Tuple sent nonsense"), "Tuple sent nonsense"),
    (certificate_error(), "the certificate isn't valid (self-signed certificate)"),
    (
        requests.ConnectionError(ConnectionRefusedError(111, "Connection refused")),
        "connection refused",
    ),
    (requests.ReadTimeout("canary"), "timed out (ReadTimeout)"),
    (
        urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("x"), "canary", "canary"),
        "timed out (ReadTimeoutError)",
    ),
    (requests.ConnectionError("canary"), "the connection was closed (ConnectionError)"),
    (
        urllib3.exceptions.ProtocolError("canary"),
        "the response was invalid or truncated (ProtocolError)",
    ),
]


def test_error_that_is_its_own_cause_can_be_described() -> None:
    error = requests.ConnectionError()
    error.args = (error,)

    assert describe(error) == "the connection was closed (ConnectionError)"


@pytest.mark.parametrize(
    ("error", "description"), DESCRIPTIONS, ids=[text for _, text in DESCRIPTIONS]
)
def test_failure_is_described_without_its_own_text(error: Exception, description: str) -> None:
    """Error messages from libraries may quote private data."""
    assert describe(error) == description


class FailingClient:
    """Sends requests that always fail, and counts them."""

    def __init__(self, error: Exception, *, seconds: float = 0) -> None:
        """Make each attempt take this many seconds on the simulated clock."""
        self.attempts = 0
        self.clock = SimulatedClock()
        self._error = error
        self._seconds = seconds

    def run(self, policy: RetryPolicy) -> str:
        """Send a request with retries, and return the final error message."""
        retries = Retries(lambda: policy, RateLimiter(1000, LOGGER), LOGGER, URL)
        with simulated(Pipe(None), self.clock), pytest.raises(FatalAPIError) as failure:
            retries.wrap(self._send)(requests.PreparedRequest(), None)
        return str(failure.value)

    def _send(self, *_: object) -> requests.Response:
        self.attempts += 1
        self.clock.now += self._seconds
        raise self._error


class TestGivingUp:
    @pytest.mark.parametrize(
        ("policy", "attempts"),
        [(RUN_POLICY, 8), (FIRST_CONTACT_POLICY, 2), (CONNECTION_TEST_POLICY, 2)],
        ids=["run", "first contact", "connection test"],
    )
    def test_timeouts_are_limited_by_the_policy(self, policy: RetryPolicy, attempts: int) -> None:
        client = FailingClient(requests.ReadTimeout(), seconds=30)

        message = client.run(policy)

        assert client.attempts == attempts
        assert message.startswith(f"Can't reach {URL} after {attempts} attempts: timed out")

    def test_connection_test_takes_at_most_15_seconds(self) -> None:
        policy = CONNECTION_TEST_POLICY
        slowest_attempt = max(policy.timeout_seconds, policy.deadline_seconds)
        client = FailingClient(requests.ReadTimeout(), seconds=slowest_attempt)

        client.run(policy)

        assert client.attempts * slowest_attempt + sum(client.clock.waits) <= 15

    def test_run_makes_eight_attempts(self) -> None:
        client = FailingClient(RetriableAPIError("Tuple responded with HTTP 500"))

        message = client.run(RUN_POLICY)

        assert client.attempts == 8
        assert message == (
            f"No valid response from {URL} after 8 attempts: Tuple responded with HTTP 500. Run "
            "again later. If the problem persists, check api_url and your network."
        )

    def test_first_contact_ends_after_30_seconds(self) -> None:
        client = FailingClient(requests.ConnectionError())

        message = client.run(FIRST_CONTACT_POLICY)

        waited = sum(client.clock.waits)
        assert 30 <= waited <= 30 + FIRST_CONTACT_POLICY.max_backoff_seconds
        assert message == (
            f"Can't reach {URL} after {client.attempts} attempts: the connection was closed "
            "(ConnectionError). Check your network, your proxy and api_url."
        )

    def test_connection_timeouts_count_like_failed_connections(self) -> None:
        """Only timeouts after connecting are limited to two."""
        client = FailingClient(requests.ConnectTimeout())

        client.run(FIRST_CONTACT_POLICY)

        assert client.attempts > 2

    def test_run_waits_ten_minutes_for_the_rate_limit(self) -> None:
        client = FailingClient(rate_limited("60"))

        message = client.run(RUN_POLICY)

        assert sum(client.clock.waits) == pytest.approx(600, abs=61)
        assert message.startswith(
            f"Gave up after {client.attempts} attempts: rate limited. The team"
        )

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (
                certificate_error(),
                (
                    "Can't establish a secure connection: the certificate isn't valid "
                    "(self-signed certificate). If a proxy or your company issued the certificate, "
                    "set REQUESTS_CA_BUNDLE to a file with its root certificate."
                ),
            ),
            (proxy_error("Tunnel connection failed: 407 Login required"), PROXY_LOGIN_MESSAGE),
            (
                requests.exceptions.InvalidProxyURL("canary"),
                "Can't send requests (InvalidProxyURL). Check api_url and your proxy settings.",
            ),
        ],
        ids=["certificate", "proxy login", "proxy URL"],
    )
    def test_setup_failure_is_not_retried(self, error: Exception, message: str) -> None:
        client = FailingClient(error)

        assert client.run(RUN_POLICY) == message
        assert client.attempts == 1

    def test_other_proxy_failures_are_retried(self) -> None:
        client = FailingClient(proxy_error("Tunnel connection failed: 502 Bad gateway"))

        client.run(CONNECTION_TEST_POLICY)

        assert client.attempts == 2

    def test_truncated_chunks_are_reported_as_invalid_response(self) -> None:
        client = FailingClient(requests.exceptions.ChunkedEncodingError("canary"))

        assert client.run(CONNECTION_TEST_POLICY) == (
            f"No valid response from {URL} after 2 attempts: the response was invalid or truncated "
            "(ChunkedEncodingError). Run again later. If the problem persists, check api_url and "
            "your network."
        )


def test_attempts_are_logged_with_reason_and_wait(caplog: pytest.LogCaptureFixture) -> None:
    """The attempt number counts all failures, whether rate limited or not."""
    failures = iter([rate_limited("7"), RetriableAPIError("it broke"), None])

    def send(*_: object) -> requests.Response:
        failure = next(failures)
        if failure:
            raise failure
        return make_response()

    failed_attempts: list[int] = []
    retries = Retries(lambda: RUN_POLICY, RateLimiter(1000, LOGGER), LOGGER, URL)
    with simulated(Pipe(None), SimulatedClock()), caplog.at_level(logging.WARNING):
        send_with_retries = retries.wrap(send, on_failure=lambda: failed_attempts.append(1))
        result = send_with_retries(requests.PreparedRequest(), None)

    assert result.status_code == HTTPStatus.OK
    assert len(failed_attempts) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "Attempt 1 failed: rate limited. Retrying in 7 seconds.",
        "Attempt 2 failed: it broke. Retrying in 1 second.",
    ]
