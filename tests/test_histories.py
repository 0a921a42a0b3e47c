"""Random histories of a team's calls, with faults, kills and resumptions: nothing is ever lost.

``uv run pytest tests/test_histories.py --histories 5000 --histories-seed 7`` plays more of them,
and the same ones again. Left out is the one change that page numbers cannot show: a call deleted
from the pages read so far and another one finalised behind them, between the same two requests.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st
from singer_sdk.exceptions import SingerSDKError

from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.tap import TapTuple
from tests.conftest import FIRST_END, api_time, expected_rows, make_call
from tests.in_process import KilledError, Pipe, StandingClock, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_tuple.sandbox.company import Call

LOOKBACK_SECONDS = 6
SECONDS_PER_RUN = 12
STREAMS = ("calls", "call_participations")
KEYS = dict(zip(STREAMS, ("ended_at", "call_ended_at"), strict=True))

FAULTS = {
    "server error": faults.status(500),
    "gateway page": faults.status(502, b"<html>bad gateway</html>"),
    "rate limit": faults.rate_limited("7"),
    "cut connection": faults.reset,
    "cut body": faults.truncated,
    "html": faults.body(b"<html>maintenance</html>"),
    "object": faults.body(b'{"calls": []}'),
    "no link": faults.without_headers("Link"),
    "no total": faults.without_headers("X-Total-Count"),
    "short page": faults.edited(lambda calls: calls[: len(calls) // 2]),
    "empty page": faults.edited(lambda _: []),
    "unsorted": faults.edited(lambda calls: calls[::-1]),
    "refused": faults.status(403),
}


CATALOG = (Path(__file__).parent / "catalog.json").read_text(encoding="utf-8")


@dataclass
class Play:
    """What happens in one run of the tap."""

    new_seconds: list[int]
    """When calls end that are completed before the run, counted from its period's start."""
    late_before: list[int]
    """Calls finalised late before the run: seconds before the period's start."""
    page_size: int
    selected: tuple[str, ...]
    killed_after_lines: int | None
    faults: dict[int, str]
    deletions: dict[int, list[int]]
    """Places in the source, by the number of the request before which they are deleted."""
    late: dict[int, list[int]]
    """Calls finalised late during the run: seconds before its end, by the request's number."""


seconds = st.integers(0, SECONDS_PER_RUN - 1)
late_seconds = st.integers(0, LOOKBACK_SECONDS)
request_numbers = st.integers(1, 8)
places = st.integers(0, 40)
plays = st.builds(
    Play,
    new_seconds=st.lists(seconds, max_size=14),
    late_before=st.lists(late_seconds, max_size=2),
    page_size=st.integers(1, 6),
    selected=st.sampled_from([STREAMS, STREAMS[:1], STREAMS[1:]]),
    killed_after_lines=st.none() | st.integers(1, 40),
    faults=st.dictionaries(request_numbers, st.sampled_from(sorted(FAULTS)), max_size=3),
    deletions=st.dictionaries(request_numbers, st.lists(places, max_size=3), max_size=2),
    late=st.dictionaries(request_numbers, st.lists(late_seconds, max_size=2), max_size=2),
)


@dataclass
class Source:
    """The calls that Tuple has, and all that it ever had."""

    log: CallLog = field(default_factory=CallLog)
    ever: dict[int, Call] = field(default_factory=dict)

    def add(self, second: int) -> None:
        number = len(self.ever) + 1
        call = make_call(
            number,
            ended_at=api_time(FIRST_END + timedelta(seconds=second)),
            participations=number % 4,
        )
        self.ever[number] = call
        self.log.add(call)

    def delete(self, places: list[int]) -> None:
        calls = self.log.calls(FIRST_END)
        for number in {calls[place]["id"] for place in places if place < len(calls)}:
            self.log.delete(number)


@dataclass
class Target:
    """Keeps what a run wrote up to its last STATE, and more only if the run came to its end."""

    rows: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {name: {} for name in STREAMS}
    )
    state: dict[str, Any] = field(default_factory=dict)

    def take(self, lines: list[bytes], *, came_to_its_end: bool) -> None:
        pending: list[dict[str, Any]] = []
        for line in lines:
            message = json.loads(line)
            if message["type"] == "RECORD":
                pending.append(message)
            elif message["type"] == "STATE":
                self._keep(pending)
                pending = []
                self._advance(message["value"])
        if came_to_its_end:
            self._keep(pending)

    def _keep(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self.rows[record["stream"]][record["record"]["id"]] = record["record"]

    def _advance(self, state: dict[str, Any]) -> None:
        for name in STREAMS:
            before, after = (
                each.get("bookmarks", {}).get(name, {}).get("replication_key_value", "")
                for each in (self.state, state)
            )
            assert after >= before, f"the bookmark of {name} moved back"
        self.state = state


def play(source: Source, target: Target, each: Play, end: int) -> None:
    """Run the tap once, and let the target take what it wrote."""

    def on_request(number: int) -> None:
        if number in each.deletions:
            source.delete(each.deletions[number])
        else:
            for before_end in each.late.get(number, ()):
                source.add(end - before_end)

    with Sandbox(source.log, on_request=on_request, requests_per_minute=10_000) as sandbox:
        by_number = (FAULTS.get(each.faults.get(number, "")) for number in range(1, 9))
        sandbox.faults.extend(by_number)
        catalog = json.loads(CATALOG)
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in each.selected
        config = {
            "api_url": sandbox.url,
            "api_token": sandbox.token,
            "page_size": each.page_size,
            "lookback_window": LOOKBACK_SECONDS,
            "requests_per_minute": 10_000,
        }
        pipe = Pipe(each.killed_after_lines)
        came_to_its_end = False
        with standing_in(pipe, StandingClock()):
            try:
                state = json.loads(json.dumps(target.state))
                TapTuple(config=config, state=state, catalog=catalog).sync_all()
                came_to_its_end = True
                event("came to its end")
            except KilledError:
                event("killed")
            except SingerSDKError as error:
                event(type(error).__name__)
    target.take(pipe.lines, came_to_its_end=came_to_its_end)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep the log of thousands of runs to itself."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_the_union_of_what_was_kept_is_the_source(histories_wanted: tuple[int, int]) -> None:
    count, seed_value = histories_wanted

    @seed(seed_value)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.lists(plays, min_size=1, max_size=4))
    def history(script: list[Play]) -> None:
        source, target = Source(), Target()
        for number, each in enumerate(script):
            start = number * SECONDS_PER_RUN
            for before_start in each.late_before if number else ():
                source.add(start - 1 - before_start)
            for second in each.new_seconds:
                source.add(start + second)
            play(source, target, each, start + SECONDS_PER_RUN - 1)
        undisturbed = Play([], [], 5, STREAMS, None, {}, {}, {})
        play(source, target, undisturbed, len(script) * SECONDS_PER_RUN)

        left = list(source.log.calls(FIRST_END))
        every = list(source.ever.values())
        for name, rows, known in zip(
            STREAMS, expected_rows(left), expected_rows(every), strict=True
        ):
            kept = target.rows[name]
            missing = [row["id"] for row in rows if row["id"] not in kept]
            assert not missing, f"{name} lost {missing}"
            known_rows = {row["id"]: row for row in known}
            assert all(known_rows[number] == row for number, row in kept.items())

    history()
