"""Emails appear only in RECORD messages, and the token only in the Authorization header."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tap_tuple.sandbox import faults
from tap_tuple.tap import TapTuple
from tests.conftest import ROOT, config_for, make_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tap_tuple.sandbox.company import Call
    from tap_tuple.sandbox.server import Fault
    from tests.conftest import Run, TapCommand

    Serve = Callable[..., Sandbox]

EMAIL = "canary@lumen.example"
DEBUG = {"TAP_TUPLE_LOGLEVEL": "DEBUG"}


def calls_with_canary(count: int = 30) -> list[Call]:
    calls = make_calls(count)
    for call in calls:
        call["call_participations"][0]["user"] = {"email": EMAIL}
    return calls


def mirror(token: str) -> Fault:
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


html = f"<html>{EMAIL}</html>".encode()
SCENARIOS: dict[str, list[Fault | None]] = {
    "no fault": [],
    "rejection that echoes private data": [None, mirror("sk-tuple-sandbox")],
    "unauthorized": [faults.status(401, html)],
    "forbidden": [None, faults.status(403, html)],
    "not found": [faults.status(404, html)],
    "redirect": [faults.status(302, html, {"Location": f"https://elsewhere.example/{EMAIL}"})],
    "server error": [None, *[faults.status(500, html)] * 20],
    "HTML with status 200": [None, *[faults.body(html)] * 20],
    "JSON object with status 200": [
        None,
        *[faults.body(json.dumps({"email": EMAIL}).encode())] * 20,
    ],
    "truncated": [None, *[faults.truncated] * 20],
    "reset": [None, *[faults.reset] * 20],
    "rate limit": [None, *[faults.status(429, html)] * 40],
    "call of the wrong type": [None, faults.edited(with_invalid_call)],
    "invalid user": [None, with_invalid_participation("user")],
    "invalid time": [None, with_invalid_participation("left_at")],
    "pages in reverse order": [None, *[faults.edited(lambda calls: calls[::-1])] * 20],
}


def assert_private(run: Run, token: str) -> None:
    """Check that the token appears nowhere, and the email only in records."""
    assert token not in run.stdout + run.stderr
    assert EMAIL not in run.stderr
    for line in run.stdout.splitlines():
        assert EMAIL not in line or json.loads(line)["type"] == "RECORD"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_debug_log_contains_no_private_data(tap: TapCommand, serve: Serve, scenario: str) -> None:
    sandbox = serve(calls_with_canary())
    sandbox.faults.extend(SCENARIOS[scenario])

    run = tap(config=config_for(sandbox, page_size=10), env=DEBUG, time_flies=True)

    assert "DEBUG" in run.stderr
    assert (run.returncode == 0) is (scenario == "no fault")
    assert_private(run, sandbox.token)


def test_failing_stream_map_logs_no_private_data(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(calls_with_canary())
    for expression in ("int(user_email)", "user_email + 1", "1 / 0", "nonsense(user_email)", "x ="):
        maps = {"call_participations": {"broken": expression}}

        run = tap(config=config_for(sandbox, stream_maps=maps), env=DEBUG)

        assert run.returncode == 1
        assert_private(run, sandbox.token)


def test_invalid_token_is_not_printed(tap: TapCommand) -> None:
    for token in ("sk-tuple-canary\nsk-tuple-canary", "'sk-tuple-canary'\t", "sk-tuple-canary\x00"):
        run = tap(config={"api_token": token}, env=DEBUG)

        assert run.returncode == 1
        assert "sk-tuple-canary" not in run.stdout + run.stderr


def test_redirects_are_not_followed(tap: TapCommand, serve: Serve) -> None:
    elsewhere, sandbox = serve([]), serve(make_calls(3))
    sandbox.faults.append(faults.status(307, headers={"Location": elsewhere.url}))

    run = tap(config=config_for(sandbox))

    assert run.returncode == 1
    assert elsewhere.requests == []


def test_netrc_does_not_replace_the_token(tap: TapCommand, serve: Serve, tmp_path: Path) -> None:
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


@pytest.fixture
def https_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server with a certificate of its own authority, and that authority's bundle."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Total-Count", "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl_context_of(authority)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", bundle
    server.shutdown()
    thread.join()
    server.server_close()


def ssl_context_of(authority: trustme.CA) -> Any:
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_certificate_must_come_from_a_trusted_authority(
    tap: TapCommand, https_server: tuple[str, Path]
) -> None:
    url, bundle = https_server
    config = {"api_url": url, "api_token": "sk-tuple-x"}

    rejected = tap(config=config)
    trusted = tap(config=config, env={"REQUESTS_CA_BUNDLE": str(bundle)})

    (error,) = rejected.errors
    assert error.startswith("Can't establish a secure connection: the certificate isn't valid")
    assert "certificate" in error
    assert trusted.returncode == 0


def test_batch_config_is_ignored_with_a_warning(
    tap: TapCommand, serve: Serve, tmp_path: Path
) -> None:
    """In batch files, emails would bypass the stream map that hides them."""
    batches = tmp_path / "batches"
    batches.mkdir()
    batch_config = {
        "encoding": {"format": "jsonl", "compression": "none"},
        "storage": {"root": f"file://{batches}"},
    }
    config = config_for(serve(calls_with_canary()), batch_config=batch_config)

    run = tap(config=config | {"stream_maps": {"call_participations": {"user_email": None}}})

    assert {m["type"] for m in run.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert list(batches.iterdir()) == []
    assert EMAIL not in run.stdout + run.stderr
    assert run.stderr.count("Ignoring unknown setting batch_config.") == 1


def test_documented_stream_maps_hash_all_emails(tap: TapCommand, serve: Serve) -> None:
    calls = calls_with_canary()
    page = (ROOT / "docs/privacy.md").read_text(encoding="utf-8")
    shown = page.split("<!-- stream maps -->\n```json\n")[1].split("```")[0]

    run = tap(config=config_for(serve(calls)) | json.loads(shown))

    emails = {row["user_email"] for row in run.records("call_participations")}
    assert EMAIL not in run.stdout
    assert all(len(email) == 64 for email in emails)
    assert len(emails) == 2
