"""Tests of the strict target: it reports every broken rule, and stores valid rows."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.loaders.strict_target import DATABASE, is_rfc_3339, main, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Take = Callable[[bytes], tuple[int, str, str]]

CANARY = "canary@lumen.example"
KEY = {"type": ["integer"]}
TIME = {"type": ["string", "null"], "format": "date-time"}
TEXT = {"type": ["string", "null"]}
PROPERTIES = {"id": KEY, "at": TIME, "email": TEXT}


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def schema_line(**changes: Any) -> bytes:
    """Return a SCHEMA message with some fields changed, or removed if they're None."""
    message = {
        "stream": "calls",
        "schema": {"type": "object", "properties": PROPERTIES, "required": ["id"]},
        "key_properties": ["id"],
        "bookmark_properties": ["at"],
    } | changes
    return line(type="SCHEMA", **{name: each for name, each in message.items() if each is not None})


def record_line(stream: str = "calls", **record: Any) -> bytes:
    return line(type="RECORD", stream=stream, record=record)


def state_line(**bookmarks: Any) -> bytes:
    return line(type="STATE", value={"bookmarks": bookmarks})


SCHEMA = schema_line()
RECORD = record_line(id=1, at="2026-03-02T09:00:00.123456Z", email=CANARY)
STATE = state_line(calls={"replication_key": "at", "replication_key_value": "2026-03-02"})

BROKEN = {
    "empty line": (b"\n", "the line isn't JSON"),
    "plain text": (b"canary@lumen.example\n", "the line isn't JSON"),
    "truncated JSON": (RECORD[:40] + b"\n", "the line isn't JSON"),
    "two messages on one line": (RECORD[:-1] + RECORD, "the line isn't JSON"),
    "invalid UTF-8": (RECORD.replace(b"canary", b"\xff"), "the line isn't JSON"),
    "NaN": (record_line(id=1, at=float("nan")), "the line isn't JSON"),
    "duplicate name in an object": (RECORD.replace(b'"at"', b'"id"'), "the line isn't JSON"),
    "deeply nested arrays": (b"[" * 100_000 + b"\n", "the line isn't JSON"),
    "array": (b'["canary@lumen.example"]\n', "the line isn't a JSON object"),
    "missing type": (line(stream="calls"), "the type isn't SCHEMA, RECORD or STATE"),
    "BATCH": (
        line(type="BATCH", stream="calls", manifest=[CANARY]),
        "the type isn't SCHEMA, RECORD or STATE",
    ),
    "ACTIVATE_VERSION": (
        line(type="ACTIVATE_VERSION", stream="calls", version=1),
        "the type isn't SCHEMA, RECORD or STATE",
    ),
    "RECORD without a stream": (line(type="RECORD", record={"id": 1}), "RECORD has no stream name"),
    "RECORD of an unknown stream": (
        record_line("people", id=1, email=CANARY),
        "RECORD for 'people' comes before its SCHEMA",
    ),
    "RECORD without a record": (
        line(type="RECORD", stream="calls"),
        "RECORD for 'calls' needs an object as its record",
    ),
    "RECORD with a list as its record": (
        line(type="RECORD", stream="calls", record=[CANARY]),
        "RECORD for 'calls' needs an object as its record",
    ),
    "time_extracted without a time zone": (
        line(type="RECORD", stream="calls", record={"id": 1}, time_extracted="2026-03-02T09:00:00"),
        "RECORD for 'calls' has a time_extracted that isn't an RFC 3339 date-time",
    ),
    "number as time_extracted": (
        line(type="RECORD", stream="calls", record={"id": 1}, time_extracted=1),
        "RECORD for 'calls' has a time_extracted that isn't an RFC 3339 date-time",
    ),
    "RECORD without its key": (
        record_line(email=CANARY),
        "RECORD for 'calls' has no value for its key 'id'",
    ),
    "RECORD with a null key": (
        record_line(id=None, email=CANARY),
        "RECORD for 'calls' has no value for its key 'id'",
    ),
    "RECORD with an unknown property": (
        record_line(id=1, name=CANARY),
        "RECORD for 'calls' has 'name', which isn't in its schema",
    ),
    "RECORD with a value of the wrong type": (
        record_line(id=1, email=[CANARY]),
        "RECORD for 'calls' violates 'type' (Draft 4) at 'email'",
    ),
    "float that is an integer only in draft 7": (
        record_line(id=1.0, email=CANARY),
        "RECORD for 'calls' violates 'type' (Draft 4) at 'id'",
    ),
    "email as a date-time": (
        record_line(id=1, at=CANARY),
        "RECORD for 'calls' violates 'format' (Draft 4) at 'at'",
    ),
    "repeated SCHEMA": (SCHEMA, "SCHEMA for 'calls' is repeated"),
    "SCHEMA without a stream": (schema_line(stream=""), "SCHEMA has no stream name"),
    "SCHEMA without a schema": (
        schema_line(stream="people", schema=None),
        "SCHEMA for 'people' has no schema with properties",
    ),
    "SCHEMA without properties": (
        schema_line(stream="people", schema={"type": "object"}),
        "SCHEMA for 'people' has no schema with properties",
    ),
    "SCHEMA without key_properties": (
        schema_line(stream="people", key_properties=None),
        "SCHEMA for 'people' has no list of key_properties",
    ),
    "SCHEMA with empty key_properties": (
        schema_line(stream="people", key_properties=[]),
        "SCHEMA for 'people' has no list of key_properties",
    ),
    "SCHEMA with text as key_properties": (
        schema_line(stream="people", key_properties="id"),
        "SCHEMA for 'people' has no list of key_properties",
    ),
    "SCHEMA with an unknown key property": (
        schema_line(stream="people", key_properties=["uuid"]),
        "SCHEMA for 'people' names an unknown property, 'uuid'",
    ),
    "SCHEMA with an unknown bookmark property": (
        schema_line(stream="people", bookmark_properties=["since"]),
        "SCHEMA for 'people' names an unknown property, 'since'",
    ),
    "SCHEMA with text as bookmark_properties": (
        schema_line(stream="people", bookmark_properties="at"),
        "SCHEMA for 'people' has bookmark_properties that aren't a list of names",
    ),
    "SCHEMA with an unknown type": (
        schema_line(
            stream="people",
            schema={"properties": {"id": {"type": "int"}}},
            bookmark_properties=None,
        ),
        "SCHEMA for 'people' isn't valid JSON Schema Draft 4 at 'properties/id/type'",
    ),
    "SCHEMA that is valid only in draft 4": (
        schema_line(
            stream="people",
            schema={"properties": {"id": {"maximum": 9, "exclusiveMaximum": True}}},
            bookmark_properties=None,
        ),
        "SCHEMA for 'people' isn't valid JSON Schema Draft 7 at 'properties/id/exclusiveMaximum'",
    ),
    "STATE without a value": (line(type="STATE"), "STATE needs an object as its value"),
    "STATE with text as its value": (
        line(type="STATE", value=CANARY),
        "STATE needs an object as its value",
    ),
    "STATE with a list of bookmarks": (
        line(type="STATE", value={"bookmarks": [CANARY]}),
        "STATE has bookmarks that aren't an object",
    ),
    "text as a bookmark": (
        state_line(calls=CANARY),
        "STATE: the bookmark for 'calls' isn't an object",
    ),
    "bookmark with a number": (
        state_line(calls={"page": 2}),
        "STATE: 'page' in the bookmark for 'calls' isn't a string",
    ),
    "bookmark with null": (
        state_line(calls={"replication_key_value": None}),
        "STATE: 'replication_key_value' in the bookmark for 'calls' isn't a string",
    ),
    "bookmark with an object": (
        state_line(calls={"partitions": {"email": CANARY}}),
        "STATE: 'partitions' in the bookmark for 'calls' isn't a string",
    ),
    "missing newline at the end": (RECORD[:-1], "the line doesn't end with a newline"),
}


@pytest.fixture
def take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Take:
    """A function that feeds lines to the target, and returns its exit status and output."""

    def take(lines: bytes) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(lines)))
        status = main(["--output", str(tmp_path)])
        return status, *capsys.readouterr()

    return take


@pytest.mark.parametrize(("broken", "rule"), BROKEN.values(), ids=BROKEN)
def test_broken_rule_is_reported_without_values(
    take: Take, tmp_path: Path, broken: bytes, rule: str
) -> None:
    printed = take(SCHEMA + STATE + RECORD + broken)

    assert printed == (1, "", f"line 4: {rule}\n")
    assert CANARY not in rule
    assert not (tmp_path / DATABASE).exists()


def test_records_are_also_validated_with_draft_7(take: Take) -> None:
    schema = schema_line(
        schema={"properties": {"id": {"type": "integer", "const": 2}}}, bookmark_properties=None
    )

    assert take(schema + record_line(id=2)) == (0, "", "")
    rule = "RECORD for 'calls' violates 'const' (Draft 7) at 'id'"
    assert take(schema + record_line(id=1)) == (1, "", f"line 2: {rule}\n")


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T09:00:00Z",
        "2026-03-02t09:00:00.1z",
        "2026-03-02T09:00:00.123456789+05:30",
        "2028-02-29T23:59:59-23:59",
    ],
)
def test_rfc_3339_date_times_are_accepted(text: str) -> None:
    assert is_rfc_3339(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-02",
        "2026-03-02T09:00:00",
        "2026-03-02 09:00:00Z",
        "2026-03-02T09:00Z",
        "2026-03-02T09:00:00.Z",
        "2026-03-02T09:00:00,5Z",
        "2026-03-02T09:00:00Z\n",
        "2026-03-02T09:00:00+0530",
        "2026-03-02T09:00:00+24:00",
        "2026-03-02T09:00:00+05:60",
        "2026-03-02T24:00:00Z",
        "2026-03-02T23:59:60Z",
        "2026-02-29T09:00:00Z",
        "2026-W10-1T09:00:00Z",
        "2026-03-02T09:00:00.１Z",  # noqa: RUF001 - a digit, but not in ASCII
    ],
)
def test_invalid_date_times_are_rejected(text: str) -> None:
    assert not is_rfc_3339(text)


def test_rows_are_upserted_and_the_last_state_is_printed(take: Take, tmp_path: Path) -> None:
    other = schema_line(stream="seats", key_properties=["id", "email"])
    newer = state_line(calls={"replication_key_value": "2026-03-03"})
    first = SCHEMA + other + RECORD + STATE + record_line("seats", id=1, email="a") + newer
    second = SCHEMA + other + record_line(id=2) + record_line(id=1, at=None)
    second += record_line("seats", id=1, email="b") + record_line(id=2, email=None)

    assert take(first) == (0, json.dumps(json.loads(newer)["value"]) + "\n", "")
    assert take(second) == (0, "", "")
    assert read_rows(tmp_path) == {
        "calls": [{"id": 1, "at": None}, {"id": 2, "email": None}],
        "seats": [{"id": 1, "email": "a"}, {"id": 1, "email": "b"}],
    }


@pytest.mark.parametrize(("lines", "status"), [(SCHEMA + RECORD + STATE, 0), (RECORD, 1)])
def test_target_runs_as_a_command(tmp_path: Path, lines: bytes, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.loaders.strict_target", "--output", str(tmp_path / "new")],
        input=lines,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == status
    if status:
        assert done.stderr == b"line 1: RECORD for 'calls' comes before its SCHEMA\n"
        assert done.stdout == b""
    else:
        assert done.stderr == b""
        assert json.loads(done.stdout) == json.loads(STATE)["value"]
        assert read_rows(tmp_path / "new") == {"calls": [json.loads(RECORD)["record"]]}
