"""Retries, and the error messages if they don't help."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from singer_sdk.exceptions import FatalAPIError

from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, StandingClock, standing_in
from tests.postgres_server import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.server import Fault
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def http_date(seconds_from_now: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_from_now), usegmt=True)


def test_rows_are_written_exactly_once_despite_faults(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(100))
    injected = [
        faults.status(500),
        faults.status(502, b"<html><h1>Bad gateway</h1></html>"),
        faults.reset,
        faults.truncated,
        faults.body(b"<html>Down for maintenance</html>"),
        faults.body(b'{"calls": []}'),
        faults.rate_limited("1"),
        faults.rate_limited(http_date(1)),
        faults.status(503),
        faults.status(204),
    ]
    for fault in injected:
        sandbox.faults.extend([fault, None])

    run = tap(config=config_for(sandbox, page_size=10), time_flies=True)

    assert run.returncode == 0
    assert run.ids("calls") == list(range(1, 101))
    assert len(run.ids("call_participations")) == len(set(run.ids("call_participations"))) == 200
    assert len(sandbox.requests) == 20
    assert run.stderr.count(" (attempt 1).") == len(injected)
    assert "Bad gateway" not in run.stderr


def waits_of(*injected: Fault, fails: bool = False) -> list[float]:
    """Return the tap's waits after faults, in seconds of a simulated clock."""
    clock = StandingClock()
    with standing_in(Pipe(None), clock), Sandbox(CallLog(make_calls(3))) as sandbox:
        sandbox.faults.extend(injected)
        tap = TapTuple(config=config_for(sandbox, requests_per_minute=10_000))
        if fails:
            with pytest.raises(FatalAPIError, match=r" after \d+ attempts"):
                tap.sync_all()
        else:
            tap.sync_all()
    return clock.waits


def test_retry_after_accepts_seconds_and_dates() -> None:
    date = faults.status(429, headers={"Retry-After": http_date(90), "Date": http_date(0)})

    assert waits_of(faults.rate_limited("42"), date) == [42.0, 90.0]


def test_retry_after_date_is_relative_to_the_server_clock() -> None:
    """This machine's clock may be wrong by more than the wait."""
    hour = 3600
    headers = {"Retry-After": http_date(hour + 30), "Date": http_date(hour)}

    assert waits_of(faults.status(503, headers=headers)) == [30.0]


@pytest.mark.parametrize(("zone", "server_zone"), [("GMT", "-0000"), ("-0000", "GMT")])
def test_http_dates_without_a_time_zone_are_utc(zone: str, server_zone: str) -> None:
    headers = {
        "Retry-After": f"Mon, 02 Mar 2026 09:00:30 {zone}",
        "Date": f"Mon, 02 Mar 2026 09:00:00 {server_zone}",
    }

    assert waits_of(faults.status(429, headers=headers)) == [30.0]


def test_retry_after_works_with_invalid_date_header() -> None:
    headers = {"Retry-After": http_date(30), "Date": "soon"}

    (wait,) = waits_of(faults.status(429, headers=headers))

    assert 28 < wait <= 30


def test_retry_after_in_the_past_waits_for_one_second() -> None:
    for value in ("0", http_date(-60)):
        assert waits_of(faults.rate_limited(value)) == [1.0]


def test_retry_after_is_capped_at_five_minutes() -> None:
    assert waits_of(faults.rate_limited("86400"), faults.rate_limited(http_date(86400))) == [
        300.0,
        300.0,
    ]


@pytest.mark.parametrize("value", [None, "soon", "-5", "Sun, 99 Nov 2026 99:00:00 GMT"])
def test_backoff_grows_with_jitter_up_to_a_minute(value: str | None) -> None:
    waits = waits_of(*[faults.rate_limited(value)] * 12)

    ceilings = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert all(0 <= wait <= top for wait, top in zip(waits, ceilings, strict=True))
    assert len(set(waits)) == len(waits)


def test_run_waits_out_an_exhausted_rate_limit() -> None:
    """Other clients keep using up the limit, so a request only succeeds after five minutes."""
    assert sum(waits_of(*[faults.rate_limited("50")] * 6)) == 300


def test_run_gives_up_on_persistent_failures() -> None:
    waits = waits_of(*[faults.rate_limited("60")] * 40, fails=True)
    assert sum(waits) == pytest.approx(600, abs=61)

    waits = waits_of(*[faults.status(500)] * 40, fails=True)
    assert len(waits) == 7


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.status(500, b"canary@lumen.example"), "Tuple responded with HTTP 500"),
        (
            faults.body(b"<html>canary@lumen.example"),
            "Tuple sent something other than a JSON array of calls",
        ),
        (faults.body(b'{"a":1}'), "Tuple sent something other than a JSON array of calls"),
        (faults.reset, "the connection was closed (ConnectionError)"),
        (faults.truncated, "the response was invalid or truncated (ProtocolError)"),
        (
            faults.rate_limited("60"),
            "The team's rate limit is exhausted (HTTP 429) after 11 attempts",
        ),
    ],
    ids=["500", "html", "object", "reset", "truncated", "rate limit"],
)
def test_final_error_states_the_cause_and_attempts(
    tap: TapCommand, serve: Serve, fault: Fault, message: str
) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([fault] * 40)

    run = tap(config=config_for(sandbox), time_flies=True)

    assert run.returncode == 1
    (error,) = run.errors
    assert message in error
    assert f" after {len(sandbox.requests)} attempts" in error
    assert "Traceback" not in run.stderr
    assert "canary" not in run.stderr
    assert run.count("RECORD") == 0


def test_unreachable_host_is_reported_on_one_line(tap: TapCommand) -> None:
    port = free_port()
    config = {"api_url": f"http://127.0.0.1:{port}", "api_token": "sk-tuple-x"}

    run = tap(config=config, time_flies=True)

    attempts = 1 + run.stderr.count("Connection refused. Retrying in ")
    assert 5 <= attempts <= 20
    (error,) = run.errors
    assert error == (
        f"Can't reach http://127.0.0.1:{port} after {attempts} attempts: connection refused. Check "
        "your network, your proxy and api_url."
    )
    assert "Traceback" not in run.stderr


REJECTED = [
    (
        faults.status(401, b"canary@lumen.example"),
        (
            "Tuple rejected the token (HTTP 401). It may be mistyped or revoked. Team owners and "
            "managers can create a new one at "
            "https://production.tuple.app/team_management/api_tokens."
        ),
    ),
    (faults.status(401, b"[" * 100_000), "Tuple rejected the token (HTTP 401)"),
    (faults.status(403, b"canary"), "This token isn't allowed to read the team's calls (HTTP 403)"),
    (
        faults.status(403, b" <html>canary"),
        "Got a web page instead of a response from Tuple (HTTP 403). It probably comes from",
    ),
    (faults.status(407, b"<html>canary"), "The proxy requires a login (HTTP 407). "),
    (faults.status(404, b"canary"), "There is no usage API at http://127.0.0.1:"),
    (
        faults.status(422, b'{"error": "since is invalid", "by": "canary\\u0040lumen.example"}'),
        (
            "Tuple rejected the time range (HTTP 422). Check start_date and end_date. Tuple's "
            "message: since is invalid."
        ),
    ),
    (faults.status(418, b"canary"), "Tuple rejected the request (HTTP 418)."),
    (
        faults.status(302, headers={"Location": "https://elsewhere.example/api"}),
        (
            " redirects to elsewhere.example (HTTP 302). The token isn't sent there. If you trust "
            "that host, set api_url to it."
        ),
    ),
    (faults.status(301, headers={"Location": "/api/v3"}), " redirects to the same host (HTTP 30"),
]


@pytest.mark.parametrize(("fault", "message"), REJECTED)
def test_rejected_request_is_reported_without_retries(
    tap: TapCommand, serve: Serve, fault: Fault, message: str
) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([fault] * 40)

    run = tap(config=config_for(sandbox))

    assert run.returncode == 1
    assert len(sandbox.requests) == 1
    (error,) = run.errors
    assert message in error
    assert "canary" not in run.stderr
    assert "Traceback" not in run.stderr


def test_long_api_message_is_not_quoted(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve([])
    sandbox.faults.append(faults.status(422, b"since " * 1000))

    run = tap(config=config_for(sandbox))

    assert len(run.errors[0]) < 400


def test_sandbox_rejects_a_wrong_token(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))

    run = tap("--test", config=config_for(sandbox) | {"api_token": "sk-tuple-revoked"})

    assert "HTTP 401" in run.errors[0]
    assert len(sandbox.requests) == 1


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
