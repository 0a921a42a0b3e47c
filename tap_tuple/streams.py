"""What is extracted: calls, and who took part in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

from singer_sdk.exceptions import FatalAPIError
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.typing import DateTimeType, IntegerType, PropertiesList, Property, StringType
from typing_extensions import override

from tap_tuple.api.client import TupleStream
from tap_tuple.api.pagination import OVERLAP, CallPages
from tap_tuple.api.response import MAX_PER_PAGE, UnexpectedResponseError, warn_of_new_fields
from tap_tuple.singer.pagewise import PagewiseChild, PagewiseParent
from tap_tuple.timestamps import EPOCH, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from urllib.parse import ParseResult

    import requests
    from singer_sdk.helpers.types import Context, Record

    from tap_tuple.api.response import Call

# With these bounds, loaders make columns of 64 and 32 bits.
ID = IntegerType(minimum=-(2**63), maximum=2**63 - 1)
SECONDS = IntegerType(minimum=-(2**31), maximum=2**31 - 1)


def _schema(*properties: Property[Any]) -> dict[str, Any]:
    schema = PropertiesList(*properties).to_dict()
    # Loaders that validate with an older draft of JSON Schema do not know this one.
    del schema["$schema"]
    for column in schema["properties"].values():
        # The order of Singer's own examples: some loaders look at the first type alone.
        column["type"].sort(key=lambda name: name != "null")
    return schema


def window_of_run(
    config: Mapping[str, Any], bookmarks: Iterable[datetime | None], now: datetime
) -> tuple[datetime, datetime]:
    """Work out since when, and until when, the calls ended that a run reads; it may be none.

    From ``lookback_window`` seconds before the earliest bookmark, and at least a second, so that no
    stream misses what another has read, but never from before ``start_date``; until `now`, so that
    the run comes to an end. A bookmark of None has its stream read from its start.
    """
    start = max(parse_timestamp(config["start_date"]), EPOCH) if config.get("start_date") else EPOCH
    until = parse_timestamp(config["end_date"]) if config.get("end_date") else now
    reached = min((bookmark or start for bookmark in bookmarks), default=start)
    lookback = max(config["lookback_window"], OVERLAP.total_seconds())
    # Compared before it is subtracted: the setting may be longer than all time.
    is_after_start = lookback < (reached - start).total_seconds()
    since = reached - timedelta(seconds=lookback) if is_after_start else start
    return since, min(until, now)


class Calls(PagewiseParent, TupleStream):
    """Completed calls. Each request serves their participations too."""

    name = "calls"
    primary_keys = ("id",)
    replication_key = "ended_at"
    schema: ClassVar[dict[str, Any]] = _schema(
        Property("id", ID, required=True, description="The call's id."),
        Property("started_at", DateTimeType, description="When the call started, in UTC."),
        Property(
            "ended_at", DateTimeType, required=True, description="When the call ended, in UTC."
        ),
        Property("duration_seconds", SECONDS, description="How long the call took, in seconds."),
    )

    since: datetime
    until: datetime
    window: str  # both, as the log shows them
    page_size: int
    pages: CallPages

    @override
    def rows_of(self, item: Call) -> Iterable[Record]:
        return [
            {
                "id": item.id,
                "started_at": item.started_at,
                "ended_at": item.ended_at,
                "duration_seconds": item.duration_seconds,
            }
        ]

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Yield a row per call of the run's window."""
        bookmarks = [stream.bookmark for stream in self.selected_streams]
        now = datetime.fromtimestamp(self._tap.initialized_at / 1000, UTC)
        self.since, self.until = window_of_run(self.config, bookmarks, now)
        self.window = f"{format_timestamp(self.since)} to {format_timestamp(self.until)}"
        # A connection test asks for no more than it needs.
        limit = self.ABORT_AT_RECORD_COUNT
        self.page_size = min(self.config["page_size"], limit or MAX_PER_PAGE)
        self.pages = CallPages(self.since, self.page_size, limit=limit)
        for stream in self.selected_streams:
            if stream.bookmark and stream.bookmark > now:
                self.logger.warning(
                    "The bookmark of %s is in the future (%s), so that no call is read until then: "
                    "correct the state, or run with --full-refresh.",
                    stream.name,
                    format_timestamp(stream.bookmark),
                )
            if stream.bookmark and stream.bookmark < self.since:
                message = "start_date is after the bookmark of %s: calls in between are not read."
                self.logger.warning(message, stream.name)
        if isinstance(self.stream_maps[0], RemoveRecordTransform):
            self.logger.warning(
                "A stream map drops calls, and all participations with them. To leave out the "
                "stream alone, deselect it."
            )
        with self.children_open():
            if self.since >= self.until:
                self.logger.info("Nothing to read from %s.", self.window)
                return
            self.logger.info("Reading calls that ended from %s.", self.window)
            try:
                yield from super().get_records(context)
            except (FatalAPIError, UnexpectedResponseError) as error:
                if not self.pages.read:
                    raise
                read = _counted(self.pages.read, "call")
                msg = f"{error} {read} read; the next run goes on from there."
                raise type(error)(msg) from error
        if self.pages.missing and limit is None:
            promised = self.pages.read + self.pages.missing
            message = "Tuple promised %d calls and sent %d. The next run asks for the rest."
            self.logger.warning(message, promised, self.pages.read)

    @override
    def get_new_paginator(self) -> CallPages:
        return self.pages

    @override
    def get_url_params(
        self, context: Context | None, next_page_token: ParseResult | None
    ) -> dict[str, Any]:
        return {
            "since": format_timestamp(self.since),
            "until": format_timestamp(self.until),
            "per_page": self.page_size,
        } | dict(parse_qsl(next_page_token.query) if next_page_token else ())

    @override
    def parse_response(self, response: requests.Response) -> Iterable[Record]:
        if self.pages.count == 0:
            warn_of_new_fields(response, self._tap.logger)
        page = self.pages.take(response, self.calls_received)
        self.write_page(page, self.pages.read_until)
        self.rate_limiter.report_progress(
            self.pages.read, self.pages.missing, page=self.pages.count + 1
        )
        return ()

    @override
    def log_sync_costs(self) -> None:
        """Sum the run up, a line per stream."""
        if not self.selected_streams:
            self.logger.warning("No stream is selected, so nothing was read.")
            return
        calls = _counted(self.pages.read, "call")
        requests = _counted(self.rate_limiter.requests, "request")
        for stream in self.selected_streams:
            rows = _counted(stream.rows_written, "row")
            read = f"{calls} read in {requests}, of those that ended from {self.window}"
            bookmark = format_timestamp(stream.bookmark) if stream.bookmark else "none"
            message = "%s: %s written, %s; bookmark: %s."
            stream.logger.info(message, stream.name, rows, read, bookmark)


class CallParticipations(PagewiseChild):
    """Who took part in the calls, and when: a row per stay, so a person may have several."""

    name = "call_participations"
    parent_stream_type = Calls
    primary_keys = ("id",)
    replication_key = "call_ended_at"
    schema: ClassVar[dict[str, Any]] = _schema(
        Property("id", ID, required=True, description="The participation's id."),
        Property("call_id", ID, required=True, description="The id of the call."),
        Property(
            "call_ended_at", DateTimeType, required=True, description="When the call ended, in UTC."
        ),
        Property("joined_at", DateTimeType, description="When the person joined, in UTC."),
        Property("left_at", DateTimeType, description="When the person left, in UTC."),
        Property(
            "user_email", StringType, description="The person's email; none for a deleted account."
        ),
    )

    @override
    def rows_of(self, item: Call) -> Iterable[Record]:
        return [
            {
                "id": participation.id,
                "call_id": item.id,
                "call_ended_at": item.ended_at,
                "joined_at": participation.joined_at,
                "left_at": participation.left_at,
                "user_email": participation.user.email if participation.user else None,
            }
            for participation in item.call_participations or ()
        ]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
