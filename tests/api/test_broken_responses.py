"""Broken HTTP and hostile responses never crash the tap or put private data into an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import config_for, make_calls
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from pathlib import Path

    from tap_tuple.sandbox.server import Fault
    from tests.conftest import SandboxFactory, TapCommand

EMAIL = "canary@lumen.example"
TOKEN = "sk-tuple-canary-0123456789"  # noqa: S105 - not a real token
DEBUG = {"TAP_TUPLE_LOGLEVEL": "DEBUG"}


def http(head: str, body: bytes = b"") -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


BODY = f'[{{"id": 1, "email": "{EMAIL}"}}]'.encode()
BROKEN_HTTP = {
    "chunked according to the header only": http(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked", BODY
    ),
    "no status line": EMAIL.encode() + b"\r\n\r\n",
    "invalid status": f"HTTP/1.1 {EMAIL}\r\n\r\n".encode(),
    "header without a colon": http(f"HTTP/1.1 500 Oops\n{EMAIL}\nContent-Length: 0"),
    "compressed according to the header only": http(
        "HTTP/1.1 200 OK\nContent-Encoding: gzip", BODY
    ),
    "not UTF-8": http("HTTP/1.1 200 OK\nContent-Length: 5", b"[\xff\xfe1]"),
    "empty response": b"",
}


@pytest.mark.parametrize("broken", BROKEN_HTTP)
def test_broken_http_is_reported_without_private_data(
    tap: TapCommand, broken: str, tmp_path: Path
) -> None:
    """This holds even if the log is configured to show all messages from libraries."""
    log_config = tmp_path / "logging.yaml"
    log_config.write_text(
        json.dumps(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": "log.txt"}},
                "loggers": {
                    name: {"level": "DEBUG", "handlers": ["file"]}
                    for name in ("urllib3", "urllib3.connectionpool", "singer_sdk.mapper")
                },
                "root": {"level": "DEBUG", "handlers": ["file"]},
            }
        ),
        encoding="utf-8",
    )
    with RawServer(BROKEN_HTTP[broken]) as server:
        config = {"api_url": server.url, "api_token": TOKEN}
        env = DEBUG | {"SINGER_SDK_LOG_CONFIG": str(log_config)}

        run = tap(config=config, env=env, skip_waits=True)

    logged = run.stderr + (tmp_path / "log.txt").read_text("utf-8")
    assert run.returncode == 1
    assert logged.count(f"{server.url} after ") == 1
    assert "Traceback" not in logged
    assert EMAIL not in logged
    assert TOKEN not in logged


@pytest.mark.parametrize("location", ["http://[canary", "https://elsewhere.example:port/", "::"])
def test_invalid_redirect_is_reported_on_one_line(
    tap: TapCommand, serve: SandboxFactory, location: str
) -> None:
    sandbox = serve([])
    sandbox.faults.extend([faults.status(302, headers={"Location": location})] * 10)

    run = tap(config=config_for(sandbox), skip_waits=True)

    assert sandbox.url in run.only_error


HOSTILE: dict[str, Fault] = {
    "Retry-After date out of range": faults.status(
        429, headers={"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}
    ),
    "deeply nested body": faults.body(b"[" * 100_000 + b"]" * 100_000),
    "deeply nested new field": faults.edited(
        lambda calls: [calls[0] | {"x": json.loads("[" * 900 + "]" * 900)}]
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_response_is_retried(tap: TapCommand, serve: SandboxFactory, hostile: str) -> None:
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, HOSTILE[hostile]])

    run = tap(config=config_for(sandbox, page_size=10), skip_waits=True)

    assert run.returncode == 0
    assert set(run.ids("calls")) == set(range(1, 31))


@pytest.mark.slow
@pytest.mark.parametrize("status", ["200 OK", "302 Found\nLocation: /elsewhere"])
def test_connection_test_gives_up_on_a_slow_response(tap: TapCommand, status: str) -> None:
    with RawServer(
        http(f"HTTP/1.1 {status}\nContent-Length: 500", b"[" * 500), drip_seconds=0.5
    ) as server:
        config = {"api_url": server.url, "api_token": TOKEN}

        run = tap("--test", config=config)

    assert len(server.received) == 2
    assert run.only_error.startswith(
        f"No valid response from {server.url} after 2 attempts: the response wasn't complete"
    )
