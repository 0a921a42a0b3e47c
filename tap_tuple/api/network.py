"""What the network needs beyond requests: a deadline for a whole answer, and what is local."""

from __future__ import annotations

import errno
import functools
import signal
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

P = ParamSpec("P")
T = TypeVar("T")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, where no proxy is needed and plain http is safe."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ends_within(seconds: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Give a function a deadline, which the timeout of each read is not: a body may drip.

    Only the main thread can be interrupted; in another one there is no deadline.

    Args:
        seconds: From the call to its end.

    Returns:
        A decorator; what it makes raises `TimeoutError` when time is up.
    """

    def stop(_: int, __: FrameType | None) -> NoReturn:
        raise TimeoutError(errno.ETIMEDOUT, f"no whole answer within {seconds} seconds")

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def timely(*args: P.args, **kwargs: P.kwargs) -> T:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            before = signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                return function(*args, **kwargs)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)

        return timely

    return decorate
