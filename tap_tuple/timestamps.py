"""The times of settings, state and API, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # earlier than any call: all history begins here

_USUAL = {"-T::.", "-T::Z"}
"""Every third character, from the hyphen before the day, of a timestamp as the API writes it."""


def parse_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 date or timestamp; no zone means UTC, a date alone is its midnight.

    Of the decimals, those up to microseconds are kept.

    Raises:
        ValueError: If the text is no timestamp, or one outside of the years 1 to 9999.
    """
    timestamp = datetime.fromisoformat(text)
    if timestamp.tzinfo is None:
        return timestamp.replace(tzinfo=UTC)
    try:
        return timestamp.astimezone(UTC)
    except OverflowError as error:
        msg = "outside of the years 1 to 9999"
        raise ValueError(msg) from error


def format_timestamp(timestamp: datetime) -> str:
    """Format a timestamp in UTC, with milliseconds as the API does, or more where it has more."""
    exact = timestamp.microsecond % 1000
    text = timestamp.astimezone(UTC).isoformat(timespec="microseconds" if exact else "milliseconds")
    return text.replace("+00:00", "Z")


def to_utc(text: str) -> str:
    """Convert a timestamp of the API to UTC, and keep its decimals, however many there are.

    Raises:
        ValueError: If the text is no timestamp.
    """
    datetime.fromisoformat(text)
    if text[-1] == "Z" and text[7:20:3] in _USUAL:
        return text
    seconds = parse_timestamp(text).replace(tzinfo=None).isoformat(timespec="seconds")
    decimals = re.search(r"[.,]([0-9]+)", text)
    return f"{seconds}.{decimals[1]}Z" if decimals else f"{seconds}Z"
