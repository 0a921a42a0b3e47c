"""Runs `CallPages` against thousands of random servers, without HTTP. It never loses a call.

`tests/test_histories.py` simulates whole runs over HTTP. This module tries more servers in less
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from urllib.parse import parse_qsl

import pytest
import requests

from tap_tuple.api.pagination import CallPages
from tap_tuple.api.response import Call, UnexpectedResponseError
from tap_tuple.timestamps import format_timestamp, parse_timestamp
from tests.conftest import FIRST_END

FEW_SERVERS = 400
SERVERS = 2_000
SECONDS = 40
MAX_REQUESTS = 1_000
SINCE = FIRST_END - timedelta(seconds=5)

CORRECT_HEADERS = ["correct", "correct", "neither", "no count", "no link"]
WRONG_HEADERS = ["count too high", "count too low", "random count", "always a link"]


@dataclass
class Server:
    """A server whose calls end within a few seconds of each other, or at the same time."""

    random: Random
    calls: dict[int, Call]
    headers: str
    max_per_page: int
    reorders_ties: bool
    responses: int = 0

    def respond(self, query: dict[str, str]) -> tuple[requests.Response, list[Call]]:
        """Return a response that only has headers, and the calls on its page."""
        self.responses += 1
        per_page = min(int(query["per_page"]), self.max_per_page)
        page = int(query.get("page", "1"))
        since = parse_timestamp(query["since"])
        matching = sorted(
            (call for call in self.calls.values() if call.ended_at >= since), key=self.order
        )
        is_last_page = page * per_page >= len(matching)

        response = requests.Response()
        if self.headers not in {"neither", "no count"}:
            response.headers["X-Total-Count"] = str(self.count(len(matching)))
        if self.headers not in {"neither", "no link"} and not is_last_page:
            response.headers["Link"] = '</next>; rel="next"'
        if self.headers == "always a link":
            response.headers["Link"] = '</next>; rel="next"'
        return response, matching[(page - 1) * per_page : page * per_page]

    def order(self, call: Call) -> tuple[datetime, float]:
        return call.ended_at, self.random.random() if self.reorders_ties else call.id

    def count(self, matching: int) -> int:
        if self.headers == "count too high":
            return matching + 1
        if self.headers == "count too low":
            return max(0, matching - 1)
        if self.headers == "random count":
            return self.random.randint(0, 2 * matching + 1)
        return matching

    def change_a_call(self) -> int:
        """Add, delete, move or edit a call, and return its id."""
        kind = self.random.choice(["add", "delete", "move", "edit"])
        if kind == "add" or not self.calls:
            call_id = 1000 + self.responses
            ends = [call.ended_at for call in self.calls.values()]
            second = self.random.randint(0, SECONDS)
            end = self.random.choice([*ends, FIRST_END])
            self.calls[call_id] = (
                Call(id=call_id, ended_at=end)
                if self.random.random() < 0.5
                else call_ending_at(second, call_id)
            )
            return call_id

        call = self.calls.pop(self.random.choice(list(self.calls)))
        if kind == "move":
            later = call.ended_at + timedelta(seconds=self.random.choice([1, 5, 10]))
            self.calls[call.id] = Call(id=call.id, ended_at=later)
        if kind == "edit":
            self.calls[call.id] = Call(
                id=call.id, ended_at=call.ended_at, duration_seconds=self.responses
            )
        return call.id


def call_ending_at(second: float, call_id: int) -> Call:
    return Call(id=call_id, ended_at=FIRST_END + timedelta(seconds=second))


def random_server(random: Random) -> Server:
    ends: list[float] = [random.randint(0, SECONDS) for _ in range(random.randint(0, 4))]
    ends += [round(random.random() * SECONDS, 3) for _ in range(random.randint(0, 4))]
    for _ in range(random.randint(1, 2)):
        ends += [random.randint(0, SECONDS)] * random.randint(2, 14)
    return Server(
        random,
        calls={number: call_ending_at(end, number) for number, end in enumerate(ends, start=1)},
        headers=random.choice(CORRECT_HEADERS + WRONG_HEADERS),
        max_per_page=random.choice([1, 2, 3, 4, 5, 6, 1000]),
        reorders_ties=random.random() < 0.5,
    )


@pytest.mark.parametrize(
    "seeds",
    [range(FEW_SERVERS), pytest.param(range(FEW_SERVERS, SERVERS), marks=pytest.mark.slow)],
    ids=["few servers", "more servers"],
)
@pytest.mark.parametrize("changes", [False, True], ids=["stable calls", "changing calls"])
def test_calls_are_never_lost_on_random_servers(changes: bool, seeds: range) -> None:  # noqa: FBT001 - a parameter
    for seed in seeds:
        random = Random(seed)  # noqa: S311 - not for secrets
        server = random_server(random)
        changed: set[int] = set()
        page_size = random.randint(1, 6)
        pages = CallPages(SINCE, page_size)
        query = {"since": format_timestamp(SINCE), "per_page": str(page_size)}
        read: set[int] = set()

        def lost(until: datetime | None = None) -> set[int]:
            """Return unread calls that existed the whole time."""
            return {
                call.id
                for call in server.calls.values()  # noqa: B023 - called in this iteration
                if call.id not in changed | read  # noqa: B023
                and (until is None or call.ended_at < until)
            }

        while True:
            if changes and server.responses < 20 and random.random() < 0.3:
                changed.add(server.change_a_call())
            response, calls = server.respond(query)
            try:
                page = pages.take(response, calls)
            except UnexpectedResponseError:
                assert server.headers == "always a link" or changes, seed
                break
            read |= {call.id for call in page.calls}
            if page.read_until:
                assert not lost(until=page.read_until), f"the bookmark passed a call, seed {seed}"
            pages.advance(response)
            if pages.finished:
                if server.headers in CORRECT_HEADERS or not changes:
                    assert not lost(), f"the run left out a call, seed {seed}"
                break
            assert server.responses < MAX_REQUESTS, seed
            assert pages.current_value
            query = dict(parse_qsl(pages.current_value.query))
