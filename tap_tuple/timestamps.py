"""Timestamps in settings, state and responses: parsing, formatting and ranges, all in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from typing_extensions import override

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier than any call."""


@dataclass(frozen=True)
class TimeRange:
    """The calls that ended at or after `since` and before `until`."""

    since: datetime
    until: datetime

    @property
    def is_empty(self) -> bool:
        """Whether no call can be in the range."""
        return self.since >= self.until

    @override
    def __str__(self) -> str:
        """Describe the range for the log."""
        until = format_timestamp(self.until)
        if self.since == EPOCH:
            return f"all calls that ended before {until}"
        return f"calls that ended between {format_timestamp(self.since)} and {until}"


def parse_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 timestamp or date.

    A date means midnight, and no time zone means UTC. Digits beyond microseconds are truncated.

    Raises:
        ValueError: If the text isn't a timestamp, or is outside the years 1 to 9999 in UTC.
    """
    return to_utc(datetime.fromisoformat(text))


def to_utc(timestamp: datetime) -> datetime:
    """Convert a timestamp to UTC. A timestamp without a time zone is assumed to be in UTC.

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
        msg = "a timestamp outside the years 1 to 9999"
        raise ValueError(msg) from None


def format_timestamp(timestamp: datetime) -> str:
    """Format a timestamp in UTC, with milliseconds like the API, or microseconds if necessary."""
    has_microseconds = timestamp.microsecond % 1000 > 0
    precision = "microseconds" if has_microseconds else "milliseconds"
    return timestamp.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
