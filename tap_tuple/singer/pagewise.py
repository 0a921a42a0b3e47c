"""A parent stream that writes its children's rows a page at a time, and a bookmark per stream.

The SDK starts a sync of a child for each record of its parent, each with messages and log lines of
its own, and moves bookmarks per record. Here the parent alone is synced. Of each page, the
children's rows are written first, then the parent's; then the bookmarks move, and never back.

A parent derives from `PagewiseParent`, and its `get_records` yields from `write_page`, while
`children_open`; a child derives from `PagewiseChild`. `rows_of` says which rows an item makes.

These members of the SDK are private, and there is no public hook in their place:

- `Stream._write_record_message`: writes a row that a catalog or a stream map changes. It is called.
- `Stream._write_starting_replication_value`: adds keys to the state that no bookmark needs.
- `Stream._write_schema_message`: of a child, which is never synced.
- `Stream._tap`: the way from a stream to the tap's message writer.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib import StateMessage
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_tuple.singer.command import refuse
from tap_tuple.singer.writer import LineWriter
from tap_tuple.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from datetime import datetime

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.metrics import Counter
    from singer_sdk.singerlib import Catalog

KEY, VALUE = "replication_key", "replication_key_value"  # of a bookmark in the state


class PagewiseStream(Stream):
    """A stream that is written a page at a time, with a bookmark that never moves back."""

    # The rows are built to their schema.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The message makes a target delete the rows outside of the run's window.
    emit_activate_version_messages = False

    # One bookmark per stream, whatever partitions a state of another tap has.
    partitions = None

    def rows_of(self, item: Any) -> Iterable[Record]:  # noqa: ANN401
        """Return the rows that an item of a page makes."""
        raise NotImplementedError

    @property
    def bookmark(self) -> datetime | None:
        """How far this stream was read: the end of the last page that a target has in full.

        None if it is to be read from its start: the first time, or with FULL_TABLE replication.

        Raises:
            ConfigurationError: If the state holds no timestamp.
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
            refuse(
                f"The state has no timestamp in {VALUE!r} of {self.name!r}: correct the state, or "
                "run with --full-refresh."
            )

    def advance_bookmark(self, value: datetime) -> None:
        """Advance the bookmark to `value`, unless that would move it back."""
        if self.replication_method != REPLICATION_INCREMENTAL:
            return
        if not self.bookmark or value > self.bookmark:
            self.stream_state.update({KEY: self.replication_key, VALUE: format_timestamp(value)})

    @property
    def rows_written(self) -> int:
        """Rows of this run that a target gets, under whatever names stream maps give them."""
        writer = self._tap.message_writer
        names = {each.stream_alias for each in self.stream_maps}
        return sum(writer.rows[name] for name in names) if isinstance(writer, LineWriter) else 0

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        own_key = self.replication_key
        super().apply_catalog(catalog)
        if self.replication_key not in (None, own_key):
            refuse(
                f"--catalog sets the replication key of {self.name!r} to "
                f"{self.replication_key!r}: remove that, or set it to {own_key!r}."
            )
        self.replication_key = own_key
        if not self.schema["properties"].keys() <= self.effective_schema["properties"].keys():
            # The catalog's schema is narrower: the SDK drops the columns that it leaves out.
            self.TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.ROOT_ONLY

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Return none: BATCH files bypass stream maps, and with them the hashing of emails."""

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Return none: bookmarks come from what was read."""

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Log what the SDK says of a sync at DEBUG: the tap says it with more."""
        super().log(message, *args, level=min(level, logging.DEBUG), **kwargs)

    @override
    def get_record_counter(self, **kwargs: Any) -> Counter:
        self._record_counter = super().get_record_counter(**kwargs)
        return self._record_counter

    def write_rows(self, items: Iterable[Any]) -> None:
        """Write the rows of a page's items, up to the limit of a connection test."""
        rows = [row for item in items for row in self.rows_of(item)][: self.ABORT_AT_RECORD_COUNT]
        writer = self._tap.message_writer
        if self._writes_rows_as_they_are and isinstance(writer, LineWriter):
            writer.write_rows(self.name, rows)
        else:
            for row in rows:
                self._write_record_message(as_messages_show(row))
        self._record_counter.increment(len(rows))

    @cached_property
    def _writes_rows_as_they_are(self) -> bool:
        columns, kept = self.schema["properties"], self.effective_schema["properties"]
        return all(name in kept and self.mask["properties", name] for name in columns) and all(
            type(each) is SameRecordTransform and not each.flattening_enabled
            for each in self.stream_maps
        )

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Keep the state to the bookmark itself."""


def as_messages_show(row: Record) -> Record:
    """Return a row whose timestamps are text, as in its RECORD message."""
    return dict(msgspec.to_builtins(row))


class PagewiseChild(PagewiseStream):
    """A stream whose rows are made of the items of its parent's pages."""

    @contextmanager
    def open(self) -> Generator[None]:
        """Write the SCHEMA, so that a target makes the table even if no row comes, and measure."""
        self._write_schema_message()
        with self.get_record_counter(), self.get_sync_timer():
            yield

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Return no records: the parent writes them."""
        return ()


class PagewiseParent(PagewiseStream):
    """A stream that hands its children a page of its items at a time."""

    @property
    def selected_streams(self) -> list[PagewiseStream]:
        """This stream and its children, as far as they are selected."""
        streams = (self, *self.child_streams)
        return [each for each in streams if isinstance(each, PagewiseStream) and each.selected]

    @contextmanager
    def children_open(self) -> Generator[None]:
        """Begin and end the children that are selected."""
        with ExitStack() as stack:
            for child in self.selected_streams:
                if isinstance(child, PagewiseChild):
                    stack.enter_context(child.open())
            yield

    def write_page(self, page: Sequence[Any], read_until: datetime | None) -> None:
        """Write a page's rows, the children's first, and advance the bookmarks to `read_until`.

        If a stream map filters an item out, its children's rows are left out too, as in the SDK.
        """
        items = [item for item in page if self._is_kept(item)]
        # The parent comes last. It is the first of the selected streams.
        for stream in reversed(self.selected_streams):
            stream.write_rows(items)
        if read_until:
            for stream in self.selected_streams:
                stream.advance_bookmark(read_until)
        # Even if none moved: some targets pass a state on only if it comes after rows.
        self._tap.write_message(StateMessage(self.tap_state))

    def _is_kept(self, item: Any) -> bool:  # noqa: ANN401
        if self._writes_rows_as_they_are:
            return True
        return any(
            self.stream_maps[0].get_filter_result(as_messages_show(row))
            for row in self.rows_of(item)
        )

    @override
    def generate_child_contexts(self, record: Record, context: Context | None) -> Iterable[Context]:
        """Return no contexts: `write_page` writes the children's rows."""
        return ()
