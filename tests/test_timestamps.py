"""Parsing and formatting timestamps, and time ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tap_tuple.timestamps import EPOCH, TimeRange, format_timestamp, parse_timestamp, to_utc

NINE = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
ELEVEN = datetime(2026, 11, 27, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid isoformat string"),
        ("yesterday", "Invalid isoformat string"),
        ("2026-13-01", "month must be in"),
        ("0001-01-01T00:00:00+02:00", "outside the years 1 to 9999"),
        ("9999-12-31T23:00:00-02:00", "outside the years 1 to 9999"),
    ],
)
def test_invalid_timestamp_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("2026-03-15", "2026-03-15T00:00:00.000Z"),
        ("2026-03-15T14:30:00", "2026-03-15T14:30:00.000Z"),
        ("2026-03-15 14:30Z", "2026-03-15T14:30:00.000Z"),
        ("2026-03-15T14:30:00+05:30", "2026-03-15T09:00:00.000Z"),
        ("2026-03-15T14:30:00.001Z", "2026-03-15T14:30:00.001Z"),
        ("2026-03-15T14:30:00.000001Z", "2026-03-15T14:30:00.000001Z"),
        ("2026-03-15T14:30:00.123456Z", "2026-03-15T14:30:00.123456Z"),
        ("2026-03-15T14:30:00.1234567Z", "2026-03-15T14:30:00.123456Z"),
    ],
)
def test_timestamp_is_formatted_in_utc(text: str, formatted: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == formatted


def test_timestamp_without_a_zone_is_utc() -> None:
    assert to_utc(NINE.replace(tzinfo=None)) == NINE
    assert to_utc(NINE.replace(tzinfo=None)).tzinfo is UTC


def test_timestamp_with_an_offset_is_converted() -> None:
    converted = to_utc(NINE.astimezone(timezone(timedelta(hours=2))))

    assert converted == NINE
    assert converted.tzinfo is UTC


def test_time_range_is_empty_if_start_equals_end() -> None:
    assert TimeRange(NINE, NINE).is_empty
    assert TimeRange(ELEVEN, NINE).is_empty
    assert not TimeRange(NINE, ELEVEN).is_empty


def test_time_range_is_displayed_in_utc() -> None:
    shown = "calls that ended between 2026-11-27T09:00:00.000Z and 2026-11-27T11:00:00.000Z"
    assert str(TimeRange(NINE, ELEVEN)) == shown


def test_all_history_is_displayed_without_a_start() -> None:
    shown = "all calls that ended before 2026-11-27T09:00:00.000Z"
    assert str(TimeRange(EPOCH, NINE)) == shown
