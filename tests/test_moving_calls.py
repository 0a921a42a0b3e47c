"""Calls that are deleted, changed or finalized during a run, and misleading servers."""

from __future__ import annotations

import json
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import CallLog, faults
from tests.conftest import FIRST_END, config_for, make_call, make_calls, minute, record_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.company import Call
    from tap_tuple.sandbox.server import Fault
    from tests.conftest import Run, SandboxFactory, TapCommand

    Change = Callable[[CallLog], None]

RANDOM = Random(3)  # noqa: S311 - not for secrets


def call_ending_at(number: int, minutes: float) -> Call:
    return make_call(number, ended_at=minute(minutes))


def delete(*ids: int) -> Change:
    def change(log: CallLog) -> None:
        for number in ids:
            log.delete(number)

    return change


def add(*calls: Call) -> Change:
    def change(log: CallLog) -> None:
        for call in calls:
            log.add(call)

    return change


def combine(*changes: Change) -> Change:
    def change(log: CallLog) -> None:
        for each in changes:
            each(log)

    return change


def change_at(log: CallLog, changes: dict[int, Change]) -> Callable[[int], None]:
    """Return a callback that makes the change planned for each request number."""

    def change_before(number: int) -> None:
        if change := changes.get(number):
            change(log)

    return change_before


def assert_all_read(run: Run, log: CallLog) -> None:
    remaining = log.calls(FIRST_END)
    assert run.returncode == 0, run.stderr
    assert {call["id"] for call in remaining} <= set(run.ids("calls"))
    participations = {p["id"] for call in remaining for p in call["call_participations"]}
    assert participations <= set(run.ids("call_participations"))


# Changes that would lose calls if pages were requested by number.
SHIFTS: dict[str, tuple[dict[int, Change], Fault | None]] = {
    "two deleted, two finalized late": (
        {2: combine(delete(3, 4), add(call_ending_at(901, 31.5), call_ending_at(902, 32.5)))},
        None,
    ),
    "a call with a later end": ({2: combine(delete(10), add(call_ending_at(10, 35.5)))}, None),
    "deletions without X-Total-Count": (
        {2: delete(*range(1, 6))},
        faults.without_headers("X-Total-Count"),
    ),
    "deletions with a lagging count": ({2: delete(3), 3: delete(12)}, faults.lagging_count(2)),
    "deletions with a cached count": ({2: delete(3), 3: delete(12)}, faults.lagging_count(10**6)),
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_calls_that_shift_between_pages_are_read(
    tap: TapCommand, serve: SandboxFactory, shift: str
) -> None:
    changes, every_response = SHIFTS[shift]
    log = CallLog(make_calls(40))
    options = {} if every_response is None else {"every_response": every_response}
    sandbox = serve(log, on_request=change_at(log, changes), **options)

    run = tap(config=config_for(sandbox, page_size=10))

    assert_all_read(run, log)


@pytest.mark.parametrize("request_number", [2, 3, 4])
def test_no_call_is_lost_if_one_is_deleted_before_a_failure(
    tap: TapCommand, serve: SandboxFactory, request_number: int
) -> None:
    log = CallLog(make_calls(40))
    sandbox = serve(log, on_count=change_at(log, {request_number: delete(3)}))
    sandbox.faults.extend([*[None] * request_number, faults.status(403)])
    config = config_for(sandbox, page_size=10, lookback_window=0)

    ended = tap(config=config)
    sandbox.faults.clear()
    rest = tap(config=config, state=ended.state)

    assert set(ended.ids("calls")) | set(rest.ids("calls")) == set(range(1, 41))


def test_count_that_is_always_too_high_logs_a_warning(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    log = CallLog(make_calls(40))
    sandbox = serve(log, every_response=faults.miscounted(lambda count: count + 1))

    first = tap(config=config_for(sandbox, page_size=10))
    first_requests = len(sandbox.requests)
    second = tap(config=config_for(sandbox, page_size=10), state=first.state)

    assert_all_read(first, log)
    assert second.returncode == 0
    warning = "Tuple reported 41 calls but sent 40. The next run will ask for the missing ones."
    assert first.stderr.count(warning) == 1
    assert first_requests <= 4 + 4
    assert len(sandbox.requests) - first_requests <= 12


def test_calls_are_read_once_despite_deletions_and_additions(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    log = CallLog(make_calls(300))
    changes = {
        number: combine(
            delete(number, number + 1), add(call_ending_at(900 + number, 280.5 + number / 60))
        )
        for number in range(2, 16)
    }
    sandbox = serve(log, on_request=change_at(log, changes))

    run = tap(config=config_for(sandbox, page_size=20))

    assert_all_read(run, log)
    assert len(run.ids("calls")) == len(set(run.ids("calls")))


def test_last_row_of_a_changed_call_is_up_to_date(tap: TapCommand, serve: SandboxFactory) -> None:
    log = CallLog(make_calls(30))
    moved, edited = call_ending_at(5, 25.5), call_ending_at(10, 10) | {"duration_seconds": 7}
    sandbox = serve(log, on_request=change_at(log, {2: combine(delete(5, 10), add(moved, edited))}))

    run = tap(config=config_for(sandbox, page_size=10))

    last = {row["id"]: row for row in run.records("calls")}
    assert last[5]["ended_at"] == record_time(minute(25.5))
    assert last[10]["duration_seconds"] == 7
    assert len(run.ids("calls")) == 32


@pytest.mark.parametrize(
    ("calls", "page_size", "requests"),
    [(12_345, 1000, 13), (40, 10, 4), (35, 10, 4), (3, 10, 1), (0, 10, 1)],
)
def test_undisturbed_run_reads_every_call_once(
    tap: TapCommand, serve: SandboxFactory, calls: int, page_size: int, requests: int
) -> None:
    sandbox = serve(make_calls(calls))

    first = tap(config=config_for(sandbox, page_size=page_size))
    first_requests = len(sandbox.requests)
    second = tap(config=config_for(sandbox, lookback_window=0), state=first.state)

    assert first.ids("calls") == list(range(1, calls + 1))
    assert first_requests == requests
    assert len(sandbox.requests) == first_requests + 1
    assert second.ids("calls") == first.ids("calls")[-1:]


SERVERS: dict[str, dict[str, Any]] = {
    "smaller pages": {"max_per_page": 4},
    "no Link": {"every_response": faults.without_headers("Link")},
    "no X-Total-Count": {"every_response": faults.without_headers("X-Total-Count")},
    "neither header": {"every_response": faults.without_headers("Link", "X-Total-Count")},
    "neither header, smaller pages": {
        "every_response": faults.without_headers("Link", "X-Total-Count"),
        "max_per_page": 4,
    },
    "count that isn't a number": {"every_response": faults.with_headers(X_Total_Count="many")},
    "count of 0": {"every_response": faults.with_headers(X_Total_Count="0", Link="")},
    "count of 1": {"every_response": faults.with_headers(X_Total_Count="1", Link="")},
    "count that is too low": {"every_response": faults.miscounted(lambda count: count - 3)},
    "random count": {"every_response": faults.miscounted(RANDOM.randrange)},
    "lagging count": {"every_response": faults.lagging_count(2)},
    "truncated times": {"every_response": faults.in_milliseconds(is_rounded=False)},
    "rounded times": {"every_response": faults.in_milliseconds(is_rounded=True)},
    "endless links": {
        "every_response": faults.with_headers(
            Link='<https://elsewhere.example/?page=9&since=2099-01-01>; rel="next"'
        )
    },
}


@pytest.mark.parametrize("server", SERVERS)
def test_all_calls_are_read_from_a_misleading_server(
    tap: TapCommand, serve: SandboxFactory, server: str
) -> None:
    """Most calls end a minute apart. Nine end together, and another nine end 0.4 ms apart."""
    ends = [minute(20)] * 9 + [
        (FIRST_END + timedelta(minutes=30, microseconds=400 * index)).isoformat()
        for index in range(9)
    ]
    calls = [make_call(100 + index, ended_at=end) for index, end in enumerate(ends)]
    log = CallLog([*make_calls(60), *calls], shuffle_ties=RANDOM)
    sandbox = serve(log, **SERVERS[server])

    run = tap(config=config_for(sandbox, page_size=5), skip_waits=True)

    read = set(run.ids("calls"))
    assert read == {call["id"] for call in log.calls(FIRST_END)}
    assert len(sandbox.requests) < 150
    assert (run.returncode == 0) is (server != "endless links")
    if run.returncode:
        (error,) = run.errors
        assert error == (
            "Tuple reports more calls than it returns. Run again. If the problem persists, please "
            "report this. The run had already read 78 calls. The next run resumes from the last "
            "saved bookmark."
        )


def test_tied_calls_on_several_pages_are_read(tap: TapCommand, serve: SandboxFactory) -> None:
    tied = [make_call(number, ended_at=minute(20)) for number in range(20, 60)]
    log = CallLog([*make_calls(19), *tied, *(make_call(number) for number in range(60, 80))])
    changes = {
        4: delete(20, 21),
        5: combine(delete(22), add(call_ending_at(901, 20))),
        7: delete(30, 1),
    }
    sandbox = serve(log, on_request=change_at(log, changes), max_per_page=10)

    run = tap(config=config_for(sandbox, page_size=10))

    assert_all_read(run, log)
    assert len(sandbox.requests) < 40


def test_no_call_is_lost_if_a_request_among_tied_calls_fails(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    """The bookmark only advances after the second pass, which finds calls the first one missed."""
    tied = [make_call(number, ended_at=minute(20)) for number in range(20, 35)]
    log = CallLog([*make_calls(19), *tied, *(make_call(number) for number in range(60, 80))])
    # After page 1 of the tied calls, two of them are deleted and two later calls are finalized.
    change = combine(delete(20, 21), add(call_ending_at(901, 70.5), call_ending_at(902, 71.5)))
    for failing in range(4, 14):
        moving = CallLog(log.calls(FIRST_END))
        sandbox = serve(moving, on_request=change_at(moving, {4: change}), max_per_page=10)
        sandbox.faults.extend([None] * (failing - 1) + [faults.status(403)])

        failed = tap(config=config_for(sandbox, lookback_window=0))
        sandbox.faults.clear()
        rest = tap(config=config_for(sandbox, lookback_window=0), state=failed.state)

        assert rest.returncode == 0
        read = set(failed.ids("calls")) | set(rest.ids("calls"))
        assert {call["id"] for call in moving.calls(FIRST_END)} <= read, failing


IMPLAUSIBLE_RESPONSES: dict[str, tuple[Fault, str]] = {
    "unsorted": (
        faults.edited(lambda calls: calls[::-1]),
        "Tuple sent calls that aren't sorted by ended_at",
    ),
    "from before since": (
        faults.edited(lambda calls: [call_ending_at(1, -(10**6)), *calls]),
        "Tuple sent calls from outside the requested time range",
    ),
    "from after until": (
        faults.edited(lambda calls: [*calls, make_call(99, ended_at="2099-01-01T00:00:00Z")]),
        "Tuple sent calls from outside the requested time range",
    ),
    "empty": (faults.edited(lambda _: []), "Tuple sent no calls although it reported some"),
    "page 1 again": (
        faults.body(json.dumps(make_calls(10)).encode()),
        "Tuple sent calls from outside the requested time range",
    ),
}


@pytest.mark.parametrize("bad", IMPLAUSIBLE_RESPONSES)
def test_implausible_response_is_retried(tap: TapCommand, serve: SandboxFactory, bad: str) -> None:
    fault, reason = IMPLAUSIBLE_RESPONSES[bad]
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, fault])

    run = tap(config=config_for(sandbox, page_size=10), skip_waits=True)

    assert run.ids("calls") == list(range(1, 31))
    assert run.stderr.count(f"{reason}. Retrying in ") == 1
    assert len(sandbox.requests) == 4


@pytest.mark.parametrize("bad", IMPLAUSIBLE_RESPONSES)
def test_persistently_implausible_response_ends_the_run(
    tap: TapCommand, serve: SandboxFactory, bad: str
) -> None:
    fault, reason = IMPLAUSIBLE_RESPONSES[bad]
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, *[fault] * 40])

    run = tap(config=config_for(sandbox, page_size=10), skip_waits=True)

    assert run.returncode == 1
    assert run.ids("calls") == list(range(1, 11))
    assert len(sandbox.requests) == 9
    (error,) = run.errors
    assert error == (
        f"No valid response from {sandbox.url} after 8 attempts: {reason}. Run again later. If "
        "the problem persists, check api_url and your network. The run had already read 10 calls. "
        "The next run resumes from the last saved bookmark."
    )
    assert run.state["bookmarks"]["calls"]["replication_key_value"] == minute(10)


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("request_number", [1, 2, 3])
def test_rest_of_a_short_page_is_read(
    tap: TapCommand, serve: SandboxFactory, request_number: int, length: int
) -> None:
    sandbox = serve(make_calls(30))
    short = faults.edited(lambda calls: calls[:length])
    sandbox.faults.extend([*[None] * (request_number - 1), short])

    run = tap(config=config_for(sandbox, page_size=10))

    assert sorted(run.ids("calls")) == list(range(1, 31))


def test_no_call_is_lost_if_pages_are_smaller_than_the_overlap(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    """The server sends no header that would show that there are more calls."""
    calls = [make_call(number, ended_at=minute(number / 240)) for number in range(1, 41)]

    def shrink(number: int) -> None:
        if number > 2:
            sandbox.max_per_page = 3

    sandbox = serve(
        calls, on_request=shrink, every_response=faults.without_headers("Link", "X-Total-Count")
    )

    run = tap(config=config_for(sandbox, page_size=10), skip_waits=True)

    assert set(run.ids("calls")) == set(range(1, 41))
