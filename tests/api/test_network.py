"""Response bodies are limited in size and time."""

from __future__ import annotations

import gzip
import io
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3
from singer_sdk.exceptions import RetriableAPIError

from tap_tuple.api.network import MAX_BODY_BYTES, is_loopback, read_body
from tests.conftest import config_for, make_calls
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from tap_tuple.sandbox.server import Response
    from tests.conftest import SandboxFactory, TapCommand

GZIPPED = {"Content-Encoding": "gzip"}


def gzip_of_zeros(size: int) -> bytes:
    return gzip.compress(bytes(size), compresslevel=9)


def gzipped(response: Response) -> Response:
    headers = response.headers | GZIPPED
    return replace(response, body=gzip.compress(response.body), headers=headers)


def test_compressed_body_is_decompressed(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(30), every_response=gzipped)

    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 31))


def response_of(body: bytes, **headers: str) -> requests.Response:
    """Make a response whose body hasn't been read."""
    response = requests.Response()
    response.raw = urllib3.HTTPResponse(io.BytesIO(body), headers=headers, preload_content=False)
    return response


def test_body_of_64_mb_is_accepted() -> None:
    assert len(read_body(response_of(bytes(MAX_BODY_BYTES)), 60)) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    "response",
    [
        response_of(bytes(MAX_BODY_BYTES + 1)),
        response_of(gzip_of_zeros(MAX_BODY_BYTES + 1), **GZIPPED),
    ],
    ids=["plain", "compressed"],
)
def test_body_over_64_mb_is_an_error(response: requests.Response) -> None:
    with pytest.raises(RetriableAPIError, match=r"the response is larger than 64 MB$"):
        read_body(response, 60)

    assert response.raw.closed


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_host_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "tuple.example", "localhost.example", "10.0.0.1", "::2"])
def test_host_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


SLOW_BODIES = {
    "plain": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(100),
    "until the connection closes": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100),
    "chunk length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100,
    "file name in the gzip header": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08" + b"a" * 100
    ),
}


@pytest.mark.parametrize("kind", SLOW_BODIES)
def test_slow_body_times_out_at_the_deadline(kind: str) -> None:
    with RawServer(SLOW_BODIES[kind], drip_seconds=0.05) as server:
        response = requests.get(server.url, stream=True, timeout=5)
        started_at = time.monotonic()
        with pytest.raises(RetriableAPIError, match=r"wasn't complete after 0\.5 seconds"):
            read_body(response, deadline_seconds=0.5)

    assert time.monotonic() - started_at < 3


def test_deadline_works_outside_the_main_thread() -> None:
    errors: list[Exception] = []

    def read() -> None:
        try:
            test_slow_body_times_out_at_the_deadline("plain")
        except Exception as error:  # noqa: BLE001 - the test checks for it
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()

    assert errors == []
