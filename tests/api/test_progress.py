"""Progress messages and the size of the log."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from tap_tuple.sandbox import CallLog, Sandbox
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls
from tests.in_process import Pipe, StandingClock, standing_in

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.conftest import TapCommand


def progress_messages(
    caplog: pytest.LogCaptureFixture, *, calls: int, seconds_per_request: float, **settings: Any
) -> list[str]:
    """Return the progress messages of a run with one call per page."""
    clock = StandingClock()

    def take_time(_: int) -> None:
        clock.now += seconds_per_request

    source = CallLog(make_calls(calls))
    with (
        caplog.at_level(logging.INFO),
        standing_in(Pipe(None), clock),
        Sandbox(source, on_request=take_time) as sandbox,
    ):
        TapTuple(config=config_for(sandbox, page_size=1, **settings)).sync_all()
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith("Read ")]


def test_progress_is_logged_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    lines = progress_messages(caplog, calls=30, seconds_per_request=4)

    assert lines[0] == "Read 3 of 30 calls (10 %), page 3. About 0:01:48 left."
    assert lines[1] == "Read 6 of 30 calls (20 %), page 6. About 0:01:36 left."
    assert len(lines) == 10


def test_short_run_logs_no_progress(caplog: pytest.LogCaptureFixture) -> None:
    assert progress_messages(caplog, calls=30, seconds_per_request=0.3) == []


def test_time_left_includes_rate_limit_waits(caplog: pytest.LogCaptureFixture) -> None:
    """At ten requests a minute, the last 40 take four minutes, even if the first ten were fast."""
    lines = progress_messages(caplog, calls=50, seconds_per_request=1, requests_per_minute=10)

    found = re.fullmatch(r"Read 10 of 50 calls \(20 %\), page 10\. About (\S+) left\.", lines[0])
    assert found
    assert found[1] == "0:04:00"


def test_run_of_100_pages_logs_fewer_than_150_lines(
    tap: TapCommand, serve: Callable[..., Sandbox]
) -> None:
    config = config_for(serve(make_calls(1000)), page_size=10, requests_per_minute=1000)

    run = tap(config=config, env={"TAP_TUPLE_LOGLEVEL": "DEBUG"})

    lines = run.stderr.splitlines()
    assert len(lines) < 150
    for metric in ("record_count", "sync_duration"):
        for stream in ("calls", "call_participations"):
            assert sum(f'"{metric}"' in x and f'"stream":"{stream}"' in x for x in lines) == 1
