"""A tap like those in tutorials: ``python -m benchmarks.plain_tap --config FILE``.

It has a stream per endpoint, the SDK's paginator, and a child stream with the call as its context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import ParseResult, parse_qsl

from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import HeaderLinkPaginator
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_sdk.helpers.types import Auth, Context, Record


class Calls(RESTStream[ParseResult]):
    """Completed calls."""

    name = "calls"
    path = "/api/v2/call_usage"
    primary_keys = ("id",)
    replication_key = "ended_at"
    is_sorted = True
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("started_at", th.DateTimeType),
        th.Property("ended_at", th.DateTimeType),
        th.Property("duration_seconds", th.IntegerType),
    ).to_dict()

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @property
    @override
    def authenticator(self) -> Auth:
        return BearerTokenAuthenticator(token=self.config["api_token"])

    @override
    def get_new_paginator(self) -> HeaderLinkPaginator:
        return HeaderLinkPaginator()

    @override
    def get_url_params(
        self, context: Context | None, next_page_token: ParseResult | None
    ) -> dict[str, Any]:
        if next_page_token:
            return dict(parse_qsl(next_page_token.query))
        since = self.get_starting_timestamp(context)
        return {"since": since.isoformat() if since else "1970-01-01T00:00:00Z", "per_page": 1000}

    @override
    def get_child_context(self, record: Record, context: Context | None) -> Context:
        return {
            "call_id": record["id"],
            "call_ended_at": record["ended_at"],
            "participations": record["call_participations"],
        }


class CallParticipations(Stream):
    """Who took part in the calls."""

    name = "call_participations"
    parent_stream_type = Calls
    primary_keys = ("id",)
    # Otherwise, the state would hold an entry per call, and the run time would grow quadratically.
    state_partitioning_keys = ()
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("call_id", th.IntegerType),
        th.Property("call_ended_at", th.DateTimeType),
        th.Property("joined_at", th.DateTimeType),
        th.Property("left_at", th.DateTimeType),
        th.Property("user_email", th.StringType),
    ).to_dict()

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Unnest the participations of a call.

        Yields:
            A row per participation.
        """
        assert context
        for participation in context["participations"]:
            yield {
                "id": participation["id"],
                "call_id": context["call_id"],
                "call_ended_at": context["call_ended_at"],
                "joined_at": participation["joined_at"],
                "left_at": participation["left_at"],
                "user_email": participation["user"]["email"],
            }


class PlainTap(Tap):
    """A tap with the two streams."""

    name = "tap-plain"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_token", th.StringType, required=True, secret=True),
        th.Property("api_url", th.StringType, required=True),
    ).to_dict()

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [Calls(self), CallParticipations(self)]


if __name__ == "__main__":
    PlainTap.cli()
