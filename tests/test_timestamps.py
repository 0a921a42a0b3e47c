"""Parsing and formatting timestamps."""

from __future__ import annotations

import pytest

from tap_tuple.timestamps import format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid isoformat string"),
        ("yesterday", "Invalid isoformat string"),
        ("2026-13-01", "month must be in"),
        ("0001-01-01T00:00:00+02:00", "outside the years 1 to 9999"),
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
        ("2026-03-15T14:30:00.123456Z", "2026-03-15T14:30:00.123456Z"),
        ("2026-03-15T14:30:00.1234567Z", "2026-03-15T14:30:00.123456Z"),
    ],
)
def test_timestamp_is_formatted_in_utc(text: str, formatted: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == formatted
