"""The contents of a run's requests, and how a run survives failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from singer_sdk.exceptions import FatalAPIError

from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.streams import Calls
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, SimulatedClock, simulated
from tests.postgres_server import free_port
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from tap_tuple.sandbox.server import Fault
    from tests.conftest import SandboxFactory, TapCommand


def test_url_parameters_reflect_the_settings(serve: SandboxFactory) -> None:
    config = config_for(serve([]), start_date="2026-03-01", end_date="2026-04-01", page_size=5)

    stream = TapTuple(config=config).streams["calls"]

    assert isinstance(stream, Calls)
    assert stream.get_url_params(None, None) == {
        "since": "2026-03-01T00:00:00.000Z",
        "until": "2026-04-01T00:00:00.000Z",
        "per_page": 5,
    }


def test_requests_send_the_token_and_user_agent(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve([])

    tap(config=config_for(sandbox))
    tap(config=config_for(sandbox, user_agent="acme-data/1.0"))

    first, second = (request.headers for request in sandbox.requests)
    assert first["Authorization"] == f"Bearer {sandbox.token}"
    assert first["User-Agent"].startswith("tap-tuple/")
    assert second["User-Agent"] == "acme-data/1.0"


def test_redirects_are_not_followed(tap: TapCommand, serve: SandboxFactory) -> None:
    elsewhere, sandbox = serve([]), serve(make_calls(3))
    sandbox.faults.append(faults.status(307, headers={"Location": elsewhere.url}))

    run = tap(config=config_for(sandbox))

    assert run.returncode == 1
    assert elsewhere.requests == []


def test_rows_are_written_exactly_once_despite_faults(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    sandbox = serve(make_calls(100))
    injected = [
        faults.status(500),
        faults.status(502, b"<html><h1>Bad gateway</h1></html>"),
        faults.reset,
        faults.truncated,
        faults.body(b"<html>Down for maintenance</html>"),
        faults.body(b'{"calls": []}'),
        faults.rate_limited("1"),
        faults.rate_limited("Mon, 02 Mar 2026 09:00:00 GMT"),
        faults.status(503),
        faults.status(204),
    ]
    for fault in injected:
        sandbox.faults.extend([fault, None])

    run = tap(config=config_for(sandbox, page_size=10), skip_waits=True)

    assert run.returncode == 0
    assert run.ids("calls") == list(range(1, 101))
    assert len(run.ids("call_participations")) == len(set(run.ids("call_participations"))) == 200
    assert len(sandbox.requests) == 20
    assert run.stderr.count("Attempt 1 failed: ") == len(injected)
    assert "Bad gateway" not in run.stderr


def test_run_waits_out_an_exhausted_rate_limit() -> None:
    """Other clients keep using up the limit, so a request only succeeds after five minutes."""
    clock = SimulatedClock()
    with simulated(Pipe(None), clock), Sandbox(CallLog(make_calls(3))) as sandbox:
        sandbox.faults.extend([faults.rate_limited("50")] * 6)
        TapTuple(config=config_for(sandbox)).sync_all()

    assert clock.waits == [50] * 6


def test_server_that_has_responded_gets_eight_attempts() -> None:
    clock = SimulatedClock()
    with simulated(Pipe(None), clock), Sandbox(CallLog(make_calls(30))) as sandbox:
        sandbox.faults.extend([None, *[faults.reset] * 20])
        with pytest.raises(FatalAPIError, match="after 8 attempts"):
            TapTuple(config=config_for(sandbox, page_size=10)).sync_all()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            faults.body(b"<html>canary@lumen.example"),
            "Tuple sent something other than a JSON array of calls",
        ),
        (
            faults.rate_limited("60"),
            "Gave up after 11 attempts: the team's rate limit is exhausted (HTTP 429)",
        ),
    ],
    ids=["html", "rate limit"],
)
def test_final_error_states_the_cause_and_attempts(
    tap: TapCommand, serve: SandboxFactory, fault: Fault, message: str
) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([fault] * 40)

    run = tap(config=config_for(sandbox), skip_waits=True)

    assert message in run.only_error
    assert f" after {len(sandbox.requests)} attempts" in run.only_error
    assert run.count("RECORD") == 0


def test_token_in_a_redirect_is_redacted(tap: TapCommand, serve: SandboxFactory) -> None:
    """The host of a redirect is quoted in lower case."""
    sandbox = serve([])
    location = "https://AbCtoken123.example/"
    sandbox.faults.append(faults.status(302, headers={"Location": location}))

    run = tap(config=config_for(sandbox) | {"api_token": "AbCtoken123"})

    assert "redirects to [redacted].example (HTTP 302)" in run.only_error
    assert "abctoken123" not in run.stderr.lower()


def test_unreachable_host_is_reported_on_one_line(tap: TapCommand) -> None:
    port = free_port()
    config = {"api_url": f"http://127.0.0.1:{port}", "api_token": "sk-tuple-x"}

    run = tap(config=config, skip_waits=True)

    attempts = 1 + run.stderr.count("connection refused. Retrying in ")
    assert 5 <= attempts <= 20
    assert run.only_error == (
        f"Can't reach http://127.0.0.1:{port} after {attempts} attempts: connection refused. Check "
        "your network, your proxy and api_url."
    )


def test_broken_tls_handshake_is_retried(tap: TapCommand) -> None:
    """Load balancers close connections during the handshake. Only bad certificates are fatal."""
    with RawServer(b"") as server:
        config = {"api_url": server.url.replace("http:", "https:"), "api_token": "sk-tuple-x"}
        run = tap("--test", config=config, skip_waits=True)

    assert len(server.received) == 2
    assert run.only_error.startswith(f"Can't reach {config['api_url']} after 2 attempts: ")


@pytest.mark.parametrize("mode", [(), ("--test",)], ids=["run", "connection test"])
def test_rejected_token_is_reported_after_one_request(
    tap: TapCommand, serve: SandboxFactory, mode: tuple[str, ...]
) -> None:
    sandbox = serve(make_calls(3))

    run = tap(*mode, config=config_for(sandbox) | {"api_token": "sk-tuple-revoked"})

    assert run.only_error.startswith("Tuple rejected the token (HTTP 401). ")
    assert len(sandbox.requests) == 1


def test_metric_counts_all_attempts(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([faults.rate_limited("1"), faults.status(500), faults.status(408)])

    run = tap(config=config_for(sandbox), skip_waits=True, env={"TAP_TUPLE_LOGLEVEL": "DEBUG"})

    assert run.ids("calls") == [1, 2, 3]
    assert '"metric":"http_request_count","value":4' in run.stderr
