"""Calls with every oddity that the API might send and that could trip up a loader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.conftest import FIRST_END, expected_rows, make_call, make_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.company import Call

    Row = dict[str, Any]
    Rows = dict[str, list[Row]]

COUNT = 320
"""Calls in the first run, a minute apart, not counting those with special ids."""

PAGE_SIZE = 100
"""Calls per page. The first run takes several pages."""

LAST_END = FIRST_END + timedelta(minutes=COUNT)
LOOKBACK = timedelta(hours=1)
NEW_COUNT = 40
NEWEST_END = LAST_END + timedelta(minutes=NEW_COUNT)

EMAIL = r"""o'neill, "the \ quote"; größe|\N+\t@lumen.example"""
"""Characters that need quoting or escaping in CSV, in COPY's text format, or in SQL."""

TWO_TO_THE_53RD = 2**53
"""A loader that converts ids to floats can't represent the next number."""


def odd_calls() -> list[Call]:
    """Return the calls of the first run."""
    calls = make_calls(COUNT)
    for number, make_odd in _ODDITIES.items():
        make_odd(calls[number - 1])
    for number in range(20, COUNT, 20):
        calls[number]["ended_at"] = calls[number - 1]["ended_at"]
    return [
        *calls,
        # The tests' PostgreSQL uses the time zone of New York, where clocks changed at these times.
        # As local times, the first one doesn't exist and the second one is ambiguous.
        make_call(8_001, ended_at="2025-03-09T02:30:00.250Z"),
        make_call(8_002, ended_at="2025-11-02T01:30:00.750Z"),
        make_call(8_003, ended_at="1999-12-31T23:59:59.999999Z"),
    ]


def newer_calls() -> list[Call]:
    """Return the calls that are new in the second run. One of them was finalized late."""
    late = LAST_END - timedelta(minutes=30, milliseconds=-1)
    later = [make_call(COUNT + number, participations=3) for number in range(1, NEW_COUNT + 1)]
    return [make_call(9_001, ended_at=late), *later]


def calls_read_again(calls: list[Call]) -> list[Call]:
    """Return the calls of the first run that the second run reads again."""
    return [call for call in calls if _instant(call["ended_at"]) >= LAST_END - LOOKBACK]


def rows_of(calls: list[Call]) -> Rows:
    """Return the expected rows of calls, by stream, with timestamps as instants."""
    streams = zip(("calls", "call_participations"), expected_rows(calls), strict=True)
    return {name: [as_values(row) for row in rows] for name, rows in streams}


def as_values(row: Row) -> Row:
    """Convert the columns that a loader wrote to values that can be compared.

    A timestamp column without a time zone is in UTC, because the tap writes only UTC. A timestamp
    that was stored as text must include its time zone.
    """
    return {name: _value(name, each) for name, each in row.items()}


def _value(name: str, value: Any) -> Any:
    if value in (None, ""):
        return None
    if name.endswith("_at"):
        return _instant(value)
    return value if name == "user_email" else int(value)


def _instant(value: str | datetime) -> datetime:
    if isinstance(value, str):
        timestamp = datetime.fromisoformat(value)
        assert timestamp.tzinfo, f"{value} has no zone"
        return timestamp.astimezone(UTC)
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _set(**values: Any) -> Callable[[Call], None]:
    return lambda call: call.update(values)


def _set_first(**values: Any) -> Callable[[Call], None]:
    return lambda call: call["call_participations"][0].update(values)


_ODDITIES: dict[int, Callable[[Call], None]] = {
    # Keep the very first row normal, because some loaders treat it differently.
    2: _set(call_participations=[]),
    3: _set_first(user=None),
    4: _set_first(user={"email": None}),
    5: _set_first(left_at=None),
    6: _set_first(joined_at=None, left_at=None, user=None),
    7: _set_first(user={"email": EMAIL}),
    8: _set_first(user={"email": "NULL"}),
    9: _set(duration_seconds=0),
    10: _set(duration_seconds=None, started_at=None),
    11: _set(ended_at="2026-03-02T09:11:00.123456Z"),
    12: _set(ended_at="2026-03-02T09:12:00Z"),
    13: _set(ended_at="2026-03-02T14:43:00.007+05:30"),
    14: _set(id=TWO_TO_THE_53RD + 1),
    15: _set_first(id=TWO_TO_THE_53RD + 3),
    # The last call of a page, and the first of the next.
    PAGE_SIZE: _set(call_participations=[]),
    PAGE_SIZE + 1: _set(call_participations=[]),
    # Two calls that the second run reads again.
    COUNT - 5: _set_first(user={"email": EMAIL}),
    COUNT - 4: _set(call_participations=[]),
}
