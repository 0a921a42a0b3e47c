"""Network helpers that requests lacks: limits for reading bodies, and recognizing local hosts."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from singer_sdk.exceptions import RetriableAPIError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import requests

CHUNK_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Maximum size of a response body after decompression. A page of 1000 calls takes about 1 MB."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, where plain http is safe and no proxy is needed."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_body(response: requests.Response, deadline_seconds: float) -> bytes:
    """Read the body of a streamed response, and decompress it if necessary.

    A timeout doesn't limit the time for the whole body, because it restarts with every byte.

    Raises:
        RetriableAPIError: If the body is too large, or takes too long.
        urllib3.exceptions.HTTPError: If the body is truncated or can't be decompressed.
    """
    deadline_error = RetriableAPIError(
        f"the response wasn't complete after {deadline_seconds} seconds", response
    )
    body = bytearray()
    with _stop_reading_after(response, deadline_seconds) as is_stopped:
        try:
            # Unlike `iter_content`, this returns received bytes without waiting for a full chunk.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    msg = f"the response is larger than {MAX_BODY_BYTES // 1024**2} MB"
                    raise RetriableAPIError(msg, response)
        except HTTPError:
            if is_stopped():
                raise deadline_error from None
            raise
        finally:
            is_incomplete = not response.raw.closed
            if is_incomplete:
                response.close()
        if is_stopped():
            raise deadline_error
    return bytes(body)


@contextmanager
def _stop_reading_after(
    response: requests.Response, seconds: float
) -> Generator[Callable[[], bool]]:
    """Stop reading a response after some time, even if a read is blocked waiting for data.

    Yields:
        A function that returns whether that has happened.
    """
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        # These are raised if the response was fully read in the meantime.
        with suppress(RuntimeError, ValueError, OSError):
            response.raw.shutdown()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield stopped.is_set
    finally:
        timer.cancel()
