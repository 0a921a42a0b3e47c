"""A Singer target that accepts only messages that the specification allows.

Run it as ``python -m tests.loaders.strict_target --output FOLDER`` and pipe messages into it. It
exits with status 1 at the first line that breaks a rule, without storing anything. The error is a
single line with the number of that line, and never contains a value of a record. If all lines are
valid, it updates the rows in ``rows.sqlite`` by key and prints the last STATE.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from jsonschema import Draft4Validator, Draft7Validator, FormatChecker, SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE = "rows.sqlite"
DRAFTS = {"Draft 4": Draft4Validator, "Draft 7": Draft7Validator}

_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt]((?:[01]\d|2[0-3]):\d{2}:\d{2})(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


class BrokenRuleError(Exception):
    """A line breaks a rule of the specification. The message doesn't include a record's values."""


@dataclass(frozen=True)
class Stream:
    """The constraints that a SCHEMA message puts on a stream's records."""

    properties: frozenset[str]
    key: tuple[str, ...]
    validators: Mapping[str, Any]


class StrictTarget:
    """Processes messages line by line and keeps the resulting rows."""

    def __init__(self) -> None:
        """Start without streams."""
        self.state: dict[str, Any] | None = None
        """The value of the last STATE."""
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        """The latest record by stream and key."""
        self._streams: dict[str, Stream] = {}

    def take(self, line: bytes) -> None:
        """Process a line.

        Args:
            line: The line, including its newline.

        Raises:
            BrokenRuleError: If it isn't a valid message, or isn't allowed at this point.
        """
        message = read_message(line)
        match message.get("type"):
            case "SCHEMA":
                self._take_schema(message)
            case "RECORD":
                self._take_record(message)
            case "STATE":
                self._take_state(message)
            case _:
                _reject("the type isn't SCHEMA, RECORD or STATE")

    def _take_schema(self, message: dict[str, Any]) -> None:
        name = _stream_name(message)
        if name in self._streams:
            _reject(f"SCHEMA for {name!r} is repeated")
        schema = message.get("schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
            _reject(f"SCHEMA for {name!r} has no schema with properties")
        properties = frozenset(schema["properties"])
        key = message.get("key_properties")
        if not _is_list_of_names(key) or not key:
            _reject(f"SCHEMA for {name!r} has no list of key_properties")
        bookmarks = message.get("bookmark_properties", [])
        if not _is_list_of_names(bookmarks):
            _reject(f"SCHEMA for {name!r} has bookmark_properties that aren't a list of names")
        for unknown in sorted({*key, *bookmarks} - properties):
            _reject(f"SCHEMA for {name!r} names an unknown property, {unknown!r}")
        formats = FormatChecker(formats=())
        formats.checks("date-time")(is_rfc_3339)
        for draft, validator in DRAFTS.items():
            try:
                validator.check_schema(schema)
            except SchemaError as error:
                where = "/".join(map(str, error.absolute_path))
                _reject(f"SCHEMA for {name!r} isn't valid JSON Schema {draft} at {where!r}")
        self._streams[name] = Stream(
            properties,
            tuple(key),
            {draft: each(schema, format_checker=formats) for draft, each in DRAFTS.items()},
        )

    def _take_record(self, message: dict[str, Any]) -> None:
        name = _stream_name(message)
        if name not in self._streams:
            _reject(f"RECORD for {name!r} comes before its SCHEMA")
        stream = self._streams[name]
        record = message.get("record")
        if not isinstance(record, dict):
            _reject(f"RECORD for {name!r} needs an object as its record")
        extracted = message.get("time_extracted", "1970-01-01T00:00:00Z")
        if not isinstance(extracted, str) or not is_rfc_3339(extracted):
            _reject(f"RECORD for {name!r} has a time_extracted that isn't an RFC 3339 date-time")
        for each in stream.key:
            if record.get(each) is None:
                _reject(f"RECORD for {name!r} has no value for its key {each!r}")
        for unknown in sorted(set(record) - stream.properties):
            _reject(f"RECORD for {name!r} has {unknown!r}, which isn't in its schema")
        for draft, validator in stream.validators.items():
            for error in validator.iter_errors(record):
                where = "/".join(map(str, error.absolute_path))
                _reject(f"RECORD for {name!r} violates {error.validator!r} ({draft}) at {where!r}")
        self.rows[name, json.dumps([record[each] for each in stream.key])] = record

    def _take_state(self, message: dict[str, Any]) -> None:
        value = message.get("value")
        if not isinstance(value, dict):
            _reject("STATE needs an object as its value")
        bookmarks = value.get("bookmarks", {})
        if not isinstance(bookmarks, dict):
            _reject("STATE has bookmarks that aren't an object")
        for stream, bookmark in bookmarks.items():
            if not isinstance(bookmark, dict):
                _reject(f"STATE: the bookmark for {stream!r} isn't an object")
            for name, each in bookmark.items():
                if not isinstance(each, str):
                    _reject(f"STATE: {name!r} in the bookmark for {stream!r} isn't a string")
        self.state = value


def read_message(line: bytes) -> dict[str, Any]:
    """Parse a line.

    Raises:
        BrokenRuleError: If it isn't a complete JSON object (RFC 8259) in UTF-8.
    """
    if not line.endswith(b"\n"):
        _reject("the line doesn't end with a newline")
    try:
        message = json.loads(
            line.decode(),
            object_pairs_hook=_object_with_unique_names,
            parse_constant=_reject_constant,
        )
    except (ValueError, RecursionError):
        # Drop the original error, because it quotes the line.
        msg = "the line isn't JSON"
        raise BrokenRuleError(msg) from None
    if not isinstance(message, dict):
        _reject("the line isn't a JSON object")
    return message


def is_rfc_3339(value: object) -> bool:
    """Return whether a value is valid for the date-time format (RFC 3339) of JSON Schema.

    Formats apply only to strings, so other values are always valid. Leap seconds are rejected,
    because loaders written in Python can't parse them.
    """
    if not isinstance(value, str):
        return True
    match = _RFC_3339.fullmatch(value)
    if match is None:
        return False
    try:
        datetime.fromisoformat("T".join(match.groups()))
    except ValueError:
        return False
    return True


def read_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the rows that the target stored in a folder, by stream."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        for stream, row in database.execute("SELECT stream, row FROM rows ORDER BY rowid"):
            rows.setdefault(stream, []).append(json.loads(row))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if a line broke a rule.
    """
    parser = argparse.ArgumentParser(description="Store valid Singer messages.")
    parser.add_argument("--output", type=Path, required=True, help="folder for rows.sqlite")
    folder: Path = parser.parse_args(arguments).output
    target = StrictTarget()
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            target.take(line)
        except BrokenRuleError as error:
            sys.stderr.write(f"line {number}: {error}\n")
            return 1
    _store(folder, target.rows)
    if target.state is not None:
        sys.stdout.write(json.dumps(target.state) + "\n")
    return 0


def _store(folder: Path, rows: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS rows "
            "(stream TEXT, key TEXT, row TEXT, PRIMARY KEY (stream, key))"
        )
        database.executemany(
            "INSERT INTO rows VALUES (?, ?, ?) "
            "ON CONFLICT (stream, key) DO UPDATE SET row = excluded.row",
            [(stream, key, json.dumps(row)) for (stream, key), row in rows.items()],
        )


def _stream_name(message: dict[str, Any]) -> str:
    name = message.get("stream")
    if not isinstance(name, str) or not name:
        _reject(f"{message['type']} has no stream name")
    return name


def _is_list_of_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _object_with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        msg = "a name is repeated in an object"
        raise ValueError(msg)
    return result


def _reject_constant(name: str) -> NoReturn:
    msg = f"{name} isn't JSON"
    raise ValueError(msg)


def _reject(problem: str) -> NoReturn:
    raise BrokenRuleError(problem)


if __name__ == "__main__":
    sys.exit(main())
