"""Random histories of a team's calls never lose a row, despite faults, kills and resumed runs.

To run more of them, and the same ones each time, use
``uv run pytest tests/test_histories.py --histories 5000 --histories-seed 7``.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st
from singer_sdk.exceptions import SingerSDKError

from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.sandbox.server import Response
from tap_tuple.tap import TapTuple
from tap_tuple.timestamps import parse_timestamp
from tests.conftest import FIRST_END, expected_rows, make_call
from tests.in_process import KilledError, Pipe, SimulatedClock, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_tuple.sandbox.company import Call
    from tap_tuple.sandbox.server import Fault

LOOKBACK_SECONDS = 6
MAX_REQUESTS = 1000
SECONDS_PER_RUN = 12
STREAMS = ("calls", "call_participations")
KEYS = dict(zip(STREAMS, ("ended_at", "call_ended_at"), strict=True))

FAULTS = {
    "server error": faults.status(500),
    "gateway page": faults.status(502, b"<html>bad gateway</html>"),
    "rate limit": faults.rate_limited("7"),
    "closed connection": faults.reset,
    "truncated body": faults.truncated,
    "html": faults.body(b"<html>maintenance</html>"),
    "object": faults.body(b'{"calls": []}'),
    "no link": faults.without_headers("Link"),
    "no total": faults.without_headers("X-Total-Count"),
    "short page": faults.edited(lambda calls: calls[: len(calls) // 2]),
    "empty page": faults.edited(lambda _: []),
    "unsorted": faults.edited(lambda calls: calls[::-1]),
    "rejected": faults.status(403),
}


def header_fault(kind: str, seed_value: int) -> Fault:
    """Return a fault that sets the headers of all responses in a run."""
    random = Random(seed_value)  # noqa: S311 - not for secrets
    kinds: dict[str, Fault] = {
        "correct": lambda response: response,
        "no link": faults.without_headers("Link"),
        "no count": faults.without_headers("X-Total-Count"),
        "neither": faults.without_headers("Link", "X-Total-Count"),
        "one too high": faults.miscounted(lambda count: count + 1),
        "one too low": faults.miscounted(lambda count: max(0, count - 1)),
        "lagging": faults.lagging_count(2),
        "random": faults.miscounted(lambda count: random.randint(0, 2 * count + 1)),
        "always a link": faults.with_headers(Link='</api/v2/call_usage?page=2>; rel="next"'),
    }
    return kinds[kind]


CORRECT_HEADERS = ("correct", "correct", "correct", "no link", "no count", "neither")
WRONG_HEADERS = ("one too high", "one too low", "lagging", "random", "always a link")
PRECISIONS: dict[str, Fault] = {
    "exact": lambda response: response,
    "truncated": faults.in_milliseconds(is_rounded=False),
    "rounded": faults.in_milliseconds(is_rounded=True),
}

CATALOG = (Path(__file__).parent / "catalog.json").read_text(encoding="utf-8")


@dataclass
class Change:
    """Changes to the source before a request."""

    deleted: list[int]
    """Positions of calls in the source."""
    late: list[float]
    """Ends of calls finalized late, in seconds before the end of the period."""
    postponed: list[tuple[int, float]]
    """Positions of calls whose end is postponed, and by how many seconds."""
    edited: list[int]
    """Positions of calls that lose a participation."""


@dataclass
class RunPlan:
    """One run, and everything that happens before it and during it."""

    new_seconds: list[float]
    """Ends of calls completed before the run, in seconds since the start of its period."""
    ties: list[tuple[float, int]]
    """Times at which several calls end, and the number of calls."""
    late_before: list[float]
    """Ends of calls finalized since the previous run, in seconds before this run's period."""
    page_size: int
    max_per_page: int
    selected: tuple[str, ...]
    killed_after_lines: int | None
    faults: dict[int, str]
    headers: str
    changes: dict[int, Change]
    """Changes by the number of the request that they precede."""
    changes_after_count: dict[int, Change]
    """Changes that happen after the server counts the calls, but before it selects them."""
    seed: int
    """The seed for random headers and orders."""
    reorders_ties: bool = False
    """Whether each response orders calls with the same end differently."""

    @property
    def is_undisturbed(self) -> bool:
        """Whether the source doesn't change, and headers are either correct or missing."""
        return not (self.faults or self.changes or self.changes_after_count) and (
            self.headers in CORRECT_HEADERS
        )


def instants(last_second: int) -> st.SearchStrategy[float]:
    """Generate mostly whole seconds, so that calls tie, but also fractions of a millisecond."""
    decimals = st.sampled_from([0.0, 0.0, 0.0, 0.0004, 0.0006, 0.001499, 0.25])
    return st.builds(float.__add__, st.integers(0, last_second).map(float), decimals)


new_seconds = instants(SECONDS_PER_RUN - 1)
# This stays below LOOKBACK_SECONDS because a rounded bookmark may be half a millisecond too late.
late_seconds = instants(LOOKBACK_SECONDS - 1)
request_numbers = st.integers(1, 10)
positions = st.integers(0, 40)
changes = st.builds(
    Change,
    deleted=st.lists(positions, max_size=3),
    late=st.lists(late_seconds, max_size=2),
    postponed=st.lists(st.tuples(positions, instants(SECONDS_PER_RUN)), max_size=2),
    edited=st.lists(positions, max_size=2),
)
run_plans = st.builds(
    RunPlan,
    new_seconds=st.lists(new_seconds, max_size=14),
    ties=st.lists(st.tuples(new_seconds, st.integers(2, 9)), max_size=1),
    late_before=st.lists(late_seconds, max_size=2),
    page_size=st.integers(1, 6),
    max_per_page=st.sampled_from([2, 3, 4, 1000, 1000]),
    selected=st.sampled_from([STREAMS, STREAMS[:1], STREAMS[1:]]),
    killed_after_lines=st.none() | st.integers(1, 40),
    faults=st.dictionaries(request_numbers, st.sampled_from(sorted(FAULTS)), max_size=3),
    headers=st.sampled_from(CORRECT_HEADERS) | st.sampled_from(WRONG_HEADERS),
    changes=st.dictionaries(request_numbers, changes, max_size=3),
    changes_after_count=st.dictionaries(request_numbers, changes, max_size=1),
    seed=st.integers(0, 1000),
    reorders_ties=st.sampled_from([False, False, True]),
)
# Servers without a tie-breaker: more calls end at the same time than fit on a page, and each
# response orders them differently. Little else goes wrong, so runs finish and bookmarks advance.
plans_with_reordered_ties = st.builds(
    RunPlan,
    new_seconds=st.lists(new_seconds, max_size=4),
    ties=st.lists(st.tuples(instants(3), st.integers(4, 12)), min_size=1, max_size=2),
    late_before=st.just([]),
    page_size=st.integers(1, 6),
    max_per_page=st.sampled_from([2, 3, 4, 5, 6]),
    selected=st.just(STREAMS),
    killed_after_lines=st.just(None),
    faults=st.just({})
    | st.dictionaries(request_numbers, st.sampled_from(sorted(FAULTS)), max_size=1),
    headers=st.sampled_from(CORRECT_HEADERS) | st.sampled_from(WRONG_HEADERS),
    changes=st.just({}) | st.dictionaries(request_numbers, changes, max_size=1),
    changes_after_count=st.just({}),
    seed=st.integers(0, 1000),
    reorders_ties=st.sampled_from([True]),
)


def in_microseconds(time: datetime) -> str:
    """Format a time with the precision of Tuple's database."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class Source:
    """Tuple's current calls, and every version of every call it has ever had."""

    precision: str
    log: CallLog = field(default_factory=CallLog)
    versions: dict[int, list[Call]] = field(default_factory=dict)

    def add(self, second: float) -> None:
        number = len(self.versions) + 1
        ended_at = in_microseconds(FIRST_END + timedelta(seconds=second))
        call = make_call(number, ended_at=ended_at, participations=number % 4)
        self.versions[number] = [call]
        self.log.add(call)

    def change(self, change: Change, end: float) -> None:
        calls = list(self.log.calls(FIRST_END))
        for position, seconds in change.postponed:
            if position < len(calls):
                ended = datetime.fromisoformat(calls[position]["ended_at"])
                latest = FIRST_END + timedelta(seconds=end)
                later = max(ended, min(ended + timedelta(seconds=seconds), latest))
                self._replace(calls[position], ended_at=in_microseconds(later))
        for position in change.edited:
            if position < len(calls):
                participations = calls[position]["call_participations"]
                self._replace(calls[position], call_participations=participations[1:])
        for number in {
            calls[position]["id"] for position in change.deleted if position < len(calls)
        }:
            self.log.delete(number)
        for before_end in change.late:
            self.add(end - before_end)

    def _replace(self, call: Call, **edits: Any) -> None:
        number = call["id"]
        latest = self.versions[number][-1]
        self.log.delete(number)
        self.versions[number].append(latest | edits)
        self.log.add(latest | edits)

    def as_sent(self, calls: list[Call]) -> list[Call]:
        """Return calls as the API sends them, with less precise times."""
        response = PRECISIONS[self.precision](Response(200, json.dumps(calls).encode()))
        assert response
        as_sent: list[Call] = json.loads(response.body)
        return as_sent


def bookmark_of(state: dict[str, Any], stream: str) -> datetime:
    """Return a stream's bookmark, or the epoch if it's missing."""
    bookmark = state.get("bookmarks", {}).get(stream, {})
    return parse_timestamp(bookmark.get("replication_key_value", "1970-01-01"))


@dataclass
class Target:
    """A target that keeps rows up to the last STATE, and later ones only if the run finished."""

    rows: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {name: {} for name in STREAMS}
    )
    state: dict[str, Any] = field(default_factory=dict)

    def take(self, lines: list[bytes], *, finished: bool) -> None:
        pending: list[dict[str, Any]] = []
        for line in lines:
            message = json.loads(line)
            if message["type"] == "RECORD":
                pending.append(message)
            elif message["type"] == "STATE":
                self._keep(pending)
                pending = []
                self._advance(message["value"])
        if finished:
            self._keep(pending)

    def latest_bookmark(self) -> datetime:
        """Return the later of the two bookmarks. The next run reads all calls that end after it."""
        return max(bookmark_of(self.state, name) for name in STREAMS)

    def _keep(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self.rows[record["stream"]][record["record"]["id"]] = record["record"]

    def _advance(self, state: dict[str, Any]) -> None:
        for name in STREAMS:
            before, after = bookmark_of(self.state, name), bookmark_of(state, name)
            assert after >= before, f"the bookmark of {name} moved back"
        self.state = state


def run_tap(source: Source, target: Target, plan: RunPlan, end: float) -> bool:
    """Run the tap once, pass its output to the target, and return whether the run finished."""

    def change(changes: dict[int, Change], number: int) -> None:
        if number in changes:
            source.change(changes[number], end)

    source.log.shuffle_ties = Random(plan.seed) if plan.reorders_ties else None  # noqa: S311
    sandbox = Sandbox(
        source.log,
        on_request=lambda number: change(plan.changes, number),
        on_count=lambda number: change(plan.changes_after_count, number),
        every_response=faults.all_of(
            PRECISIONS[source.precision], header_fault(plan.headers, plan.seed)
        ),
        max_per_page=plan.max_per_page,
        requests_per_minute=10_000,
    )
    with sandbox:
        by_number = (FAULTS.get(plan.faults.get(number, "")) for number in range(1, 9))
        sandbox.faults.extend(by_number)
        catalog = json.loads(CATALOG)
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in plan.selected
        config = {
            "api_url": sandbox.url,
            "api_token": sandbox.token,
            "page_size": plan.page_size,
            "lookback_window": LOOKBACK_SECONDS,
            "requests_per_minute": 10_000,
        }
        pipe = Pipe(plan.killed_after_lines)
        finished = False
        with simulated(pipe, SimulatedClock()):
            try:
                state = json.loads(json.dumps(target.state))
                TapTuple(config=config, state=state, catalog=catalog).sync_all()
                finished = True
                event("finished")
            except KilledError:
                event("killed")
            except SingerSDKError as error:
                event(f"{type(error).__name__} {plan.headers}")
    target.take(pipe.lines, finished=finished)
    assert len(sandbox.requests) < MAX_REQUESTS
    return finished


@pytest.fixture(autouse=True)
def _silence_logs() -> Iterator[None]:
    """Silence the log of thousands of runs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_no_row_is_lost_in_random_histories(histories_options: tuple[int, int]) -> None:
    count, seed_value = histories_options

    @seed(seed_value)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(
        st.sampled_from(sorted(PRECISIONS)),
        st.lists(run_plans | plans_with_reordered_ties, min_size=1, max_size=3),
    )
    def history(precision: str, plans: list[RunPlan]) -> None:
        source, target = Source(precision), Target()
        for number, plan in enumerate(plans):
            start = number * SECONDS_PER_RUN
            for before_start in plan.late_before if number else ():
                source.add(start - before_start)
            for second in plan.new_seconds:
                source.add(start + second)
            for second, count in plan.ties:
                for _ in range(count):
                    source.add(start + second)
            finished = run_tap(source, target, plan, start + SECONDS_PER_RUN - 1)
            if finished and plan.is_undisturbed and plan.selected == STREAMS:
                present = {call["id"] for call in source.log.calls(FIRST_END)}
                skipped = present - target.rows["calls"].keys()
                assert not skipped, f"an undisturbed run skipped {skipped}"
        undisturbed = RunPlan([], [], [], 5, 1000, STREAMS, None, {}, "correct", {}, {}, 0)
        since = target.latest_bookmark()
        assert run_tap(source, target, undisturbed, len(plans) * SECONDS_PER_RUN)

        remaining = source.as_sent(list(source.log.calls(FIRST_END)))
        ever_sent = source.as_sent([call for calls in source.versions.values() for call in calls])
        for name, rows, known in zip(
            STREAMS, expected_rows(remaining), expected_rows(ever_sent), strict=True
        ):
            kept = target.rows[name]
            missing = [row["id"] for row in rows if row["id"] not in kept]
            assert not missing, f"{name} lost {missing}"
            stale = [
                row
                for row in rows
                if parse_timestamp(row[KEYS[name]]) >= since and kept[row["id"]] != row
            ]
            assert not stale, f"{name} has outdated rows: {stale}"
            assert all(row in known for row in kept.values())

    history()
