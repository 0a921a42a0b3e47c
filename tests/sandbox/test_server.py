"""The sandbox responds as Tuple's usage API is documented to."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner

from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.sandbox.__main__ import serve as serve_command
from tap_tuple.sandbox.company import Company
from tests.conftest import FIRST_END, api_time, clean_environment, make_call, make_calls

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory

SINCE = "2020-01-01T00:00:00Z"


def get(sandbox: Sandbox, token: str | None = None, **query: Any) -> requests.Response:
    """Request calls like any other client would."""
    headers = {"Authorization": f"Bearer {token or sandbox.token}"}
    url = f"{sandbox.url}/api/v2/call_usage"
    return requests.get(url, params=query, headers=headers, timeout=10)


def ids(response: requests.Response) -> list[int]:
    return [call["id"] for call in response.json()]


def test_request_without_a_valid_token_is_rejected(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3))

    assert get(sandbox, token="sk-tuple-other", since=SINCE).status_code == 401  # noqa: S106
    url = f"{sandbox.url}/api/v2/call_usage?since={SINCE}"
    assert requests.get(url, timeout=10).status_code == 401


def test_since_is_inclusive_and_until_is_exclusive(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(9))
    third, sixth = (api_time(FIRST_END + timedelta(minutes=n)) for n in (3, 6))

    assert ids(get(sandbox, since=third, until=sixth)) == [3, 4, 5]


def test_until_defaults_to_now(serve: SandboxFactory) -> None:
    now = FIRST_END + timedelta(minutes=5)
    sandbox = serve(make_calls(9), clock=lambda: now)

    assert ids(get(sandbox, since=SINCE)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "query",
    [{}, {"since": "yesterday"}, {"since": SINCE, "until": "soon"}, {"since": SINCE, "page": "0"}],
)
def test_invalid_query_is_rejected(serve: SandboxFactory, query: dict[str, str]) -> None:
    assert get(serve(make_calls(3)), **query).status_code == 422


def test_page_size_defaults_to_100_and_is_at_most_1000(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(1500))

    assert len(get(sandbox, since=SINCE).json()) == 100
    assert len(get(sandbox, since=SINCE, per_page=250).json()) == 250
    assert len(get(sandbox, since=SINCE, per_page=5000).json()) == 1000


def test_pages_link_to_the_next_and_previous_page(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(25))

    first = get(sandbox, since=SINCE, per_page=10)
    assert set(first.links) == {"next"}
    assert first.headers["X-Total-Count"] == "25"
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    second = requests.get(first.links["next"]["url"], headers=headers, timeout=10)
    assert ids(second) == list(range(11, 21))
    assert set(second.links) == {"next", "prev"}
    third = requests.get(second.links["next"]["url"], headers=headers, timeout=10)
    assert ids(third) == list(range(21, 26))
    assert set(third.links) == {"prev"}


def test_calls_are_sorted_by_end_whatever_the_utc_offset(serve: SandboxFactory) -> None:
    calls = [
        make_call(1, ended_at="2026-03-02T12:00:00+02:00"),
        make_call(2, ended_at="2026-03-02T09:30:00Z"),
        make_call(3, ended_at="2026-03-02T09:59:59.999Z"),
    ]

    assert ids(get(serve(calls), since=SINCE)) == [2, 3, 1]


def test_rate_limit_is_60_requests_per_minute(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3), requests_per_minute=60)

    statuses = [get(sandbox, since=SINCE).status_code for _ in range(60)]
    rejected = get(sandbox, since=SINCE)

    assert statuses == [200] * 60
    assert rejected.status_code == 429
    assert 50 < int(rejected.headers["Retry-After"]) <= 60


def test_unknown_path_is_not_found(serve: SandboxFactory) -> None:
    assert requests.get(f"{serve([]).url}/api/v1", timeout=10).status_code == 404


def test_fault_affects_only_one_response(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([faults.status(500), None, faults.reset])

    assert get(sandbox, since=SINCE).status_code == 500
    assert get(sandbox, since=SINCE).status_code == 200
    with pytest.raises(requests.ConnectionError):
        get(sandbox, since=SINCE)
    assert [request.status for request in sandbox.requests] == [500, 200, None]


def test_calls_can_be_added_and_deleted(serve: SandboxFactory) -> None:
    log = CallLog(make_calls(3))
    sandbox = serve(log)

    log.delete(2)
    log.add(make_call(9, ended_at=api_time(FIRST_END)))

    assert ids(get(sandbox, since=SINCE)) == [9, 1, 3]


def test_port_is_released_when_the_sandbox_stops() -> None:
    with Sandbox(CallLog()) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
    with Sandbox(CallLog(), port=port) as again:
        assert get(again, since=SINCE).json() == []


def test_command_prints_url_token_and_curl_command() -> None:
    command = [sys.executable, "-m", "tap_tuple.sandbox", "--seed", "7"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        assert process.stdout
        url, token = (process.stdout.readline().strip().partition("=")[2] for _ in range(2))
        curl = process.stdout.readline()
        try:
            headers = {"Authorization": f"Bearer {token}"}
            # Calls may end during the test, so ask for earlier ones.
            until = datetime.now(UTC) - timedelta(hours=1)
            since = until - timedelta(days=30)
            params = {"since": since.isoformat(), "until": until.isoformat(), "per_page": "1"}
            response = requests.get(f"{url}/api/v2/call_usage", params, headers=headers, timeout=30)
        finally:
            process.terminate()
            process.wait()

    assert curl.startswith("curl ")
    assert url in curl
    ends = [datetime.fromisoformat(call["ended_at"]) for call in Company(7).calls(until)]
    assert int(response.headers["X-Total-Count"]) == sum(since <= end < until for end in ends) > 0


def test_command_reports_a_port_in_use(serve: SandboxFactory) -> None:
    port = serve([]).url.rpartition(":")[2]

    run = CliRunner().invoke(serve_command, ["--port", port])

    assert run.exit_code == 1
    assert run.output == (
        f"Error: Port {port} is unavailable: Address already in use. Choose another --port.\n"
    )


def test_command_rejects_a_port_out_of_range() -> None:
    run = CliRunner().invoke(serve_command, ["--port", "99999"])

    assert run.exit_code == 2
    assert "Invalid value for '--port': 99999 is not in the range 0<=x<=65535." in run.output
