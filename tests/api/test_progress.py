"""Progress messages and the size of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tap_tuple.api.progress import INTERVAL_SECONDS, Progress
from tap_tuple.api.rate_limit import RateLimiter
from tap_tuple.sandbox import CallLog, Sandbox
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, SimulatedClock, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import SandboxFactory, TapCommand

LOGGER = logging.getLogger("test")


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Iterator[SimulatedClock]:
    """A clock that advances only when a test sets it. The log is captured at INFO."""
    clock = SimulatedClock()
    with simulated(Pipe(None), clock), caplog.at_level(logging.INFO):
        yield clock


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_progress_is_logged_every_ten_seconds(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(RateLimiter(1000, LOGGER), LOGGER)

    for read in range(1000, 7000, 1000):
        clock.now += 4
        progress.add_page(1000, 30_000 - read)

    assert messages(caplog) == [
        "Read 3,000 of 30,000 calls (10%), page 3. About 0:01:48 left.",
        "Read 6,000 of 30,000 calls (20%), page 6. About 0:01:36 left.",
    ]


def test_progress_is_logged_after_exactly_ten_seconds(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(RateLimiter(1000, LOGGER), LOGGER)

    clock.now += INTERVAL_SECONDS - 0.001
    progress.add_page(1, 1)
    assert messages(caplog) == []

    clock.now += 0.001
    progress.add_page(1, 1)
    assert len(messages(caplog)) == 1


@pytest.mark.parametrize(
    ("calls", "missing", "message"),
    [
        (1, None, "Read 1 call, page 1."),
        (5, None, "Read 5 calls, page 1."),
        (1200, 0, "Read 1,200 calls, page 1."),
        (0, 40, "Read 0 calls, page 1."),
    ],
    ids=["one call", "unknown total", "nothing missing", "nothing new"],
)
def test_time_left_is_omitted_if_it_is_unknown(
    clock: SimulatedClock,
    caplog: pytest.LogCaptureFixture,
    calls: int,
    missing: int | None,
    message: str,
) -> None:
    progress = Progress(RateLimiter(1000, LOGGER), LOGGER)
    clock.now += INTERVAL_SECONDS

    progress.add_page(calls, missing)

    assert messages(caplog) == [message]


def test_percentage_is_100_only_at_the_end(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(RateLimiter(1000, LOGGER), LOGGER)
    clock.now += INTERVAL_SECONDS

    progress.add_page(999, 1)

    assert messages(caplog) == ["Read 999 of 1,000 calls (99%), page 1. About 0:00:00 left."]


def test_time_left_includes_rate_limit_waits(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At ten requests a minute, 45 more pages take 4.5 minutes, even if the first ten were fast."""
    limiter = RateLimiter(10, LOGGER)
    progress = Progress(limiter, LOGGER)
    for _ in range(10):
        with limiter.turn():
            clock.now += 1
        # The last page is not full, so the rest is rounded up to whole pages.
        progress.add_page(10, 441)

    assert messages(caplog) == ["Read 100 of 541 calls (18%), page 10. About 0:04:30 left."]


def test_time_before_the_first_request_is_not_counted(
    clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(RateLimiter(1000, LOGGER), LOGGER)
    clock.now += 3600

    progress.start()
    clock.now += 20
    progress.add_page(10, 10)

    assert messages(caplog) == ["Read 10 of 20 calls (50%), page 1. About 0:00:20 left."]


def test_run_logs_its_progress(clock: SimulatedClock, caplog: pytest.LogCaptureFixture) -> None:
    def take_time(_: int) -> None:
        clock.now += 4

    with Sandbox(CallLog(make_calls(30)), on_request=take_time) as sandbox:
        TapTuple(config=config_for(sandbox, page_size=1)).sync_all()

    lines = [message for message in messages(caplog) if message.startswith("Read ")]
    assert lines[0] == "Read 3 of 30 calls (10%), page 3. About 0:01:48 left."
    assert len(lines) == 10


def test_run_of_100_pages_logs_fewer_than_150_lines(tap: TapCommand, serve: SandboxFactory) -> None:
    config = config_for(serve(make_calls(1000)), page_size=10, requests_per_minute=1000)

    run = tap(config=config, env={"TAP_TUPLE_LOGLEVEL": "DEBUG"})

    lines = run.stderr.splitlines()
    assert len(lines) < 150
    for metric in ("record_count", "sync_duration"):
        for stream in ("calls", "call_participations"):
            assert sum(f'"{metric}"' in x and f'"stream":"{stream}"' in x for x in lines) == 1
