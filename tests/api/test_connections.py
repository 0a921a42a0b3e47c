"""Connections through proxies, and the certificates of servers."""

from __future__ import annotations

import http.server
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.conftest import config_for, make_calls
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand

TOKEN = "sk-tuple-canary-0123456789"  # noqa: S105 - not a real token
LOGIN_REQUIRED = b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_loopback_hosts_bypass_the_proxy(
    tap: TapCommand, serve: SandboxFactory, variable: str
) -> None:
    sandbox = serve(make_calls(3))
    with RawServer(b"") as proxy:
        run = tap(config=config_for(sandbox), env={variable: proxy.url})

    assert proxy.received == []
    assert run.ids("calls") == [1, 2, 3]


def test_https_proxy_never_receives_the_token(tap: TapCommand) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}
    with RawServer(LOGIN_REQUIRED) as proxy:
        env = {"HTTPS_PROXY": proxy.url}
        run = tap("--test", config=config, env=env, skip_waits=True)
        through_proxy = len(proxy.received)
        tap("--test", config=config, env=env | {"NO_PROXY": "tuple.invalid"}, skip_waits=True)

    assert run.only_error.startswith("The proxy requires a login (HTTP 407). ")
    assert through_proxy == 1
    assert all(b"CONNECT tuple.invalid:443" in request for request in proxy.received)
    assert not any(TOKEN.encode() in request for request in proxy.received)
    assert len(proxy.received) == through_proxy > 0


def test_missing_certificate_file_is_reported_without_retries(tap: TapCommand) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}

    run = tap("--test", config=config, env={"REQUESTS_CA_BUNDLE": "/nowhere.pem"})

    assert run.only_error.startswith(
        "Could not find a suitable TLS CA certificate bundle, invalid path: /now"
    )
    assert "Retrying" not in run.stderr


@pytest.mark.parametrize("proxy", ["nonsense://127.0.0.1:1", "http://[::1", "http://:99999999"])
def test_unusable_proxy_is_reported_without_retries(tap: TapCommand, proxy: str) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}

    run = tap("--test", config=config, env={"HTTPS_PROXY": proxy}, skip_waits=True)

    assert "proxy" in run.only_error
    assert "Retrying" not in run.stderr


def test_proxy_password_is_not_logged(tap: TapCommand) -> None:
    with RawServer(LOGIN_REQUIRED) as proxy:
        url = proxy.url.replace("://", "://user:canary@")
        config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}
        env = {"HTTPS_PROXY": url, "TAP_TUPLE_LOGLEVEL": "DEBUG"}
        run = tap("--test", config=config, env=env, skip_waits=True)

    assert "canary" not in run.stdout + run.stderr


@pytest.fixture
def https_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server whose certificate comes from a private CA, and the CA's bundle."""

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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", bundle
    server.shutdown()
    thread.join()
    server.server_close()


def test_certificate_must_come_from_a_trusted_authority(
    tap: TapCommand, https_server: tuple[str, Path]
) -> None:
    url, bundle = https_server
    config = {"api_url": url, "api_token": "sk-tuple-x"}

    rejected = tap(config=config)
    trusted = tap(config=config, env={"REQUESTS_CA_BUNDLE": str(bundle)})

    assert rejected.only_error.startswith(
        "Can't establish a secure connection: the certificate isn't valid"
    )
    assert trusted.returncode == 0
