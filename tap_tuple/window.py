"""Works out which calls a run reads: from the bookmarks and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_tuple.pagination import OVERLAP
from tap_tuple.timestamps import EPOCH, earlier, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The calls that ended at or after `since`, and before `until`."""

    since: datetime
    until: datetime

    @property
    def is_empty(self) -> bool:
        """Whether no call can be in it, so that the API need not be asked."""
        return self.since >= self.until

    @override
    def __str__(self) -> str:
        """Name both ends in UTC."""
        return f"{format_timestamp(self.since)} to {format_timestamp(self.until)}"


def window_to_read(
    config: Mapping[str, Any],
    bookmarks: Iterable[datetime | None],
    now: datetime,
) -> Window:
    """Choose the window of a run.

    It begins ``lookback_window`` seconds before the earliest bookmark, and at least a second, so
    that no stream misses what another has read already, but never before ``start_date``. It ends
    when the run starts, so that a run comes to an end.

    Args:
        config: The tap's settings.
        bookmarks: One per selected stream; None for a stream that is to be read from its start.
        now: When the run started.

    Returns:
        The window; it may be empty.
    """
    start_date = parse_timestamp(config["start_date"]) if config.get("start_date") else EPOCH
    end_date = parse_timestamp(config["end_date"]) if config.get("end_date") else now
    since = start_date
    known = list(bookmarks)
    reached = [bookmark for bookmark in known if bookmark is not None]
    if reached and len(reached) == len(known):
        lookback = max(config["lookback_window"], OVERLAP.total_seconds())
        since = max(start_date, earlier(min(reached), lookback))
    return Window(since, min(end_date, now))
