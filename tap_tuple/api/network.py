"""What requests lacks: bounded response bodies, and knowing which hosts are local."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from singer_sdk.exceptions import RetriableAPIError

if TYPE_CHECKING:
    import requests

CHUNK_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Maximum size of a response body, unpacked. A page of 1000 calls takes about 1 MB."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, where plain http is safe and no proxy is needed."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_body(response: requests.Response, deadline_seconds: float) -> bytes:
    """Read the body of a streamed response, unpacked if it is compressed.

    A timeout doesn't limit the time for the whole body, because it restarts with every chunk.

    Raises:
        RetriableAPIError: If the body is too large, or takes too long.
        urllib3.exceptions.HTTPError: If the body is broken off or can't be unpacked.
    """
    deadline = time.monotonic() + deadline_seconds
    body = bytearray()
    # Unlike `iter_content`, this returns what is there instead of waiting for a full chunk.
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            response.close()
            msg = f"the response is larger than {MAX_BODY_BYTES // 1024**2} MB"
            raise RetriableAPIError(msg, response)
        if time.monotonic() > deadline:
            response.close()
            msg = f"the response wasn't complete after {deadline_seconds} seconds"
            raise RetriableAPIError(msg, response)
    return bytes(body)
