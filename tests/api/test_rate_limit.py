"""The rate limiter, tested with a simulated clock against a server that enforces the limit."""

from __future__ import annotations

import logging
import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, StandingClock, standing_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.server import Fault


def sync(
    pages: int,
    *,
    latency: Callable[[], float] = lambda: 0.0,
    injected: list[Fault | None] | None = None,
    **settings: Any,
) -> tuple[StandingClock, Sandbox]:
    """Read pages from a sandbox with Tuple's rate limit, using a simulated clock."""
    clock = StandingClock()

    def travel(_: int) -> None:
        clock.now += latency()

    def travel_back(response: Any) -> Any:
        clock.now += latency()
        return response

    source = CallLog(make_calls(pages))
    with standing_in(Pipe(None), clock), Sandbox(source, on_request=travel) as sandbox:
        sandbox.faults.extend(injected or [travel_back] * pages)
        TapTuple(config=config_for(sandbox, page_size=1, **settings)).sync_all()
    return clock, sandbox


def statuses(sandbox: Sandbox) -> set[int | None]:
    return {request.status for request in sandbox.requests}


def test_limit_allows_60_pages_without_waiting() -> None:
    clock, sandbox = sync(60)

    assert clock.waits == []
    assert len(sandbox.requests) == 60


def test_limit_spreads_70_requests_over_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        clock, sandbox = sync(70)

    assert statuses(sandbox) == {HTTPStatus.OK}
    assert 60 < sum(clock.waits) < 61
    lines = [r.getMessage() for r in caplog.records if "Waiting" in r.getMessage()]
    (line,) = lines
    assert line.startswith("Reached requests_per_minute (60). Waiting ")
    assert line.endswith("Waiting 60 seconds.")


@pytest.mark.parametrize("seed", range(5))
def test_jittery_network_never_causes_a_429(seed: int) -> None:
    """The server counts a request on arrival, which may be long after the tap sent it."""
    jitter = random.Random(seed)  # noqa: S311 - not for secrets

    _, sandbox = sync(200, latency=lambda: jitter.expovariate(2))

    assert statuses(sandbox) == {HTTPStatus.OK}
    assert len(sandbox.requests) == 200


def test_lower_requests_per_minute_is_respected() -> None:
    clock, sandbox = sync(25, requests_per_minute=10)

    at = [request.at for request in sandbox.requests]
    assert all(later - at[index] >= 60 for index, later in enumerate(at[10:]))
    assert sum(clock.waits) < 122


def test_retries_count_as_requests() -> None:
    injected: list[Fault | None] = [None, *[faults.status(500)] * 3]

    clock, sandbox = sync(8, injected=injected, requests_per_minute=10)

    assert len(sandbox.requests) == 11
    assert any(wait > 40 for wait in clock.waits)


def test_failed_requests_count_as_requests() -> None:
    limiter = RateLimiter(2, logging.getLogger("test"))
    clock = StandingClock()

    def fail() -> None:
        raise ConnectionError

    with standing_in(Pipe(None), clock):
        for _ in range(3):
            with pytest.raises(ConnectionError):
                limiter.turn()(fail)()

    assert limiter.requests == 3
    assert len(clock.waits) == 1
