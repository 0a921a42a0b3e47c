"""Run a sync: choose the time range, write the pages, and log warnings and a summary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalAPIError
from singer_sdk.mapper import RemoveRecordTransform
from typing_extensions import override

from tap_tuple.api.client import TupleStream
from tap_tuple.api.pagination import OVERLAP
from tap_tuple.api.response import UnexpectedResponseError
from tap_tuple.singer.command import reject
from tap_tuple.singer.pagewise import PagewiseParent
from tap_tuple.text import count
from tap_tuple.timestamps import EPOCH, TimeRange, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from singer_sdk.helpers.types import Context, Record


def time_range_of_run(
    config: Mapping[str, Any], bookmarks: Sequence[datetime | None], started_at: datetime
) -> TimeRange:
    """Return the time range that a run reads, which may be empty.

    It starts ``lookback_window`` seconds before the earliest bookmark, but not before
    ``start_date``, and ends when the run starts, or at ``end_date`` if that is earlier. The
    lookback is at least as long as the overlap of two pages.

    Args:
        config: The settings.
        bookmarks: The bookmark of each selected stream, or None to read everything from the start.
        started_at: When the run started.
    """
    start_date, end_date = config.get("start_date"), config.get("end_date")
    start = max(parse_timestamp(start_date), EPOCH) if start_date else EPOCH
    end = min(parse_timestamp(end_date), started_at) if end_date else started_at

    if not bookmarks or None in bookmarks:
        return TimeRange(start, end)
    earliest_bookmark = min(bookmark for bookmark in bookmarks if bookmark)
    lookback_seconds = max(config["lookback_window"], OVERLAP.total_seconds())
    # Subtracting a very large lookback would overflow.
    reaches_start = lookback_seconds >= (earliest_bookmark - start).total_seconds()
    if reaches_start:
        return TimeRange(start, end)
    return TimeRange(earliest_bookmark - timedelta(seconds=lookback_seconds), end)


class CallSync(PagewiseParent, TupleStream):
    """Reads the calls in a run's time range, and writes them and their children page by page."""

    @cached_property
    @override
    def time_range(self) -> TimeRange:
        bookmarks = [stream.bookmark for stream in self.selected_streams]
        return time_range_of_run(self.config, bookmarks, self._started_at)

    @property
    def _started_at(self) -> datetime:
        milliseconds = self._tap.initialized_at
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Write all pages here. Return no records, because the SDK would write them one by one."""
        self._warn_about_bookmarks()
        self._warn_if_calls_are_dropped()
        with self.children_open():
            if self.time_range.is_empty:
                self.logger.info("Nothing to read: the time range is empty (%s).", self.time_range)
                return ()
            self._mention_ignored_start_date()
            self.logger.info("Reading %s.", self.time_range)
            self._write_pages(context)
        self._warn_about_missing_calls()
        return ()

    def _write_pages(self, context: Context | None) -> None:
        pages: Iterable[Any] = self.request_records(context)
        try:
            for page in pages:
                self.write_page(page.calls, page.read_until)
        except (FatalAPIError, UnexpectedResponseError) as error:
            if not self.progress.calls_read:
                raise
            calls = count(self.progress.calls_read, "call")
            msg = (
                f"{error} The run had already read {calls}. The next run resumes from the last "
                "saved bookmark."
            )
            raise type(error)(msg) from error

    def _warn_about_bookmarks(self) -> None:
        for stream in self.selected_streams:
            if stream.bookmark is None:
                continue
            if stream.bookmark > self._started_at:
                self.logger.warning(
                    "The bookmark of %r is in the future (%s), so it won't advance until then. "
                    "Correct the state, or run with --full-refresh.",
                    stream.name,
                    format_timestamp(stream.bookmark),
                )
            if stream.bookmark < self.time_range.since:
                self.logger.warning(
                    "start_date is after the bookmark of %r, so calls that ended in between aren't "
                    "read. To read them, set an earlier start_date, or remove it.",
                    stream.name,
                )

    def _mention_ignored_start_date(self) -> None:
        start_date = self.config.get("start_date")
        if start_date and parse_timestamp(start_date) < self.time_range.since:
            self.logger.info(
                "Continuing from the bookmark, so start_date doesn't apply. To read everything "
                "since start_date again, run with --full-refresh."
            )

    def _warn_if_calls_are_dropped(self) -> None:
        if isinstance(self.stream_maps[0], RemoveRecordTransform):
            self.logger.warning(
                "A stream map drops the calls, and all participations with them. To leave out only "
                "the calls, deselect their stream instead."
            )

    def _warn_about_missing_calls(self) -> None:
        read, missing = self.progress.calls_read, self.progress.calls_missing
        is_connection_test = self.ABORT_AT_RECORD_COUNT is not None
        if missing and not is_connection_test:
            self.logger.warning(
                "Tuple reported %s calls but sent %s. The next run will ask for the missing ones.",
                f"{read + missing:,}",
                f"{read:,}",
            )

    @override
    def log_sync_costs(self) -> None:
        """Log one summary line per stream.

        Raises:
            ConfigurationError: If no stream is selected. A scheduled run that never reads anything
                must not look like a success.
        """
        if not self.selected_streams:
            reject(
                "No stream is selected, so nothing was read. Select one in the catalog, or with "
                "'meltano select tap-tuple calls \"*\"'."
            )
        for stream in self.selected_streams:
            sent = count(stream.rows_written, "row")
            if stream.bookmark:
                sent += f" and the bookmark {format_timestamp(stream.bookmark)}"
            stream.logger.info(
                "%s: sent %s to the loader (%s for %s).",
                stream.name,
                sent,
                count(self.rate_limiter.requests, "request"),
                self.time_range,
            )
