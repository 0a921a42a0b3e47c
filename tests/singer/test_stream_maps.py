"""How column selection, stream maps and the SDK's other settings change the messages.

Each test runs the tap's command line at LOGLEVEL=DEBUG and passes its output to the strict target,
which rejects messages that violate the Singer specification. Every email contains the word canary.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.conftest import ROOT, Run, config_for, expected_rows, make_calls
from tests.docs.documents import blocks
from tests.loaders.strict_target import StrictTarget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox.company import Call
    from tests.conftest import SandboxFactory, TapCommand

    Row = dict[str, Any]
    Rows = dict[str, list[Row]]
    Extract = Callable[..., "Extracted"]

CANARY = "canary"
PAGE_SIZE = 3
LAST_END = "2026-03-02T09:08:00.000Z"
CATALOG = {
    stream["tap_stream_id"]: stream
    for stream in json.loads((ROOT / "tests" / "catalog.json").read_text(encoding="utf-8"))[
        "streams"
    ]
}
HASHED_EMAIL_OR_NULL = "{}(user_email) if user_email else None"
"""A stream map expression that hashes an email, unless it's null."""


class Extracted(NamedTuple):
    """A run of the tap, and the rows that the strict target stored."""

    run: Run
    rows: Rows

    def schema(self, stream: str) -> dict[str, Any]:
        """Return the schema in a stream's only SCHEMA message."""
        (schema,) = (
            message["schema"]
            for message in self.run.messages
            if message["type"] == "SCHEMA" and message["stream"] == stream
        )
        return dict(schema)

    def columns(self, stream: str) -> list[str]:
        """Return the columns in a stream's schema."""
        return list(self.schema(stream)["properties"])


def canary_calls() -> list[Call]:
    """Return eight calls on three pages. One has an unknown user, one has no participations."""
    calls = make_calls(8)
    for call in calls:
        for seat, participation in enumerate(call["call_participations"]):
            participation["user"]["email"] = f"{CANARY}{seat}@lumen.example"
    calls[2]["call_participations"][1]["user"] = None
    calls[4]["call_participations"] = []
    return calls


def rows_of(calls: list[Call]) -> Rows:
    """Return the rows that the tap writes for calls by default."""
    return dict(zip(("calls", "call_participations"), expected_rows(calls), strict=True))


ALL_ROWS = rows_of(canary_calls())
CALLS, PARTICIPATIONS = ALL_ROWS["calls"], ALL_ROWS["call_participations"]


def rows_by_stream(target: StrictTarget) -> Rows:
    """Return the rows that a target has stored, in the order in which they arrived."""
    stored: Rows = {}
    for (stream, _), row in target.rows.items():
        stored.setdefault(stream, []).append(row)
    return stored


def without(rows: list[Row], *columns: str) -> list[Row]:
    """Return the rows without the given columns."""
    return [{name: row[name] for name in row if name not in columns} for row in rows]


def hashed(rows: list[Row], algorithm: str, salt: str = "") -> list[Row]:
    """Return the participations with hashed emails."""

    def digest(email: str | None) -> str | None:
        return email and hashlib.new(algorithm, (salt + email).encode()).hexdigest()

    return [row | {"user_email": digest(row["user_email"])} for row in rows]


@pytest.fixture
def extract(tap: TapCommand, serve: SandboxFactory) -> Extract:
    """A function that runs the tap on the canary calls, and passes its output to the target."""

    def extract(catalog: dict[str, Any] | None = None, **settings: Any) -> Extracted:
        run = tap(
            config=config_for(serve(canary_calls()), page_size=PAGE_SIZE, **settings),
            catalog=catalog,
            env={"LOGLEVEL": "DEBUG"},
        )
        assert run.returncode == 0, run.errors
        assert "| DEBUG " in run.stderr
        assert CANARY not in run.stderr
        target = StrictTarget()
        for line in run.stdout.encode().splitlines(keepends=True):
            target.take(line)
        assert target.state == run.state
        return Extracted(run, rows_by_stream(target))

    return extract


def bookmarks(run: Run) -> dict[str, str]:
    """Return the bookmarks in the last state."""
    return {
        stream: bookmark["replication_key_value"]
        for stream, bookmark in run.state["bookmarks"].items()
    }


def test_deselecting_all_columns_keeps_key_and_bookmark(tap: TapCommand, extract: Extract) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"]:
                entry["metadata"]["selected"] = False

    run, rows = extracted = extract(catalog)

    call_columns, participation_columns = ["id", "ended_at"], ["id", "call_ended_at"]
    for stream, columns in (
        ("calls", call_columns),
        ("call_participations", participation_columns),
    ):
        assert extracted.columns(stream) == columns
        assert extracted.schema(stream)["required"] == columns
        assert rows[stream] == [{name: row[name] for name in columns} for row in ALL_ROWS[stream]]
    assert CANARY not in run.stdout


def test_renamed_column_keeps_its_type(extract: Extract) -> None:
    maps = {"call_participations": {"email": "user_email", "user_email": None}}

    extracted = extract(stream_maps=maps)

    assert extracted.schema("call_participations")["properties"]["email"]["type"] == [
        "null",
        "string",
    ]
    assert extracted.rows == {
        "calls": CALLS,
        "call_participations": [
            row | {"email": email}
            for row, email in zip(
                without(PARTICIPATIONS, "user_email"),
                (row["user_email"] for row in PARTICIPATIONS),
                strict=True,
            )
        ],
    }


def test_bookmark_column_can_be_renamed(extract: Extract) -> None:
    extracted = extract(stream_maps={"calls": {"finished_at": "ended_at", "ended_at": None}})

    finished = [{"finished_at": row["ended_at"]} for row in CALLS]
    assert extracted.rows["calls"] == [
        row | end for row, end in zip(without(CALLS, "ended_at"), finished, strict=True)
    ]
    assert extracted.rows["call_participations"] == PARTICIPATIONS
    assert bookmarks(extracted.run) == dict.fromkeys(ALL_ROWS, LAST_END)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_emails_can_be_hashed(extract: Extract, algorithm: str) -> None:
    maps = {"call_participations": {"user_email": HASHED_EMAIL_OR_NULL.format(algorithm)}}

    run, rows = extract(stream_maps=maps)

    assert rows == {"calls": CALLS, "call_participations": hashed(PARTICIPATIONS, algorithm)}
    assert CANARY not in run.stdout


def test_documented_stream_maps_hash_emails_with_a_salt(extract: Extract) -> None:
    (documented,) = (b for b in blocks() if (b.mark, b.language) == ("stream maps", "json"))
    settings = json.loads(documented.text)

    run, rows = extract(**settings)

    salt = settings["stream_map_config"]["salt"]
    assert rows["call_participations"] == hashed(PARTICIPATIONS, "sha256", salt)
    assert CANARY not in run.stdout


@pytest.mark.parametrize("nothing", [None, "__NULL__"])
def test_emails_can_be_dropped(extract: Extract, nothing: str | None) -> None:
    extracted = extract(stream_maps={"call_participations": {"user_email": nothing}})

    assert "user_email" not in extracted.columns("call_participations")
    assert extracted.rows == {
        "calls": CALLS,
        "call_participations": without(PARTICIPATIONS, "user_email"),
    }
    assert CANARY not in extracted.run.stdout


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        pytest.param("id not in [1, 4]", (2, 3, 5, 6, 7, 8), id="first call of two pages"),
        pytest.param("id not in [3, 8]", (1, 2, 4, 5, 6, 7), id="last call of two pages"),
        pytest.param("not 4 <= id <= 6", (1, 2, 3, 7, 8), id="whole page"),
        pytest.param("id % 2 == 0", (2, 4, 6, 8), id="every other call"),
        pytest.param("duration_seconds < 60", (), id="all calls"),
    ],
)
def test_filtering_out_a_call_drops_its_participations(
    extract: Extract, rule: str, kept: tuple[int, ...]
) -> None:
    run, rows = extract(stream_maps={"calls": {"__filter__": rule}})

    left = rows_of([call for call in canary_calls() if call["id"] in kept])
    assert rows == {stream: stream_rows for stream, stream_rows in left.items() if stream_rows}
    # Filtered calls still move the bookmarks, so they aren't read again.
    assert bookmarks(run) == dict.fromkeys(ALL_ROWS, LAST_END)


def test_filter_on_a_deselected_stream_still_applies(tap: TapCommand, extract: Extract) -> None:
    _, rows = extract(tap.discover(calls=False), stream_maps={"calls": {"__filter__": "id > 4"}})

    later_participations = [row for row in PARTICIPATIONS if row["call_id"] > 4]
    assert rows == {"call_participations": later_participations}


@pytest.mark.parametrize(
    "rule",
    [
        "user_email is not None",
        # This rule evaluates to an email, which could end up in a log.
        "user_email",
    ],
)
def test_filtering_participations_keeps_all_calls(extract: Extract, rule: str) -> None:
    _, rows = extract(stream_maps={"call_participations": {"__filter__": rule}})

    known = [row for row in PARTICIPATIONS if row["user_email"]]
    assert rows == {"calls": CALLS, "call_participations": known}


def test_renamed_streams_keep_their_bookmarks(extract: Extract) -> None:
    maps = {
        "calls": {"__alias__": "tuple_calls"},
        "call_participations": {"__alias__": "tuple_seats"},
    }

    run, rows = extract(stream_maps=maps)

    assert rows == {"tuple_calls": CALLS, "tuple_seats": PARTICIPATIONS}
    assert bookmarks(run) == dict.fromkeys(ALL_ROWS, LAST_END)


def test_stream_copy_has_its_own_map(extract: Extract) -> None:
    maps = {
        "call_participations": {"user_email": None},
        "people": {
            "__source__": "call_participations",
            "user_email": HASHED_EMAIL_OR_NULL.format("sha256"),
        },
        "long_calls": {"__source__": "calls", "__filter__": "id == 2"},
    }

    run, rows = extract(stream_maps=maps)

    assert rows == {
        "calls": CALLS,
        "call_participations": without(PARTICIPATIONS, "user_email"),
        "people": hashed(PARTICIPATIONS, "sha256"),
        # A filter on a copy doesn't affect the calls themselves, so their participations stay.
        "long_calls": CALLS[1:2],
    }
    assert CANARY not in run.stdout


@pytest.mark.parametrize(
    ("dropped", "left"),
    [
        ("call_participations", {"calls": CALLS}),
        # Dropping the calls drops their participations too, just like a filter does.
        ("calls", {}),
    ],
)
def test_stream_can_be_dropped(extract: Extract, dropped: str, left: Rows) -> None:
    run, rows = extract(stream_maps={dropped: "__NULL__"})

    assert rows == left
    assert dropped not in {message.get("stream") for message in run.messages}


def test_flattening_leaves_schemas_and_rows_unchanged(extract: Extract) -> None:
    extracted = extract(flattening_enabled=True, flattening_max_depth=5)

    for stream, entry in CATALOG.items():
        assert extracted.schema(stream) == entry["schema"]
    assert extracted.rows == ALL_ROWS


@pytest.mark.parametrize("method", ["INCREMENTAL", "FULL_TABLE"])
def test_activate_version_is_never_written(tap: TapCommand, extract: Extract, method: str) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        stream["replication_method"] = method

    run, rows = extract(catalog, emit_activate_version_messages=True)

    assert rows == ALL_ROWS
    assert not any("version" in message for message in run.messages)


def test_batch_config_does_not_bypass_stream_maps(extract: Extract, tmp_path: Path) -> None:
    folder = tmp_path / "batches"
    folder.mkdir()

    run, rows = extract(
        batch_config={
            "encoding": {"format": "jsonl", "compression": "none"},
            "storage": {"root": folder.as_uri()},
        },
        stream_maps={"call_participations": {"user_email": None}},
    )

    assert list(folder.iterdir()) == []
    assert rows == {"calls": CALLS, "call_participations": without(PARTICIPATIONS, "user_email")}
    assert CANARY not in run.stdout
    assert run.stderr.count("Ignoring unknown setting 'batch_config'.") == 1


@pytest.mark.parametrize(
    "expression",
    [
        "config['teams'][user_email]",
        "int(user_email)",
        "user_email + 1",
        "1 / 0",
        "x =",
        "sha256('canary-salt' + user_mail)",
        "sha256('canary-salt' +",
    ],
)
def test_failing_expression_is_reported_without_its_value(
    tap: TapCommand, serve: SandboxFactory, expression: str
) -> None:
    run = tap(
        config=config_for(
            serve(canary_calls()),
            stream_maps={"call_participations": {"user_email": expression}},
            stream_map_config={"teams": {}},
        ),
        env={"LOGLEVEL": "DEBUG"},
    )

    assert CANARY not in run.stdout
    assert run.only_error.startswith("stream_maps: the map for 'call_participations' failed with ")


def test_error_in_the_map_of_a_stream_copy_names_the_copy(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    maps = {"people": {"__source__": "call_participations", "user_email": "int(user_email)"}}

    run = tap(config=config_for(serve(canary_calls()), stream_maps=maps))

    (error,) = run.errors
    assert error.startswith("stream_maps: the map for 'people' failed with ")


def test_missing_stream_map_config_setting_is_named(tap: TapCommand, serve: SandboxFactory) -> None:
    expression = "sha256(config['salt'] + user_email) if user_email else None"

    run = tap(
        config=config_for(
            serve(canary_calls()), stream_maps={"call_participations": {"user_email": expression}}
        )
    )

    assert run.only_error == (
        "stream_maps: the map for 'call_participations' failed. Its expressions need 'salt' in "
        "stream_map_config."
    )


def test_null_key_properties_are_written_as_an_empty_list(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    """The SDK's documentation recommends null, but loaders reject null in a SCHEMA."""
    maps = {"calls": {"__key_properties__": None}}

    run = tap(config=config_for(serve(canary_calls()), stream_maps=maps))

    schemas = [message for message in run.messages if message["type"] == "SCHEMA"]
    assert schemas[0]["key_properties"] == []
