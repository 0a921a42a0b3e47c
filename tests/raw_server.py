"""A server that sends arbitrary bytes, even invalid HTTP, and records the requests."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class RawServer:
    """A server on a free port of 127.0.0.1, which runs inside a ``with`` block."""

    def __init__(self, response: bytes, *, drip_seconds: float | None = None) -> None:
        """Prepare to send a response to each request.

        Args:
            response: The bytes to send.
            drip_seconds: The delay between the bytes of the body. None means no delay.
        """
        self.received: list[bytes] = []
        self._response = response
        self._drip_seconds = drip_seconds
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop the server and release the port."""
        self._stopping.set()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            connection, _ = self._socket.accept()
            with connection, suppress(OSError):
                connection.settimeout(5)
                request = connection.recv(65536)
                if request:
                    self.received.append(request)
                    self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        if self._drip_seconds is None:
            connection.sendall(self._response)
            return
        head, separator, body = self._response.partition(b"\r\n\r\n")
        connection.sendall(head + separator)
        for byte in body:
            if self._stopping.wait(self._drip_seconds):
                return
            connection.sendall(bytes([byte]))
