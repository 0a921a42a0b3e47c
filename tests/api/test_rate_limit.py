"""The rate limiter, by itself and against a server that enforces the limit."""

from __future__ import annotations

import logging
import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.api.rate_limit import MARGIN_SECONDS, WINDOW_SECONDS, RateLimiter
from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, SimulatedClock, simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_tuple.sandbox.server import Fault

LOGGER = logging.getLogger("test")


@pytest.fixture
def clock() -> Iterator[SimulatedClock]:
    """A clock that advances only during waits, or when a test sets it."""
    clock = SimulatedClock()
    with simulated(Pipe(None), clock):
        yield clock


def make_requests(limiter: RateLimiter, number: int) -> None:
    for _ in range(number):
        with limiter.turn():
            pass


class TestRateLimiter:
    def test_requests_up_to_the_limit_do_not_wait(self, clock: SimulatedClock) -> None:
        make_requests(RateLimiter(3, LOGGER), 3)

        assert clock.waits == []

    def test_next_request_waits_for_the_end_of_the_window(
        self, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        limiter = RateLimiter(3, LOGGER)
        make_requests(limiter, 1)
        clock.now += 10
        make_requests(limiter, 2)

        with caplog.at_level(logging.INFO):
            make_requests(limiter, 2)

        assert clock.waits == [50.25, 10.0]
        assert [record.getMessage() for record in caplog.records] == [
            "Reached requests_per_minute (3). Waiting 50 seconds.",
            "Reached requests_per_minute (3). Waiting 10 seconds.",
        ]
        assert limiter.requests == 5

    def test_request_at_the_end_of_the_window_does_not_wait(
        self, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        limiter = RateLimiter(1, LOGGER)
        make_requests(limiter, 1)
        clock.now += WINDOW_SECONDS + MARGIN_SECONDS

        with caplog.at_level(logging.INFO):
            make_requests(limiter, 1)

        assert clock.waits == []
        assert caplog.records == []

    def test_window_starts_when_the_response_arrives(self, clock: SimulatedClock) -> None:
        limiter = RateLimiter(1, LOGGER)
        with limiter.turn():
            clock.now += 30

        make_requests(limiter, 1)

        assert clock.waits == [WINDOW_SECONDS + MARGIN_SECONDS]

    def test_failed_requests_count_toward_the_limit(self, clock: SimulatedClock) -> None:
        limiter = RateLimiter(2, LOGGER)

        def fail() -> None:
            raise ConnectionError

        for _ in range(3):
            with pytest.raises(ConnectionError):
                limiter.turn()(fail)()

        assert limiter.requests == 3
        assert len(clock.waits) == 1

    def test_huge_limit_causes_no_waits(self, clock: SimulatedClock) -> None:
        make_requests(RateLimiter(10**30, LOGGER), 20_000)

        assert clock.waits == []

    @pytest.mark.parametrize(
        ("requests", "seconds"), [(0, 0), (58, 0), (59, 1), (118, 60)], ids=str
    )
    def test_delay_estimate_counts_only_recent_requests(
        self, clock: SimulatedClock, requests: int, seconds: float
    ) -> None:
        """Only two of the three earlier requests count. The first is too old."""
        limiter = RateLimiter(60, LOGGER)
        make_requests(limiter, 1)
        clock.now += WINDOW_SECONDS
        make_requests(limiter, 2)

        assert limiter.seconds_for(requests) == seconds


def sync(
    pages: int,
    *,
    latency: Callable[[], float] = lambda: 0.0,
    injected: list[Fault | None] | None = None,
    **settings: Any,
) -> tuple[SimulatedClock, Sandbox]:
    """Read pages from a sandbox with Tuple's rate limit, using a simulated clock."""
    clock = SimulatedClock()

    def delay_request(_: int) -> None:
        clock.now += latency()

    def delay_response(response: Any) -> Any:
        clock.now += latency()
        return response

    source = CallLog(make_calls(pages))
    with simulated(Pipe(None), clock), Sandbox(source, on_request=delay_request) as sandbox:
        sandbox.faults.extend(injected or [delay_response] * pages)
        TapTuple(config=config_for(sandbox, page_size=1, **settings)).sync_all()
    return clock, sandbox


def statuses(sandbox: Sandbox) -> set[int | None]:
    return {request.status for request in sandbox.requests}


def test_limit_allows_60_pages_without_waiting() -> None:
    clock, sandbox = sync(60)

    assert clock.waits == []
    assert len(sandbox.requests) == 60


def test_limit_spreads_70_requests_over_a_minute() -> None:
    clock, sandbox = sync(70)

    assert statuses(sandbox) == {HTTPStatus.OK}
    assert 60 < sum(clock.waits) < 61


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
