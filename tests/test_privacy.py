"""Emails appear only in RECORD messages, and the token only in the Authorization header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import faults
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tap_tuple.sandbox.company import Call
    from tap_tuple.sandbox.server import Fault
    from tests.conftest import Run, SandboxFactory, TapCommand

EMAIL = "canary@lumen.example"
TOKEN = "sk-tuple-canary-0123456789"  # noqa: S105 - not a real token
DEBUG = {"TAP_TUPLE_LOGLEVEL": "DEBUG"}


def calls_with_canary(count: int = 30) -> list[Call]:
    calls = make_calls(count)
    for call in calls:
        call["call_participations"][0]["user"] = {"email": EMAIL}
    return calls


def echo_private_data(token: str) -> Fault:
    """Respond with the email and the token in the body and the headers."""
    body = f'{{"error": "{EMAIL} Bearer {token}", "calls": ["{EMAIL}"]}}'.encode()
    return faults.status(422, body, {"X-Echo": f"{EMAIL} {token}"})


def with_invalid_call(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*calls, {"id": EMAIL, "ended_at": EMAIL}]


def with_invalid_participation(field: str) -> Fault:
    def edit(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls[0]["call_participations"][0][field] = EMAIL
        return calls

    return faults.edited(edit)


HTML = f"<html>{EMAIL}</html>".encode()
SCENARIOS: dict[str, list[Fault | None]] = {
    "no fault": [],
    "rejection that echoes private data": [None, echo_private_data("sk-tuple-sandbox")],
    "unauthorized": [faults.status(401, HTML)],
    "forbidden": [None, faults.status(403, HTML)],
    "not found": [faults.status(404, HTML)],
    "redirect": [faults.status(302, HTML, {"Location": f"https://elsewhere.example/{EMAIL}"})],
    "server error": [None, *[faults.status(500, HTML)] * 20],
    "HTML with status 200": [None, *[faults.body(HTML)] * 20],
    "JSON object with status 200": [
        None,
        *[faults.body(json.dumps({"email": EMAIL}).encode())] * 20,
    ],
    "truncated": [None, *[faults.truncated] * 20],
    "reset": [None, *[faults.reset] * 20],
    "rate limit": [None, *[faults.status(429, HTML)] * 40],
    "call of the wrong type": [None, faults.edited(with_invalid_call)],
    "invalid user": [None, with_invalid_participation("user")],
    "invalid time": [None, with_invalid_participation("left_at")],
    "pages in reverse order": [None, *[faults.edited(lambda calls: calls[::-1])] * 20],
}


def assert_no_leaks(run: Run, token: str) -> None:
    """Check that the token appears nowhere, and the email only in records."""
    assert token not in run.stdout + run.stderr
    assert EMAIL not in run.stderr
    for line in run.stdout.splitlines():
        assert EMAIL not in line or json.loads(line)["type"] == "RECORD"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_debug_log_contains_no_private_data(
    tap: TapCommand, serve: SandboxFactory, scenario: str
) -> None:
    sandbox = serve(calls_with_canary())
    sandbox.faults.extend(SCENARIOS[scenario])

    run = tap(config=config_for(sandbox, page_size=10), env=DEBUG, skip_waits=True)

    assert "DEBUG" in run.stderr
    assert (run.returncode == 0) is (scenario == "no fault")
    assert_no_leaks(run, sandbox.token)


def test_invalid_token_is_not_printed(tap: TapCommand) -> None:
    for token in ("sk-tuple-canary\nsk-tuple-canary", "'sk-tuple-canary'\t", "sk-tuple-canary\x00"):
        run = tap(config={"api_token": token}, env=DEBUG)

        assert run.returncode == 1
        assert "sk-tuple-canary" not in run.stdout + run.stderr


def test_netrc_does_not_replace_the_token(
    tap: TapCommand, serve: SandboxFactory, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n", encoding="utf-8")
    netrc.chmod(0o600)
    sandbox = serve(make_calls(3))

    tap(config=config_for(sandbox), env={"NETRC": str(netrc), "HOME": str(tmp_path)})

    assert sandbox.requests[0].headers["Authorization"] == f"Bearer {sandbox.token}"


def test_reprs_do_not_contain_the_token() -> None:
    token = "sk-tuple-canary"  # noqa: S105 - not a real token
    tap = TapTuple(config={"api_token": token})

    for each in (tap, *tap.streams.values(), tap.catalog, tap.mapper):
        assert token not in repr(each)
        assert token not in str(each)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_url": TOKEN},
        {"api_url": f"https://tuple.example?token={TOKEN}"},
        {"api_url": f"https://tuple.example/{TOKEN}?"},
        {"start_date": TOKEN},
        {"page_size": TOKEN},
        {"stream_maps": {TOKEN: None}},
        {"stream_maps": TOKEN},
        {"user_agent": f"{TOKEN}\n{TOKEN}"},
    ],
)
def test_token_in_another_setting_is_not_logged(tap: TapCommand, settings: dict[str, Any]) -> None:
    run = tap(config={"api_token": "sk-tuple-x"} | settings, env=DEBUG)

    assert run.only_error.startswith(next(iter(settings)))
    assert TOKEN not in run.stdout


def test_token_as_a_setting_name_is_redacted(tap: TapCommand, serve: SandboxFactory) -> None:
    run = tap(config=config_for(serve([])) | {TOKEN: 1}, env=DEBUG)
    option = tap(f"--{TOKEN}")
    file = tap("--config", TOKEN)
    environment = tap("--config=ENV", env={"TAP_TUPLE_PAGE_SIZE": TOKEN})

    for each in (run, option, file):
        assert "[redacted]" in each.stderr
    for each in (run, option, file, environment):
        assert TOKEN not in each.stdout + each.stderr


def test_token_without_the_usual_prefix_is_redacted(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve([])
    sandbox.faults.append(faults.status(422, b'{"error": "Bearer canary123 is wrong"}'))

    run = tap(config=config_for(sandbox) | {"api_token": "canary123"}, env=DEBUG)

    assert "canary123" not in run.stderr
    assert "[redacted]" in run.errors[0]
