"""What the network needs beyond requests: a deadline for a whole answer, and what is local."""

from __future__ import annotations

import errno
import signal
import threading
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, where no proxy is needed and plain http is safe."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def ends_within(seconds: int) -> Generator[None]:
    """Raise TimeoutError when time is up; the timeout of a read is no deadline: a body may drip.

    Only the main thread can be interrupted; in another one there is no deadline.
    """

    def stop(_: int, __: FrameType | None) -> NoReturn:
        raise TimeoutError(errno.ETIMEDOUT, f"no whole answer within {seconds} seconds")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
