"""What is extracted: calls, and who took part in them."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import typing as th
from singer_sdk.exceptions import FatalAPIError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from typing_extensions import override

from tap_tuple.bookmarks import BookmarkedStream
from tap_tuple.client import TupleStream
from tap_tuple.errors import UnexpectedAnswerError
from tap_tuple.messages import LineWriter
from tap_tuple.meters import RunCounter, RunTimer
from tap_tuple.pagination import CallPages
from tap_tuple.progress import Progress
from tap_tuple.timestamps import format_timestamp
from tap_tuple.window import Window, window_to_read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from urllib.parse import ParseResult

    import requests
    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog

    from tap_tuple.answer import Call

PAGE = "page"
"""The key of a child's context that holds a page of calls."""


def _schema(*properties: th.Property[Any]) -> dict[str, Any]:
    schema = th.PropertiesList(*properties).to_dict()
    # Loaders that validate with an older draft of JSON Schema do not know this one.
    del schema["$schema"]
    return schema


class PagewiseStream(BookmarkedStream):
    """A stream that is written a page at a time."""

    # The rows are built to their schema.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    # The message makes a target delete the rows outside of the run's window.
    emit_activate_version_messages = False

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        super().apply_catalog(catalog)
        if not self.schema["properties"].keys() <= self.effective_schema["properties"].keys():
            # The catalog's schema is narrower: the SDK drops the columns that it leaves out.
            self.TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.ROOT_ONLY

    @cached_property
    def writes_rows_as_they_are(self) -> bool:
        """Whether neither the catalog nor a stream map changes a row."""
        columns = self.schema["properties"].keys()
        is_whole = columns <= self.effective_schema["properties"].keys() and all(
            self.mask["properties", column] for column in columns
        )
        is_mapped = any(
            type(each) is not SameRecordTransform or each.flattening_enabled
            for each in self.stream_maps
        )
        return is_whole and not is_mapped

    @property
    def rows_written(self) -> int:
        """Rows of this run that a target gets, under whatever names stream maps give them."""
        writer = self._tap.message_writer
        names = {each.stream_alias for each in self.stream_maps}
        return sum(writer.rows[name] for name in names) if isinstance(writer, LineWriter) else 0

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Offer no BATCH: its files by-pass stream maps, and with them the hashing of emails."""

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Keep for DEBUG what the SDK says of each sync: the child has one per page."""
        super().log(message, *args, level=min(level, logging.DEBUG), **kwargs)

    @override
    def _write_record_message(self, record: Record) -> None:
        """Write a row, straight where nothing changes it.

        The SDK (singer-sdk 0.54) asks of each column of each row whether it is selected, and
        copies the row, which costs as much as all the rest. It has no public hook for this.
        """
        writer = self._tap.message_writer
        if not self.writes_rows_as_they_are or not isinstance(writer, LineWriter):
            super()._write_record_message(record)
            return
        writer.write_row(self.name, record)
        self.state_manager.is_flushed = False


class Calls(PagewiseStream, TupleStream):
    """Completed calls. Each request serves their participations too."""

    name = "calls"
    primary_keys = ("id",)
    replication_key = "ended_at"
    schema: ClassVar[dict[str, Any]] = _schema(
        th.Property(
            "id",
            th.IntegerType,
            required=True,
            description="The call's id.",
        ),
        th.Property(
            "started_at",
            th.DateTimeType,
            description="When the call started, in UTC.",
        ),
        th.Property(
            "ended_at",
            th.DateTimeType,
            required=True,
            description="When the call ended, in UTC.",
        ),
        th.Property(
            "duration_seconds",
            th.IntegerType,
            description="How long the call took, in seconds.",
        ),
    )

    window: Window
    pages: CallPages
    progress: Progress
    _page: Sequence[Call] = ()

    @property
    def selected_streams(self) -> list[PagewiseStream]:
        """This stream and its child, as far as they are selected."""
        streams = (self, *self.child_streams)
        return [each for each in streams if isinstance(each, PagewiseStream) and each.selected]

    @property
    def page_size(self) -> int:
        """Calls to ask for per request; a connection test asks for no more than it needs."""
        return int(min(self.config["page_size"], self.ABORT_AT_RECORD_COUNT or math.inf))

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Read the calls of the run's window.

        Yields:
            A row per call.
        """
        self.window = window_to_read(
            self.config,
            [stream.bookmark for stream in self.selected_streams],
            now=datetime.fromtimestamp(self._tap.initialized_at / 1000, UTC),
        )
        limit = self.ABORT_AT_RECORD_COUNT
        self.pages = CallPages(self.window.since, self.page_size, limit=limit)
        for child in self.child_streams:
            if child.selected:
                # A target makes its table even if no call brings a record.
                child.sync({PAGE: ()})
        if self.window.is_empty:
            self.logger.info("Nothing to read from %s.", self.window)
            return
        self.logger.info("Reading calls that ended from %s.", self.window)
        for stream in self.selected_streams:
            if stream.bookmark and stream.bookmark < self.window.since:
                self.logger.warning(
                    "start_date is after the bookmark of %s: calls in between are not read.",
                    stream.name,
                )
        if self.child_streams and isinstance(self.stream_maps[0], RemoveRecordTransform):
            self.logger.warning(
                "A stream map drops calls, and all participations with them. To leave out the "
                "stream alone, deselect it.",
            )
        try:
            yield from super().get_records(context)
        except (FatalAPIError, UnexpectedAnswerError) as error:
            if not self.pages.read:
                raise
            read = _counted(self.pages.read, "call")
            msg = f"{error} {read} read; the next run goes on from there."
            raise type(error)(msg) from error
        if self.pages.missing and self.ABORT_AT_RECORD_COUNT is None:
            self.logger.warning(
                "Tuple promised %d calls and sent %d. The next run asks for the rest.",
                self.pages.read + self.pages.missing,
                self.pages.read,
            )

    @override
    def get_new_paginator(self) -> CallPages:
        self.progress = Progress(self.pages, self.budget, self.logger)
        return self.pages

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: ParseResult | None,
    ) -> dict[str, Any]:
        return {
            "since": format_timestamp(self.window.since),
            "until": format_timestamp(self.window.until),
            "per_page": self.page_size,
        } | super().get_url_params(context, next_page_token)

    @override
    def parse_response(self, response: requests.Response) -> Iterable[Record]:
        """Hand out a page's rows, and finish the page when they are written.

        Yields:
            A row per call.
        """
        self._page = page = self.pages.take(response, self.answer)
        for call in page:
            yield _call_row(call)
        self._finish_page(self.pages.read_until)
        self.progress.report()

    @override
    def generate_child_contexts(
        self,
        record: Record,
        context: Context | None,
    ) -> Iterable[Context]:
        """Hand the child a page at once, with the first of its calls that no stream map drops.

        The SDK lets a call that a stream map drops take its children with it, and asks only of
        the call that yields the context; here that is asked of each call.
        """
        is_kept = self.stream_maps[0].get_filter_result
        if self._page and is_kept(record):
            page, self._page = self._page, ()
            yield {PAGE: [call for call in page if is_kept(_call_row(call))]}

    @override
    def log_sync_costs(self) -> None:
        """Sum the run up, a line per stream; the SDK calls this at the end of a run."""
        if not self.selected_streams:
            self.logger.warning("No stream is selected, so nothing was read.")
        for stream in self.selected_streams:
            stream.logger.info(
                "%s: %s written, %s read in %s, that ended from %s; bookmark: %s.",
                stream.name,
                _counted(stream.rows_written, "row"),
                _counted(self.pages.read, "call"),
                _counted(self.budget.spent, "request"),
                self.window,
                format_timestamp(stream.bookmark) if stream.bookmark else "none",
            )

    @override
    def get_record_counter(
        self,
        *,
        endpoint: str | None = None,
        log_interval: float = math.inf,
    ) -> metrics.Counter:
        """Count the records of the whole run, not of a minute."""
        return super().get_record_counter(endpoint=endpoint, log_interval=log_interval)

    def _finish_page(self, read_until: str | None) -> None:
        """Move the bookmarks, now that all of a page's rows are written, and say so."""
        if read_until:
            for stream in self.selected_streams:
                stream.advance_bookmark(read_until)
        self._tap.state_writer.write_state(self.tap_state)
        # The state may be as it was, in a lookback: then no STATE took the records along.
        if isinstance(self._tap.message_writer, LineWriter):
            self._tap.message_writer.flush()


class CallParticipations(PagewiseStream):
    """Who took part in the calls, and when: a row per stay, so a person may have several."""

    name = "call_participations"
    parent_stream_type = Calls
    primary_keys = ("id",)
    replication_key = "call_ended_at"
    schema: ClassVar[dict[str, Any]] = _schema(
        th.Property(
            "id",
            th.IntegerType,
            required=True,
            description="The participation's id.",
        ),
        th.Property(
            "call_id",
            th.IntegerType,
            required=True,
            description="The id of the call.",
        ),
        th.Property(
            "call_ended_at",
            th.DateTimeType,
            required=True,
            description="When the call ended, in UTC.",
        ),
        th.Property(
            "joined_at",
            th.DateTimeType,
            description="When the person joined, in UTC.",
        ),
        th.Property(
            "left_at",
            th.DateTimeType,
            description="When the person left, in UTC.",
        ),
        th.Property(
            "user_email",
            th.StringType,
            description="The person's email; none for a deleted account.",
        ),
    )

    _page: Sequence[Call] = ()

    @cached_property
    def _counter(self) -> RunCounter:
        return RunCounter(self.name)

    @cached_property
    def _timer(self) -> RunTimer:
        return RunTimer(self.name)

    @override
    def preprocess_context(self, context: Context) -> Context:
        """Take the page out of the context, which the SDK logs and keeps bookmarks for."""
        self._page = context[PAGE]
        return {}

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Unnest the participations of a page of calls.

        Yields:
            A row per participation.
        """
        yield from islice(self._participation_rows(), self.ABORT_AT_RECORD_COUNT)

    @override
    def generate_child_contexts(
        self,
        record: Record,
        context: Context | None,
    ) -> Iterable[Context]:
        """Have none: a participation has no children."""
        return ()

    @override
    def get_record_counter(
        self,
        *,
        endpoint: str | None = None,
        log_interval: float = math.inf,
    ) -> RunCounter:
        return self._counter

    @override
    def get_sync_timer(self) -> RunTimer:
        return self._timer

    @override
    def log_sync_costs(self) -> None:
        """Report the meters of the whole run."""
        if self.selected:
            self._counter.exit()
            self._timer.exit()

    def _participation_rows(self) -> Iterator[Record]:
        for call in self._page:
            for participation in call.call_participations or ():
                yield {
                    "id": participation.id,
                    "call_id": call.id,
                    "call_ended_at": call.ended_at,
                    "joined_at": participation.joined_at,
                    "left_at": participation.left_at,
                    "user_email": participation.user.email if participation.user else None,
                }


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _call_row(call: Call) -> Record:
    return {
        "id": call.id,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
        "duration_seconds": call.duration_seconds,
    }
