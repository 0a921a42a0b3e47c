"""A parent stream that writes its children's rows a page at a time, with one bookmark per stream.

The SDK syncs a child once for each record of its parent, with messages and log lines for each, and
moves bookmarks per record. Here, only the parent is synced. For each page, it writes the children's
rows, then its own, and then advances the bookmarks.

A parent derives from `PagewiseParent`. Its `get_records` calls `write_page` for each page, within
`children_open`, and returns an empty iterable. A child derives from `PagewiseChild`. `rows_of`
returns the rows for an item of a page.

These private members of the SDK are used, because there is no public alternative:

- `Stream._generate_schema_messages`: overridden to leave out a bookmark column that a stream map
  removes.
- `Stream._generate_record_messages`: maps a row that a catalog or a stream map changes.
- `Stream._tap`: gives access to the tap's message writer, state writer and start time.
- `Stream._write_schema_message`: writes the schema of a child, because it is never synced.
- `Stream._write_starting_replication_value`: overridden so that the state holds only the
  bookmark.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_tuple.singer.command import reject
from tap_tuple.singer.writer import LineWriter
from tap_tuple.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from datetime import datetime

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.metrics import Counter
    from singer_sdk.singerlib import Catalog, CatalogEntry, RecordMessage, SchemaMessage

# Keys of a bookmark in the state
REPLICATION_KEY = "replication_key"
REPLICATION_KEY_VALUE = "replication_key_value"


class PagewiseStream(Stream):
    """A stream that is written a page at a time, with a bookmark that never moves back."""

    # The rows already match their schema.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The message would make a target delete the rows outside the run's time range.
    emit_activate_version_messages = False

    # One bookmark per stream, even if a state written by another tap has partitions.
    partitions = None

    def rows_of(self, item: Any) -> Iterable[Record]:  # noqa: ANN401
        """Return the rows for an item of a page."""
        raise NotImplementedError

    # Bookmark

    @property
    def bookmark(self) -> datetime | None:
        """How far this stream has been read.

        None if it has to be read from the start: in the first run, or with FULL_TABLE replication.
        """
        value = self._bookmark_value
        return None if value is None else parse_timestamp(value)

    @property
    def _bookmark_value(self) -> Any | None:  # noqa: ANN401 - a state may hold anything
        if self.replication_method != REPLICATION_INCREMENTAL:
            return None
        # `stream_state` would add an entry if there is none.
        state = self.tap_state.get("bookmarks", {}).get(self.name, {})
        # A state from another tool may omit the key.
        has_our_key = state.get(REPLICATION_KEY, self.replication_key) == self.replication_key
        return state.get(REPLICATION_KEY_VALUE) if has_our_key else None

    def check_bookmark(self) -> None:
        """Check that the bookmark is a timestamp, and warn if it's for another replication key.

        Raises:
            ConfigurationError: If it isn't a timestamp.
        """
        state = self.tap_state.get("bookmarks", {}).get(self.name, {})
        key = state.get(REPLICATION_KEY, self.replication_key)
        if key != self.replication_key:
            self.logger.warning(
                "Ignoring the bookmark of %r, because its replication key is %r, not %r. "
                "Reading everything from the start.",
                self.name,
                key,
                self.replication_key,
            )
        try:
            _ = self.bookmark
        except (TypeError, ValueError):
            reject(
                f"The bookmark of {self.name!r} isn't a timestamp. Correct the state, or run with "
                "--full-refresh."
            )

    def advance_bookmark(self, value: datetime) -> None:
        """Advance the bookmark to `value`, unless that would move it back."""
        if self.replication_method != REPLICATION_INCREMENTAL:
            return
        if self.bookmark is None or value > self.bookmark:
            self.stream_state[REPLICATION_KEY] = self.replication_key
            self.stream_state[REPLICATION_KEY_VALUE] = format_timestamp(value)

    # Rows

    @override
    def get_record_counter(self, **kwargs: Any) -> Counter:
        """Keep a reference to the counter, because records are counted a page at a time."""
        self._record_counter = super().get_record_counter(**kwargs)
        return self._record_counter

    def write_rows(self, items: Iterable[Any]) -> None:
        """Write the rows for the items of a page, up to the limit of a connection test."""
        rows = [row for item in items for row in self.rows_of(item)]
        rows = rows[: self.ABORT_AT_RECORD_COUNT]

        writer = self._tap.message_writer
        if self._writes_rows_unchanged and isinstance(writer, LineWriter):
            writer.write_rows(self.name, rows)
        else:
            self._write_mapped_rows(rows)
        self._record_counter.increment(len(rows))

    def _write_mapped_rows(self, rows: Iterable[Record]) -> None:
        """Write rows that a catalog or a stream map may change."""
        for row in rows:
            for message in self._map_row(row):
                self._tap.write_message(message)

    def _map_row(self, row: Record) -> list[RecordMessage]:
        with explain_failed_map(self.name, self.config):
            return list(self._generate_record_messages(_to_json_types(row)))

    @cached_property
    def _writes_rows_unchanged(self) -> bool:
        has_all_columns = all(
            column in self.effective_schema["properties"] and self.mask["properties", column]
            for column in self.schema["properties"]
        )
        has_no_map = all(
            type(stream_map) is SameRecordTransform and not stream_map.flattening_enabled
            for stream_map in self.stream_maps
        )
        return has_all_columns and has_no_map

    @property
    def rows_written(self) -> int:
        """Number of rows written in this run, under whatever names stream maps give the stream."""
        writer = self._tap.message_writer
        if not isinstance(writer, LineWriter):
            return 0
        names = {stream_map.stream_alias for stream_map in self.stream_maps}
        return sum(writer.rows[name] for name in names)

    # Hooks of the SDK

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply the selection and the replication method, but keep the tap's own keys.

        Catalogs from other tools and from older versions may omit the keys.

        Raises:
            ConfigurationError: If the catalog asks for something that the tap can't do.
        """
        own_replication_key, own_primary_keys = self.replication_key, self.primary_keys
        super().apply_catalog(catalog)
        entry = catalog.get_stream(self.name)
        if entry is not None:
            self._check_catalog_entry(entry, own_replication_key)
            if REPLICATION_FULL_TABLE in _replication_methods(entry):
                self.forced_replication_method = REPLICATION_FULL_TABLE
        self.replication_key, self.primary_keys = own_replication_key, own_primary_keys

        columns = self.schema["properties"].keys()
        columns_of_catalog = self.effective_schema["properties"].keys()
        if not columns <= columns_of_catalog:
            # Have the SDK drop the columns that the catalog leaves out.
            self.TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.ROOT_ONLY

    def _check_catalog_entry(self, entry: CatalogEntry, own_replication_key: str | None) -> None:
        for key in (entry.replication_key, entry.metadata.root.replication_key):
            if key not in (None, own_replication_key):
                reject(
                    f"--catalog sets the replication key of {self.name!r} to {key!r}, but the tap "
                    f"only supports {own_replication_key!r}. Correct or remove it."
                )
        for method in _replication_methods(entry):
            if method not in (REPLICATION_INCREMENTAL, REPLICATION_FULL_TABLE):
                reject(
                    f"--catalog sets the replication method of {self.name!r} to {method!r}. Use "
                    f"{REPLICATION_INCREMENTAL} or {REPLICATION_FULL_TABLE}."
                )

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Return nothing. BATCH files bypass stream maps, so emails wouldn't be hashed."""

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Set no upper limit, because the bookmark only advances past rows that were written."""

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Log the SDK's INFO messages and its messages about exceptions at DEBUG.

        The tap reports each sync in more detail, and the command line reports exceptions.
        """
        is_exception_pending = sys.exc_info()[0] is not None
        if level == logging.INFO or is_exception_pending:
            level = logging.DEBUG
        super().log(message, *args, level=level, **kwargs)

    @override
    def _generate_schema_messages(self) -> Generator[SchemaMessage]:
        for message in super()._generate_schema_messages():
            columns = message.schema["properties"]
            keys = message.bookmark_properties or ()
            message.bookmark_properties = [key for key in keys if key in columns]
            # A stream map may set this to null, which loaders reject.
            message.key_properties = message.key_properties or []
            yield message

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Do nothing. The state holds only the bookmark."""


class PagewiseChild(PagewiseStream):
    """A stream whose rows belong to the items of its parent's pages."""

    @contextmanager
    def open(self) -> Generator[None]:
        """Write the SCHEMA, which creates the table even without rows, and start the metrics."""
        self._write_schema_message()
        with self.get_record_counter(), self.get_sync_timer():
            yield

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Return no records. The parent writes them."""
        return ()


class PagewiseParent(PagewiseStream):
    """A stream that writes its children's rows together with its own."""

    @property
    def selected_streams(self) -> list[PagewiseStream]:
        """The selected streams among this one and its children."""
        streams = (self, *self.child_streams)
        return [
            stream for stream in streams if isinstance(stream, PagewiseStream) and stream.selected
        ]

    @contextmanager
    def children_open(self) -> Generator[None]:
        """Open the selected children, and close them on exit."""
        with ExitStack() as stack:
            for stream in self.selected_streams:
                if isinstance(stream, PagewiseChild):
                    stack.enter_context(stream.open())
            yield

    def write_page(self, items: Sequence[Any], read_until: datetime | None) -> None:
        """Write the rows for the items of a page, then advance the bookmarks to `read_until`.

        A run can be killed after any line of output, so the state must never be ahead of the rows.
        For the same reason, children's rows come before their parent's, so a parent's row shows
        that its children's rows are complete.

        If a stream map filters an item out, its children's rows are left out too, as in the SDK.
        """
        kept_items = [item for item in items if self._is_kept(item)]
        for stream in self.selected_streams:
            if isinstance(stream, PagewiseChild):
                stream.write_rows(kept_items)
        if self.selected:
            # A stream map may add a copy of this stream with its own filter, so don't filter here.
            self.write_rows(items)

        if read_until:
            for stream in self.selected_streams:
                stream.advance_bookmark(read_until)
        self._tap.state_writer.write_state(self.tap_state)

    def _is_kept(self, item: Any) -> bool:  # noqa: ANN401
        if self._writes_rows_unchanged:
            return True
        rows = [_to_json_types(row) for row in self.rows_of(item)]
        primary_map = self.stream_maps[0]
        with explain_failed_map(self.name, self.config):
            return any(primary_map.get_filter_result(row) for row in rows)

    @override
    def generate_child_contexts(self, record: Record, context: Context | None) -> Iterable[Context]:
        """Return no contexts. `write_page` writes the children's rows."""
        return ()


@contextmanager
def explain_failed_map(stream_name: str, config: Mapping[str, Any]) -> Generator[None]:
    """Explain the failure of a stream map without the SDK's message, which may quote values.

    Args:
        stream_name: The stream whose map is used in this context.
        config: The settings.

    Raises:
        ConfigurationError: If anything fails in this context.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - an expression may raise anything
        maps = " or ".join(map(repr, _map_names(stream_name, config)))
        missing_settings = _missing_map_settings(config)
        if missing_settings:
            reject(
                f"stream_maps: the map for {maps} failed. Its expressions need "
                f"{' and '.join(map(repr, missing_settings))} in stream_map_config."
            )
        kind = type(error.__cause__ or error).__name__
        reject(
            f"stream_maps: the map for {maps} failed with {kind}. Check its expressions, and "
            "the settings and columns that they use."
        )


def _map_names(stream_name: str, config: Mapping[str, Any]) -> list[str]:
    """Return the names of a stream's maps in the settings, including maps of its copies."""
    names = [
        name
        for name, stream_map in (config.get("stream_maps") or {}).items()
        if name == stream_name
        or (isinstance(stream_map, dict) and stream_map.get("__source__") == stream_name)
    ]
    return names or [stream_name]


def _missing_map_settings(config: Mapping[str, Any]) -> list[str]:
    """Return the names that expressions look up as config["..."] but stream_map_config lacks.

    Only plain names are returned, because the text of an expression may be private.
    """
    expressions = msgspec.json.encode(config.get("stream_maps", {})).decode()
    used = re.findall(r"""config\[\\?["']([A-Za-z_]\w*)\\?["']\]""", expressions)
    return sorted(set(used) - (config.get("stream_map_config") or {}).keys())


def _replication_methods(entry: CatalogEntry) -> list[str]:
    methods = (entry.replication_method, entry.metadata.root.forced_replication_method)
    return [method for method in methods if method]


def _to_json_types(row: Record) -> Record:
    """Return a row with timestamps as text, as in a RECORD message."""
    return dict(msgspec.to_builtins(row))
