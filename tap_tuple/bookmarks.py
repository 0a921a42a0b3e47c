"""Gives each stream a bookmark of its own that moves page by page, and never back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk import Stream
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_tuple.errors import SettingsError
from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from singer_sdk.helpers.types import Context, Record

VALUE = "replication_key_value"
KEY = "replication_key"


class BookmarkedStream(Stream):
    """A stream whose bookmark is moved by `advance_bookmark`, when a whole page is written.

    The SDK's own bookmarks follow each record, compare timestamps as text, and take any step
    back, as a lookback makes, for an error. They are replaced in the two private methods below
    (singer-sdk 0.54), for which there is no public hook.
    """

    is_sorted = True
    # One bookmark per stream, whatever partitions a state of another tap has.
    partitions = None

    @property
    def bookmark(self) -> datetime | None:
        """How far this stream was read: the end of the last call that a target has in full.

        None if it is to be read from its start: the first time, or with FULL_TABLE replication.

        Raises:
            SettingsError: If the state holds no timestamp.
        """
        if self.replication_method != REPLICATION_INCREMENTAL:
            return None
        # `stream_state` would make an entry where there is none.
        state = self.tap_state.get("bookmarks", {}).get(self.name, {})
        value = state.get(VALUE)
        if value is None or state.get(KEY) != self.replication_key:
            return None
        try:
            return parse_timestamp(value)
        except (TypeError, ValueError):
            msg = (
                f"The state has no timestamp in {VALUE!r} of {self.name!r}: correct the state, or "
                "run with --full-refresh."
            )
            raise SettingsError(msg) from None

    def advance_bookmark(self, ended_at: str) -> None:
        """Move the bookmark forward, if that is forward.

        Args:
            ended_at: When the last call of a page ended, in UTC; all until then are written.
        """
        if self.replication_method != REPLICATION_INCREMENTAL:
            return
        bookmark = self.bookmark
        if bookmark is None or parse_timestamp(ended_at) > bookmark:
            state = self.stream_state
            state[KEY] = self.replication_key
            state[VALUE] = ended_at

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Have none: bookmarks come from the API's own timestamps."""

    @override
    def _increment_stream_state(
        self,
        latest_record: Record,
        *,
        context: Context | None = None,
    ) -> None:
        """Leave the bookmark alone: a record says nothing of the rest of its page."""

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Keep the state to the bookmark itself."""
