"""The streams: calls and their participations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk.typing import DateTimeType, IntegerType, PropertiesList, Property, StringType
from typing_extensions import override

from tap_tuple.singer.pagewise import PagewiseChild
from tap_tuple.sync import CallSync

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_sdk.helpers.types import Record

    from tap_tuple.api.response import Call

# With these bounds, loaders create 64-bit and 32-bit columns.
ID = IntegerType(minimum=-(2**63), maximum=2**63 - 1)
SECONDS = IntegerType(minimum=-(2**31), maximum=2**31 - 1)


def _schema(*properties: Property[Any]) -> dict[str, Any]:
    schema = PropertiesList(*properties).to_dict()
    # Loaders that use an older JSON Schema draft don't recognize the one in `$schema`.
    del schema["$schema"]
    for column in schema["properties"].values():
        if "null" in column["type"]:
            # Put null first, as in Singer's own examples. Some loaders only look at the first type,
            # and would make the column required.
            others = [name for name in column["type"] if name != "null"]
            column["type"] = ["null", *others]
    return schema


class Calls(CallSync):
    """Completed calls, which are requested together with their participations."""

    name = "calls"
    primary_keys = ("id",)
    replication_key = "ended_at"
    schema: ClassVar[dict[str, Any]] = _schema(
        Property("id", ID, required=True, description="The call's id."),
        Property("started_at", DateTimeType, description="When the call started, in UTC."),
        Property(
            "ended_at", DateTimeType, required=True, description="When the call ended, in UTC."
        ),
        Property("duration_seconds", SECONDS, description="How long the call lasted, in seconds."),
    )

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


class CallParticipations(PagewiseChild):
    """Who took part in the calls, and when. Someone who rejoins has several rows."""

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
            "user_email",
            StringType,
            description="The person's email. Null if the account was deleted.",
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
