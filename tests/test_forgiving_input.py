"""Imperfect input that other tools often send is accepted if its meaning is clear."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import bookmarks, config_for, make_calls, minute, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]

OPTIONAL_SETTINGS = (
    "start_date",
    "end_date",
    "lookback_window",
    "page_size",
    "requests_per_minute",
    "user_agent",
    "stream_maps",
)
BYTE_ORDER_MARK = "\ufeff"


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_empty_settings_in_a_file_are_ignored(tap: TapCommand, serve: Serve, empty: str) -> None:
    config = config_for(serve(make_calls(3))) | dict.fromkeys(OPTIONAL_SETTINGS, empty)

    assert tap(config=config).ids("calls") == [1, 2, 3]


@pytest.mark.parametrize("empty", ["", " "])
def test_empty_environment_variables_are_ignored(tap: TapCommand, serve: Serve, empty: str) -> None:
    sandbox = serve(make_calls(3))
    env = {f"TAP_TUPLE_{name.upper()}": empty for name in OPTIONAL_SETTINGS}
    env |= {"TAP_TUPLE_API_URL": sandbox.url, "TAP_TUPLE_API_TOKEN": sandbox.token}

    assert tap("--config=ENV", env=env).ids("calls") == [1, 2, 3]


def test_empty_variables_in_a_dotenv_file_are_ignored(
    tap: TapCommand, serve: Serve, tmp_path: Path
) -> None:
    sandbox = serve(make_calls(3))
    lines = [f"TAP_TUPLE_{name.upper()}=" for name in OPTIONAL_SETTINGS]
    lines += [f"TAP_TUPLE_API_URL={sandbox.url}", f"TAP_TUPLE_API_TOKEN={sandbox.token}"]
    (tmp_path / ".env").write_text("\n".join(lines))

    assert tap("--config=ENV").ids("calls") == [1, 2, 3]


def test_empty_token_counts_as_missing(tap: TapCommand) -> None:
    run = tap("--config=ENV", env={"TAP_TUPLE_API_TOKEN": " "})

    (error,) = run.errors
    assert error.startswith("api_token is missing. Set it to a token of your team")


def test_missing_token_error_mentions_an_unread_variable(tap: TapCommand) -> None:
    run = tap(config={"page_size": 5}, env={"TAP_TUPLE_API_TOKEN": "sk-tuple-x"})

    (error,) = run.errors
    assert error == (
        "api_token is missing. The environment has TAP_TUPLE_API_TOKEN, but the tap only reads it "
        "with --config ENV."
    )


@pytest.mark.parametrize("source", ["file", "environment"])
def test_whitespace_around_settings_is_ignored(tap: TapCommand, serve: Serve, source: str) -> None:
    sandbox = serve(make_calls(30))
    settings = {
        "api_url": f" {sandbox.url}\n",
        "api_token": f"{sandbox.token}\r\n",
        "start_date": f"{minute(10)} ",
        "end_date": f"\t{minute(20)}",
        "user_agent": " dashboard/1.0 ",
    }
    if source == "file":
        run = tap(config=settings)
    else:
        env = {f"TAP_TUPLE_{name.upper()}": value for name, value in settings.items()}
        run = tap("--config=ENV", env=env)

    assert run.ids("calls") == list(range(10, 20))
    assert sandbox.requests[0].headers["User-Agent"] == "dashboard/1.0"


def test_whole_number_settings_may_end_in_point_zero(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))

    tap(config=config_for(sandbox, page_size=10.0, lookback_window=2592000.0))

    assert sandbox.requests[0].query["per_page"] == "10"


@pytest.mark.parametrize("text", ["", " \n", "null", "{}"])
def test_run_with_empty_state_reads_from_the_start(
    tap: TapCommand, serve: Serve, tmp_path: Path, text: str
) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)

    run = tap("--state", str(state), config=config_for(serve(make_calls(3))))

    assert run.ids("calls") == [1, 2, 3]
    is_mentioned = "--state is empty, so everything is read from the start." in run.stderr
    assert is_mentioned is (text != "{}")


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
def test_byte_order_mark_is_ignored(
    tap: TapCommand, serve: Serve, tmp_path: Path, option: str
) -> None:
    config = config_for(serve(make_calls(3)))
    contents: dict[str, Any] = {
        "--config": config,
        "--state": state_of(None, None),
        "--catalog": tap.discover(),
    }
    file = tmp_path / "windows.json"
    file.write_text(BYTE_ORDER_MARK + json.dumps(contents[option]), encoding="utf-8")
    others: dict[str, Any] = {} if option == "--config" else {"config": config}

    run = tap(option, str(file), **others)

    assert run.ids("calls") == [1, 2, 3]


def test_api_numbers_may_be_strings_or_end_in_point_zero(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(2)
    calls[0] |= {"id": "1", "duration_seconds": 3600.0}
    calls[0]["call_participations"][0]["id"] = "10"
    source = serve(make_calls(2))
    source.faults.append(faults.edited(lambda _: calls))

    run = tap(config=config_for(source))

    assert run.ids("calls") == [1, 2]
    assert run.records("calls")[0]["duration_seconds"] == 3600
    assert 10 in run.ids("call_participations")


def test_api_url_may_include_the_endpoint_path(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))
    config = config_for(sandbox) | {"api_url": f"{sandbox.url}/api/v2/call_usage/"}

    assert tap(config=config).ids("calls") == [1, 2, 3]


@pytest.mark.parametrize("name", ["LOGLEVEL", "TAP_TUPLE_LOGLEVEL", "SINGER_SDK_LOG_CONFIG"])
def test_empty_log_settings_are_ignored(tap: TapCommand, serve: Serve, name: str) -> None:
    config = config_for(serve(make_calls(3)))

    run = tap(config=config, env={name: ""})

    assert run.ids("calls") == [1, 2, 3]


def test_http_status_408_is_retried(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.append(faults.status(408))

    run = tap(config=config_for(sandbox), time_flies=True)

    assert run.ids("calls") == [1, 2, 3]


def test_flattening_without_max_depth_is_reported(tap: TapCommand) -> None:
    run = tap(config={"api_token": "sk-tuple-x", "flattening_enabled": True})

    (error,) = run.errors
    assert error.startswith("flattening_max_depth is missing: ")


def test_ignored_start_date_is_logged_once(tap: TapCommand, serve: Serve) -> None:
    config = config_for(serve(make_calls(3)), start_date="2025-01-01")

    run = tap(config=config, state=state_of(minute(100), minute(100)))

    assert run.stderr.count("Continuing from the bookmark, so start_date doesn't apply.") == 1


def test_bookmark_with_another_replication_key_is_ignored(tap: TapCommand, serve: Serve) -> None:
    state = state_of(minute(2), minute(2))
    state["bookmarks"]["calls"]["replication_key"] = "updated_at"

    run = tap(config=config_for(serve(make_calls(3))), state=state)

    assert (
        run.stderr.count("Ignoring the bookmark of calls, because it belongs to 'updated_at'") == 1
    )
    assert run.ids("calls") == [1, 2, 3]


def test_bookmark_without_a_replication_key_is_used(tap: TapCommand, serve: Serve) -> None:
    state = state_of(minute(20), minute(20))
    for bookmark in state["bookmarks"].values():
        del bookmark["replication_key"]

    run = tap(config=config_for(serve(make_calls(30)), lookback_window=0), state=state)

    assert run.ids("calls") == list(range(20, 31))
    assert bookmarks(run.state) == (minute(30), minute(30))


def test_catalog_without_keys_uses_the_default_keys(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        for name in ("key_properties", "replication_key", "replication_method"):
            stream.pop(name, None)
        for entry in stream["metadata"]:
            entry["metadata"].pop("table-key-properties", None)

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    schemas = [message for message in run.messages if message["type"] == "SCHEMA"]
    assert [schema["key_properties"] for schema in schemas] == [["id"], ["id"]]
    assert bookmarks(run.state) == (minute(3), minute(3))


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (
            {"replication-key": "started_at"},
            "to 'started_at'. Remove that, or set it to 'call_ended_at'.",
        ),
        (
            {"forced-replication-method": "LOG_BASED"},
            "to 'LOG_BASED'. Use INCREMENTAL or FULL_TABLE.",
        ),
    ],
)
def test_unsupported_replication_metadata_is_rejected(
    tap: TapCommand, metadata: dict[str, str], error: str
) -> None:
    catalog = tap.discover()
    for entry in catalog["streams"][0]["metadata"]:
        if not entry["breadcrumb"]:
            entry["metadata"] |= metadata

    run = tap(config={"api_token": "sk-tuple-x"}, catalog=catalog)

    (found,) = run.errors
    assert found.startswith("--catalog sets the replication ")
    assert found.endswith(error)


def test_full_table_metadata_reads_from_the_start(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["forced-replication-method"] = "FULL_TABLE"

    config = config_for(serve(make_calls(30)), lookback_window=0)
    run = tap(config=config, catalog=catalog, state=state_of(minute(20), minute(20)))

    assert run.ids("calls") == list(range(1, 31))


def test_help_describes_the_command(tap: TapCommand) -> None:
    run = tap("--help")

    assert "Read a team's completed calls and their participants from Tuple" in run.stdout


def test_unread_files_cause_no_resource_warnings(tap: TapCommand, tmp_path: Path) -> None:
    """A failed connection test reads neither file. If it left them open, Python would warn."""
    catalog, state = tmp_path / "catalog.json", tmp_path / "state.json"
    catalog.write_text(json.dumps(tap.discover()))
    state.write_text("{}")
    arguments = ["--catalog", str(catalog), "--state", str(state), "--test"]
    command = tap.command(*arguments, config={"api_token": "sk-tuple-x", "page_size": 0})

    done = subprocess.run(
        [command[0], "-W", "default", *command[1:]], capture_output=True, text=True, check=False
    )

    assert "page_size is 0" in done.stderr
    assert "ResourceWarning" not in done.stderr


def test_missing_state_file_is_reported_on_one_line(tap: TapCommand) -> None:
    run = tap("--state", "nowhere.json", config={"api_token": "sk-tuple-x"})

    (error,) = run.errors
    assert "nowhere.json" in error


def test_package_imports_without_posix_features() -> None:
    """Windows lacks `select.PIPE_BUF` and `signal.SIGALRM`."""
    script = (
        "import select, signal; del select.PIPE_BUF, signal.SIGALRM, signal.setitimer; "
        "import tap_tuple.tap"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
