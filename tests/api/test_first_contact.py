"""A wrong URL or proxy is reported soon. A server that has responded before gets more retries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import requests
from singer_sdk.exceptions import FatalAPIError

from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.api.retries import FIRST_CONTACT_POLICY, RUN_POLICY, Retries
from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, StandingClock, standing_in
from tests.postgres_server import free_port
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.api.retries import RetryPolicy
    from tests.conftest import TapCommand

LOGGER = logging.getLogger("test")
TOKEN = "sk-tuple-x"  # noqa: S105 - not a real token


def test_run_gives_up_on_a_closed_port_after_30_seconds() -> None:
    clock = StandingClock()
    config = {"api_url": f"http://127.0.0.1:{free_port()}", "api_token": TOKEN}

    with standing_in(Pipe(None), clock):
        tap = TapTuple(config=config)
        with pytest.raises(FatalAPIError, match=r"Can't reach .*: connection refused"):
            tap.sync_all()

    assert 30 <= sum(clock.waits) <= 30 + FIRST_CONTACT_POLICY.max_backoff_seconds


def test_server_that_has_responded_gets_eight_attempts() -> None:
    clock = StandingClock()
    with standing_in(Pipe(None), clock), Sandbox(CallLog(make_calls(30))) as sandbox:
        sandbox.faults.extend([None, *[faults.reset] * 20])
        with pytest.raises(FatalAPIError, match="after 8 attempts"):
            TapTuple(config=config_for(sandbox, page_size=10)).sync_all()


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [(FIRST_CONTACT_POLICY, 2), (RUN_POLICY, 8)],
    ids=["first contact", "later in a run"],
)
def test_retry_policy_limits_attempts_after_timeouts(policy: RetryPolicy, attempts: int) -> None:
    clock = StandingClock()
    sent: list[int] = []

    def time_out(*_: object) -> requests.Response:
        sent.append(1)
        clock.now += 30
        raise requests.ReadTimeout

    with standing_in(Pipe(None), clock):
        retries = Retries(lambda: policy, RateLimiter(1000, LOGGER), LOGGER, "https://x.example")
        with pytest.raises(FatalAPIError, match=f"after {attempts} attempts: timed out"):
            retries.wrap(time_out)(requests.PreparedRequest(), None)

    assert len(sent) == attempts


def test_attempt_number_counts_all_kinds_of_failures(
    tap: TapCommand, serve: Callable[..., Sandbox]
) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend(
        [faults.rate_limited("1"), faults.status(500), faults.rate_limited("1"), faults.status(500)]
    )

    run = tap(config=config_for(sandbox), time_flies=True, env={"TAP_TUPLE_LOGLEVEL": "DEBUG"})

    assert [number for number in range(1, 6) if f"(attempt {number})." in run.stderr] == [
        1,
        2,
        3,
        4,
    ]
    assert '"metric":"http_request_count","value":5' in run.stderr


def test_broken_tls_handshake_is_retried(tap: TapCommand) -> None:
    """Load balancers close connections during the handshake. Only bad certificates are fatal."""
    with RawServer(b"") as server:
        config = {"api_url": server.url.replace("http:", "https:"), "api_token": TOKEN}
        run = tap("--test", config=config, time_flies=True)

    assert len(server.received) == 2
    (error,) = run.errors
    assert error.startswith(f"Can't reach {config['api_url']} after 2 attempts: ")


@pytest.mark.parametrize("proxy", ["nonsense://127.0.0.1:1", "http://[::1", "http://:99999999"])
def test_unusable_proxy_is_reported_without_retries(tap: TapCommand, proxy: str) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}

    run = tap("--test", config=config, env={"HTTPS_PROXY": proxy}, time_flies=True)

    (error,) = run.errors
    assert "Retrying" not in run.stderr
    assert "proxy" in error


def test_proxy_password_is_not_logged(tap: TapCommand) -> None:
    with RawServer(b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n") as proxy:
        url = proxy.url.replace("://", "://user:canary@")
        config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}
        env = {"HTTPS_PROXY": url, "TAP_TUPLE_LOGLEVEL": "DEBUG"}
        run = tap("--test", config=config, env=env, time_flies=True)

    assert "canary" not in run.stdout + run.stderr
