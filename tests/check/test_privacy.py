"""The output of ``tap-tuple-check`` can be pasted into a public issue."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tap_tuple.sandbox import CallLog, Sandbox, faults

if TYPE_CHECKING:
    from tap_tuple.sandbox.company import Call
    from tap_tuple.sandbox.server import Response
    from tests.check.conftest import CheckCommand

TOKEN = "sk-tuple-canary0token"  # noqa: S105 - not a real token
CALLS = 1357
CANARIES = (
    "canary",  # in emails, names, hosts, the token, headers and error messages
    "918273",  # in ids
    "2019-03",  # in timestamps
    "03-14T",
    str(CALLS),
    f"{CALLS:,}",
)


def canary_calls() -> list[Call]:
    """Return calls in which every value is recognizable."""
    calls = []
    for number in range(CALLS):
        end = f"2019-03-14T{number // 60:02}:{number % 60:02}:15.926Z"
        participation = {
            "id": int(f"918273{number}"),
            "joined_at": end,
            "left_at": end,
            "user": {"email": "canary@canary.example", "name": "Canary Bird"},
            "canary@canary.example": 1,
        }
        calls.append(
            {
                "id": int(f"9182730{number}"),
                "started_at": end,
                "ended_at": end,
                "duration_seconds": 918273,
                "call_participations": [participation],
                "topic": "canary",
            }
        )
    return calls


def with_canaries(response: Response) -> Response:
    """Put canaries into the headers and into the bodies of errors."""
    headers = {
        "X-Canary": "canary",
        "X-RateLimit-Canary": "canary",
        "X-RateLimit-Remaining": "canary",
        "Content-Encoding": "canary",
        "Link": '<https://canary.example/canary?page=2>; rel="next"; title="canary"',
        "Server": "canary",
    }
    body = response.body
    if response.status != 200:
        body = json.dumps({"error": f"canary {TOKEN} canary@canary.example"}).encode()
    return replace(response, body=body, headers=response.headers | headers)


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_output_contains_no_private_data(check_command: CheckCommand, output_format: str) -> None:
    with Sandbox(CallLog(canary_calls()), every_response=with_canaries) as sandbox:
        sandbox.token = TOKEN

        done = check_command(
            "--format",
            output_format,
            sandbox=sandbox,
            TAP_TUPLE_REQUESTS_PER_MINUTE="1000",
            TAP_TUPLE_LOGLEVEL="DEBUG",
        )

    assert done.returncode == 1
    assert "call.topic" in done.stdout
    output = done.stdout + done.stderr
    assert [canary for canary in CANARIES if canary in output] == []
    assert "127.0.0.1" not in done.stdout


@pytest.mark.parametrize(("count", "other_count"), [(1, 2), (100, 101), (999, 998), (1000, 1001)])
def test_output_shows_only_the_order_of_magnitude(
    check_command: CheckCommand, count: int, other_count: int
) -> None:
    """The output is the same for both numbers."""
    outputs = set()
    for number in (count, other_count):
        with Sandbox(CallLog(canary_calls()[:number])) as sandbox:
            printed = check_command(sandbox=sandbox).stdout
        without_time = re.sub(r"\d+\.\d seconds|\(\d+ requests\)", "", printed)
        outputs.add(without_time)

    assert len(outputs) == 1


@pytest.mark.parametrize("option", [[], ["--months"]])
def test_error_for_rejected_range_has_no_private_data(
    check_command: CheckCommand, option: list[str]
) -> None:
    """The tap quotes plain sentences from the API. The check doesn't: they could contain data."""
    body = b'{"error":"Call 918273 of canary ended 2019-03-14T10:00:15Z"}'
    with Sandbox(CallLog(), every_response=faults.status(422, body)) as sandbox:
        done = check_command(*option, sandbox=sandbox, TAP_TUPLE_LOGLEVEL="DEBUG")

    assert done.returncode == 2
    assert [canary for canary in CANARIES if canary in done.stdout + done.stderr] == []


def test_error_for_rejected_token_has_no_private_data(check_command: CheckCommand) -> None:
    with Sandbox(CallLog(), every_response=with_canaries) as sandbox:
        done = check_command(sandbox=sandbox, TAP_TUPLE_API_TOKEN=TOKEN, TAP_TUPLE_LOGLEVEL="DEBUG")

    assert done.returncode == 2
    assert "canary" not in done.stdout + done.stderr
