"""The catalog: which streams and columns are written, and how they are replicated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT, bookmarks, config_for, expected_rows, make_calls, minute, state_of

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand

CATALOG_SNAPSHOT = ROOT / "tests" / "catalog.json"


def set_metadata(catalog: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Change the metadata of all streams, but not that of their columns."""
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"] |= metadata


def test_catalog_matches_the_snapshot(tap: TapCommand) -> None:
    run = tap("--discover")

    assert run.returncode == 0
    assert json.loads(run.stdout) == json.loads(CATALOG_SNAPSHOT.read_text("utf-8")), (
        "The catalog changed. If that's intended, run "
        "`uv run tap-tuple --discover > tests/catalog.json` and note it in CHANGELOG.md."
    )


def test_properties_have_descriptions_and_plain_types(tap: TapCommand) -> None:
    for stream in json.loads(tap("--discover").stdout)["streams"]:
        for name, schema in stream["schema"]["properties"].items():
            assert schema["description"], name
            assert isinstance(schema["type"], list), name
            assert "anyOf" not in schema, name


@pytest.mark.parametrize("selected", ["calls", "call_participations"])
def test_only_the_selected_stream_is_written(
    tap: TapCommand, serve: SandboxFactory, selected: str
) -> None:
    calls = make_calls(25)
    other = {"calls": "call_participations", "call_participations": "calls"}[selected]
    catalog = tap.discover(**{other: False})

    run = tap(config=config_for(serve(calls), page_size=10), catalog=catalog)

    rows = dict(zip(("calls", "call_participations"), expected_rows(calls), strict=True))
    assert run.records(selected) == rows[selected]
    assert {m["stream"] for m in run.messages if m["type"] != "STATE"} == {selected}


def test_stream_maps_may_include_deselected_streams(tap: TapCommand, serve: SandboxFactory) -> None:
    """If only the participations are selected, the calls' filter still applies to them."""
    maps = {
        "calls": {"__filter__": "id > 20"},
        "call_participations": {"user_email": "md5(user_email)"},
    }
    config = config_for(serve(make_calls(25)), page_size=10, stream_maps=maps)

    only_calls = tap(config=config, catalog=tap.discover(call_participations=False))
    only_participations = tap(config=config, catalog=tap.discover(calls=False))

    assert only_calls.ids("calls") == [21, 22, 23, 24, 25]
    assert {m["stream"] for m in only_calls.messages if m["type"] != "STATE"} == {"calls"}
    call_ids = {row["call_id"] for row in only_participations.records("call_participations")}
    assert call_ids == {21, 22, 23, 24, 25}
    assert only_participations.records("calls") == []


def test_run_without_a_selected_stream_fails(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3))

    run = tap(
        config=config_for(sandbox), catalog=tap.discover(calls=False, call_participations=False)
    )

    (error,) = run.errors
    assert error.startswith("No stream is selected, so nothing was read. ")
    assert (run.returncode, sandbox.requests) == (1, [])


def test_catalog_may_omit_the_parent_stream(tap: TapCommand, serve: SandboxFactory) -> None:
    catalog = tap.discover()
    catalog["streams"] = [s for s in catalog["streams"] if s["tap_stream_id"] != "calls"]

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert len(run.records("call_participations")) == 6
    assert run.records("calls") == []


def test_deselected_columns_are_left_out(tap: TapCommand, serve: SandboxFactory) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"][1:] in (["user_email"], ["duration_seconds"]):
                entry["metadata"]["selected"] = False

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert set(run.records("calls")[0]) == {"id", "started_at", "ended_at"}
    assert "user_email" not in run.records("call_participations")[0]
    for schema in (m["schema"] for m in run.messages if m["type"] == "SCHEMA"):
        assert not {"user_email", "duration_seconds"} & set(schema["properties"])


def test_column_missing_from_the_catalog_is_left_out(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        stream["schema"]["properties"].pop("user_email", None)

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert "user_email" not in run.records("call_participations")[0]


def test_catalog_without_keys_uses_the_default_keys(tap: TapCommand, serve: SandboxFactory) -> None:
    """Other tools and older versions leave out the keys and the replication method."""
    catalog = tap.discover()
    for stream in catalog["streams"]:
        for name in ("key_properties", "replication_key", "replication_method"):
            stream.pop(name, None)
        for entry in stream["metadata"]:
            selected = entry["metadata"].get("selected", True)
            entry["metadata"] = {"selected": selected}

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    schemas = [message for message in run.messages if message["type"] == "SCHEMA"]
    assert [schema["key_properties"] for schema in schemas] == [["id"], ["id"]]
    assert bookmarks(run.state) == (minute(3), minute(3))


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (
            {"replication-key": "started_at"},
            "to 'started_at', but the tap only supports 'call_ended_at'. Correct or remove it.",
        ),
        (
            {"forced-replication-method": "LOG_BASED"},
            "to 'LOG_BASED'. Use INCREMENTAL or FULL_TABLE.",
        ),
    ],
    ids=["replication key", "replication method"],
)
@pytest.mark.parametrize("place", ["metadata", "entry"])
def test_unsupported_replication_is_rejected(
    tap: TapCommand, serve: SandboxFactory, metadata: dict[str, str], error: str, place: str
) -> None:
    """A catalog can set the key and the method in a stream's entry or in its metadata."""
    sandbox = serve(make_calls(3))
    catalog = tap.discover()
    if place == "metadata":
        set_metadata(catalog, metadata)
    else:
        for stream in catalog["streams"]:
            for name, value in metadata.items():
                stream[name.removeprefix("forced-").replace("-", "_")] = value

    run = tap(config=config_for(sandbox), catalog=catalog)

    assert run.only_error.startswith("--catalog sets the replication ")
    assert run.only_error.endswith(error)
    assert sandbox.requests == []


@pytest.mark.parametrize("place", ["metadata", "entry"])
def test_full_table_replication_ignores_bookmarks(
    tap: TapCommand, serve: SandboxFactory, place: str
) -> None:
    catalog = tap.discover()
    if place == "metadata":
        set_metadata(catalog, {"forced-replication-method": "FULL_TABLE"})
    else:
        for stream in catalog["streams"]:
            stream["replication_method"] = "FULL_TABLE"
    settings = {"page_size": 10, "lookback_window": 0, "emit_activate_version_messages": True}
    config = config_for(serve(make_calls(25)), **settings)

    run = tap(config=config, catalog=catalog, state=state_of(minute(20), minute(20)))

    assert run.ids("calls") == list(range(1, 26))
    assert len(run.ids("call_participations")) == 50
    assert bookmarks(run.state) == (minute(20), minute(20))
    assert run.count("ACTIVATE_VERSION") == 0
