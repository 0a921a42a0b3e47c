"""Compares the fields of calls with the documented ones. Reports their names, but no values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_tuple.api.response import find_new_fields
from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Json = Any
    Fields = Mapping[str, Callable[[Json], bool]]

MAX_NAMED_FIELDS = 10


def is_integer(value: Json) -> bool:
    """Return whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_timestamp(value: Json) -> bool:
    """Return whether a value is an ISO 8601 timestamp."""
    try:
        parse_timestamp(value)
    except (TypeError, ValueError):
        return False
    return True


def is_text(value: Json) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def is_array_of_objects(value: Json) -> bool:
    """Return whether a value is a JSON array of objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def is_object(value: Json) -> bool:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


CALL_FIELDS: Fields = {
    "id": is_integer,
    "started_at": is_timestamp,
    "ended_at": is_timestamp,
    "duration_seconds": is_integer,
    "call_participations": is_array_of_objects,
}
PARTICIPATION_FIELDS: Fields = {
    "id": is_integer,
    "joined_at": is_timestamp,
    "left_at": is_timestamp,
    "user": is_object,
}
USER_FIELDS: Fields = {"email": is_text}


@dataclass
class FieldReport:
    """The names of fields that aren't as documented, such as "user.email"."""

    missing: set[str] = field(default_factory=set)
    """Documented fields that are missing somewhere."""
    null: set[str] = field(default_factory=set)
    """Documented fields that are null somewhere."""
    mistyped: set[str] = field(default_factory=set)
    """Documented fields that have another type somewhere. Null doesn't count."""
    new: set[str] = field(default_factory=set)
    """Fields that aren't documented."""

    def compare(self, name: str, item: dict[str, Json], documented: Fields) -> None:
        """Compare the fields of one object with the documented ones."""
        for field_name, has_documented_type in documented.items():
            full_name = f"{name}.{field_name}"
            if field_name not in item:
                self.missing.add(full_name)
            elif item[field_name] is None:
                self.null.add(full_name)
            elif not has_documented_type(item[field_name]):
                self.mistyped.add(full_name)


def report_fields(calls: list[dict[str, Json]]) -> FieldReport:
    """Compare all fields of all calls with the documented ones."""
    report = FieldReport(new=set(find_new_fields(calls)))
    for call in calls:
        report.compare("call", call, CALL_FIELDS)
        for participation in _objects(call.get("call_participations")):
            report.compare("call_participations", participation, PARTICIPATION_FIELDS)
            for user in _objects([participation.get("user")]):
                report.compare("user", user, USER_FIELDS)
    return report


def join_names(names: Iterable[str]) -> str:
    """Join names into one line, and shorten a long list."""
    # Some terminals can't show non-ASCII letters.
    all_names = sorted(name.encode("ascii", "backslashreplace").decode() for name in names)
    listed = ", ".join(all_names[:MAX_NAMED_FIELDS])
    return f"{listed} and others" if len(all_names) > MAX_NAMED_FIELDS else listed


def _objects(value: Json) -> list[dict[str, Json]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]
