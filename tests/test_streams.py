"""Which calls a run reads."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_tuple.sandbox import CallLog
from tests.conftest import FIRST_END, bookmarks, config_for, make_call, make_calls, minute, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def test_call_finalized_late_within_the_lookback_is_read(tap: TapCommand, serve: Serve) -> None:
    log = CallLog(make_calls(100))
    sandbox = serve(log)
    first = tap(config=config_for(sandbox))
    log.add(make_call(900, ended_at=FIRST_END + timedelta(minutes=41)))

    second = tap(config=config_for(sandbox), state=first.state)
    without_lookback = tap(config=config_for(sandbox, lookback_window=0), state=first.state)

    assert 900 in second.ids("calls")
    assert 900 not in without_lookback.ids("calls")
    assert bookmarks(second.state) == bookmarks(first.state)


def test_early_start_date_reads_all_history(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))

    run = tap(config=config_for(sandbox, start_date="0001-01-01"))

    assert run.ids("calls") == [1, 2, 3]
    assert sandbox.requests[0].query["since"] == "1970-01-01T00:00:00.000Z"


def test_empty_time_range_sends_no_requests(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(30))

    config = config_for(sandbox, end_date=minute(10))
    run = tap(config=config, state=state_of(minute(90), minute(90)))

    assert sandbox.requests == []
    assert (run.count("SCHEMA"), run.count("RECORD"), run.returncode) == (2, 0, 0)
    assert bookmarks(run.state) == (minute(90), minute(90))
