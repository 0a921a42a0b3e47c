"""Timestamps of settings, bookmarks and the API."""

from __future__ import annotations

import pytest

from tap_tuple.timestamps import format_timestamp, parse_timestamp, to_utc


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-03-15T14:30:00.000Z", "2026-03-15T14:30:00.000Z"),
        ("2026-03-15T14:30:00Z", "2026-03-15T14:30:00Z"),
        ("2026-03-15T14:30:00.1234567Z", "2026-03-15T14:30:00.1234567Z"),
        ("2026-03-15T14:30:00.50+02:00", "2026-03-15T12:30:00.50Z"),
        ("2026-03-15T01:00:00.1234567-05:30", "2026-03-15T06:30:00.1234567Z"),
        ("2026-03-15T14:30:00", "2026-03-15T14:30:00Z"),
        ("2026-03-15T14:30:00.25", "2026-03-15T14:30:00.25Z"),
        ("2026-03-15 14:30:00Z", "2026-03-15T14:30:00Z"),
        ("2026-03-15T14:30:00+00:00", "2026-03-15T14:30:00Z"),
        ("0999-03-15T14:30:00.5+00:00", "0999-03-15T14:30:00.5Z"),
    ],
)
def test_the_decimals_stay_when_a_timestamp_moves_to_utc(text: str, written: str) -> None:
    assert to_utc(text) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid isoformat string"),
        ("yesterday", "Invalid isoformat string"),
        ("2026-13-01", "month must be in"),
        ("0001-01-01T00:00:00+02:00", "outside of the years 1 to 9999"),
    ],
)
def test_what_is_no_timestamp_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_utc(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-03-15", "2026-03-15T00:00:00.000Z"),
        ("2026-03-15T14:30:00+05:30", "2026-03-15T09:00:00.000Z"),
        ("2026-03-15T14:30:00.123456Z", "2026-03-15T14:30:00.123456Z"),
        ("2026-03-15T14:30:00.1234567Z", "2026-03-15T14:30:00.123456Z"),
    ],
)
def test_a_timestamp_is_sent_to_utc_and_never_later_than_it_was(text: str, written: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == written
