"""Response bodies are limited in size and time."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from singer_sdk.exceptions import RetriableAPIError

from tap_tuple.api.network import MAX_BODY_BYTES, read_body
from tap_tuple.sandbox import faults
from tests.conftest import config_for, make_calls
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox import Sandbox
    from tap_tuple.sandbox.server import Answer
    from tests.conftest import TapCommand

GZIPPED = {"Content-Encoding": "gzip"}


def gzip_of_zeros(unpacked_bytes: int) -> bytes:
    return gzip.compress(bytes(unpacked_bytes), compresslevel=9)


def gzipped(answer: Answer) -> Answer:
    headers = answer.headers | GZIPPED
    return replace(answer, body=gzip.compress(answer.body), headers=headers)


def test_compressed_body_is_unpacked(tap: TapCommand, serve: Callable[..., Sandbox]) -> None:
    sandbox = serve(make_calls(30), every_answer=gzipped)

    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 31))


def test_body_that_unpacks_to_too_much_is_given_up(
    tap: TapCommand, serve: Callable[..., Sandbox]
) -> None:
    sandbox = serve(make_calls(3))
    bomb = faults.status(HTTPStatus.OK, gzip_of_zeros(4 * MAX_BODY_BYTES), GZIPPED)
    sandbox.faults.extend([bomb] * 10)

    run = tap(config=config_for(sandbox), time_flies=True)

    assert run.returncode == 1
    (error,) = run.errors
    assert error.endswith("the response is larger than 64 MB.")


SLOW_BODIES = {
    "plain": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(100),
    "until closed": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100),
    "length of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"a" * 100,
    "name in a gzip header": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08" + b"a" * 100
    ),
}


@pytest.mark.parametrize("kind", SLOW_BODIES)
def test_slow_body_is_given_up_after_the_deadline(kind: str) -> None:
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
            test_slow_body_is_given_up_after_the_deadline("plain")
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()

    assert errors == []
