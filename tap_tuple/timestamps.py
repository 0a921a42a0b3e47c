"""The times of settings, state and API, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # earlier than any call: all history begins here


def parse_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 timestamp or date, which means its midnight. Without a time zone, it's UTC.

    Digits beyond microseconds are truncated.

    Raises:
        ValueError: If the text isn't a timestamp, or is outside the years 1 to 9999 in UTC.
    """
    return to_utc(datetime.fromisoformat(text))


def to_utc(timestamp: datetime) -> datetime:
    """Convert a timestamp to UTC. Without a time zone, it already is UTC.

    Raises:
        ValueError: If the result is outside the years 1 to 9999.
    """
    if timestamp.tzinfo is UTC:
        return timestamp
    if timestamp.tzinfo is None:
        return timestamp.replace(tzinfo=UTC)
    try:
        return timestamp.astimezone(UTC)
    except OverflowError:
        msg = "outside the years 1 to 9999"
        raise ValueError(msg) from None


def format_timestamp(timestamp: datetime) -> str:
    """Format a timestamp in UTC, with milliseconds as the API does, or with microseconds."""
    has_microseconds = timestamp.microsecond % 1000 > 0
    precision = "microseconds" if has_microseconds else "milliseconds"
    return timestamp.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
