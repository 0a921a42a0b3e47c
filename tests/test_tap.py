"""The tap's command line: its input, output and requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.streams import Calls
from tap_tuple.tap import TapTuple
from tests.conftest import ROOT, config_for, expected_rows, make_call, make_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]

CATALOG_SNAPSHOT = ROOT / "tests" / "catalog.json"


def test_every_row_is_written_once_with_all_values(tap: TapCommand, serve: Serve) -> None:
    calls = [make_call(number, participations=number % 4) for number in range(1, 251)]
    sandbox = serve(calls)

    run = tap(config=config_for(sandbox, page_size=100))

    call_rows, participation_rows = expected_rows(calls)
    assert run.returncode == 0
    assert run.records("calls") == call_rows
    assert run.records("call_participations") == participation_rows


def test_large_run_makes_13_requests_and_2_schemas(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(12_345))

    run = tap(config=config_for(sandbox))

    assert len(sandbox.requests) == 13
    assert run.count("SCHEMA") == 2
    assert run.ids("calls") == list(range(1, 12_346))
    assert len(set(run.ids("call_participations"))) == run.count("RECORD") - 12_345 == 24_690
    assert 13 <= run.count("STATE") <= 16


def test_full_last_page_ends_the_run(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(20))

    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 21))
    assert len(sandbox.requests) == 2


def test_schemas_come_first_even_without_records(tap: TapCommand, serve: Serve) -> None:
    for calls in (make_calls(3), []):
        run = tap(config=config_for(serve(calls)))

        kinds = [m["type"] for m in run.messages if m["type"] != "STATE"]
        assert kinds[:2] == ["SCHEMA", "SCHEMA"]
        assert "SCHEMA" not in kinds[2:]


def test_first_request_sends_time_range_and_page_size(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve([])
    began = datetime.now(UTC)

    tap(config=config_for(sandbox))

    (request,) = sandbox.requests
    until = datetime.fromisoformat(request.query.pop("until"))
    assert began <= until <= datetime.now(UTC)
    assert request.query == {"since": "1970-01-01T00:00:00.000Z", "per_page": "1000"}


@pytest.mark.parametrize(
    ("start_date", "since"),
    [
        ("2026-03-01", "2026-03-01T00:00:00.000Z"),
        ("2026-03-01T09:30:00", "2026-03-01T09:30:00.000Z"),
        ("2026-03-01T09:30:00+05:30", "2026-03-01T04:00:00.000Z"),
        ("2026-03-01T09:30:00.123456Z", "2026-03-01T09:30:00.123456Z"),
    ],
)
def test_start_date_accepts_dates_and_any_offset(
    tap: TapCommand, serve: Serve, start_date: str, since: str
) -> None:
    sandbox = serve([])

    tap(config=config_for(sandbox, start_date=start_date, end_date="2026-04-01"))

    assert sandbox.requests[0].query["since"] == since
    assert sandbox.requests[0].query["until"] == "2026-04-01T00:00:00.000Z"


def test_start_and_end_date_limit_the_calls_read(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(10))

    dates = {"start_date": "2026-03-02T09:03:00Z", "end_date": "2026-03-02T09:07:00Z"}
    run = tap(config=config_for(sandbox, **dates))

    assert run.ids("calls") == [3, 4, 5, 6]


def test_target_of_a_link_header_is_ignored(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))
    elsewhere = "https://elsewhere.example/steal?page=2&per_page=10&since=2026-01-01T00:00:00Z"

    def link_elsewhere(response: Any) -> Any:
        response.headers["Link"] = f'<{elsewhere}>; rel="next"'
        return response

    sandbox.faults.append(link_elsewhere)
    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 26))
    assert {request.path for request in sandbox.requests} == {"/api/v2/call_usage"}
    assert sandbox.requests[1].query["since"] == "2026-03-02T09:09:59.000Z"
    assert "page" not in sandbox.requests[1].query
    assert "until" in sandbox.requests[1].query


def test_relative_link_header_is_accepted(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))

    def relative(response: Any) -> Any:
        response.headers["Link"] = response.headers["Link"].replace(sandbox.url, "")
        return response

    sandbox.faults.extend([relative, relative])
    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 26))
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize("selected", ["calls", "call_participations"])
def test_only_the_selected_stream_is_written(tap: TapCommand, serve: Serve, selected: str) -> None:
    calls = make_calls(25)
    other = {"calls": "call_participations", "call_participations": "calls"}[selected]
    catalog = tap.discover(**{other: False})

    run = tap(config=config_for(serve(calls), page_size=10), catalog=catalog)

    rows = dict(zip(("calls", "call_participations"), expected_rows(calls), strict=True))
    assert run.records(selected) == rows[selected]
    assert {m["stream"] for m in run.messages if m["type"] != "STATE"} == {selected}


def test_stream_maps_may_include_deselected_streams(tap: TapCommand, serve: Serve) -> None:
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


def test_run_without_a_selected_stream_fails(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))

    run = tap(
        config=config_for(sandbox), catalog=tap.discover(calls=False, call_participations=False)
    )

    (error,) = run.errors
    assert error.startswith("No stream is selected, so nothing was read. ")
    assert (run.returncode, sandbox.requests) == (1, [])


def test_catalog_may_omit_the_parent_stream(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    catalog["streams"] = [s for s in catalog["streams"] if s["tap_stream_id"] != "calls"]

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert len(run.records("call_participations")) == 6
    assert run.records("calls") == []


def test_deselected_columns_are_left_out(tap: TapCommand, serve: Serve) -> None:
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


def test_column_missing_from_the_catalog_is_left_out(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        stream["schema"]["properties"].pop("user_email", None)

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert "user_email" not in run.records("call_participations")[0]


def test_connection_test_requests_only_one_call(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))

    run = tap("--test", config=config_for(sandbox))

    (request,) = sandbox.requests
    assert request.query["per_page"] == "1"
    assert run.returncode == 0
    assert run.errors == []
    assert (run.ids("calls"), run.ids("call_participations")) == ([1], [10])


def test_schema_test_sends_no_requests(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))

    run = tap("--test=schema", config=config_for(sandbox))

    assert (run.count("SCHEMA"), run.count("RECORD"), sandbox.requests) == (2, 0, [])


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


def test_settings_can_come_from_the_environment(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))
    env = {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_PAGE_SIZE": "10",
    }

    run = tap("--config=ENV", env=env)

    assert len(run.records("calls")) == 25
    assert len(sandbox.requests) == 3


def test_settings_can_come_from_a_dotenv_file(
    tap: TapCommand, serve: Serve, tmp_path: Path
) -> None:
    sandbox = serve(make_calls(5))
    (tmp_path / ".env").write_text(
        f"TAP_TUPLE_API_URL={sandbox.url}\nTAP_TUPLE_API_TOKEN={sandbox.token}\n", encoding="utf-8"
    )
    run = tap("--config=ENV")

    assert len(run.records("calls")) == 5


def test_about_and_version_work_without_settings(tap: TapCommand) -> None:
    about = json.loads(tap("--about", "--format=json").stdout)
    assert list(about["settings"]["properties"])[:8] == [
        "api_token",
        "start_date",
        "end_date",
        "lookback_window",
        "page_size",
        "requests_per_minute",
        "api_url",
        "user_agent",
    ]
    assert "| api_token |" in tap("--about", "--format=markdown").stdout
    assert tap("--version").stdout.startswith("tap-tuple v")


def test_requests_send_the_token_and_user_agent(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve([])

    tap(config=config_for(sandbox))
    tap(config=config_for(sandbox, user_agent="acme-data/1.0"))

    first, second = (request.headers for request in sandbox.requests)
    assert first["Authorization"] == f"Bearer {sandbox.token}"
    assert first["User-Agent"].startswith("tap-tuple/")
    assert second["User-Agent"] == "acme-data/1.0"


def test_log_contains_a_summary_per_stream(tap: TapCommand, serve: Serve) -> None:
    run = tap(config=config_for(serve(make_calls(25)), page_size=10, end_date="2026-04-01"))

    for stream, rows in (("calls", 25), ("call_participations", 50)):
        line = (
            f"{stream}: sent {rows} rows and the bookmark 2026-03-02T09:25:00.000Z to the loader "
            "(3 requests, all calls that ended before 2026-04-01T00:00:00.000Z)."
        )
        assert run.stderr.count(line) == 1


def test_summary_counts_only_rows_that_pass_the_filter(tap: TapCommand, serve: Serve) -> None:
    maps = {"calls": {"__filter__": "id > 20"}, "call_participations": {"__alias__": "seats"}}

    run = tap(config=config_for(serve(make_calls(1025)), page_size=1000, stream_maps=maps))
    single = tap(config=config_for(serve(make_calls(1))))

    assert " calls: sent 1,005 rows and " in run.stderr
    assert " call_participations: sent 2,010 rows and " in run.stderr
    assert " calls: sent 1 row and " in single.stderr
    assert " (1 request, " in single.stderr


def test_rows_are_the_same_as_those_the_sdk_writes(tap: TapCommand, serve: Serve) -> None:
    """With a stream map, even one that changes nothing, the SDK's own code writes the rows."""
    config = config_for(serve(make_calls(25)), page_size=10, end_date="2026-04-01")
    identity = {"calls": {"id": "id"}, "call_participations": {"id": "id"}}

    unmapped = tap(config=config)
    mapped = tap(config=config | {"stream_maps": identity})

    written = [[m for m in run.messages if m["type"] == "RECORD"] for run in (unmapped, mapped)]
    for message in (*written[0], *written[1]):
        assert datetime.fromisoformat(message.pop("time_extracted")).tzinfo
    assert written[0] == written[1]


def test_tap_class_accepts_paths_of_config_files(tmp_path: Path, serve: Serve) -> None:
    """Like the SDK's own classes, the tap accepts a path or a list of paths."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(config_for(serve([]), page_size=7, start_date=None)))
    second.write_text('{"page_size": 8}')

    assert TapTuple(config=first).config["page_size"] == 7
    assert TapTuple(config=str(first)).config["page_size"] == 7
    assert TapTuple(config=[first, second]).config["page_size"] == 8


def test_url_parameters_reflect_the_settings(serve: Serve) -> None:
    config = config_for(serve([]), start_date="2026-03-01", end_date="2026-04-01", page_size=5)

    stream = TapTuple(config=config).streams["calls"]

    assert isinstance(stream, Calls)
    assert stream.get_url_params(None, None) == {
        "since": "2026-03-01T00:00:00.000Z",
        "until": "2026-04-01T00:00:00.000Z",
        "per_page": 5,
    }
