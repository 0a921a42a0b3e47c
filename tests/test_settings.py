"""Settings that cannot be used: one line that names the setting, and nothing is sent or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.settings import SCHEMA, problems
from tap_tuple.streams import CallParticipations, Calls
from tests.conftest import config_for, make_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

TOKEN = "sk-tuple-0123456789"  # noqa: S105 - nobody's
COLUMNS = {stream.name: stream.schema["properties"] for stream in (Calls, CallParticipations)}
DATE_HELP = (
    "set it to a date such as 2026-01-31, or to a time such as 2026-01-31T09:00:00Z, or leave it "
    "out."
)
WRONG = [
    ({"api_token": None}, "api_token is missing: set it to a token of your team"),
    ({"api_token": ""}, "api_token is missing: "),
    ({"api_token": "sk-tuple-canary\n"}, "api_token is no token: "),
    ({"api_token": "sk tuple canary"}, "api_token is no token: "),
    ({"api_token": "sk-tuple-canärie"}, "api_token is no token: "),
    ({"api_token": 4711}, "api_token is no token: "),
    ({"api_token": '"sk-tuple-canary"'}, "api_token is no token: "),
    (
        {"stream_maps": {"call_participation": {"user_email": None}}},
        "stream_maps names 'call_participation', which is no stream: use calls or call_particip",
    ),
    (
        {"stream_maps": {"call_participations": {"user_mail": "__NULL__"}}},
        (
            "stream_maps drops 'user_mail' of call_participations, which is no column of it: did "
            "you mean 'user_email'?"
        ),
    ),
    ({"start_date": "yesterday"}, f"start_date is 'yesterday': {DATE_HELP}"),
    ({"start_date": ""}, f"start_date is '': {DATE_HELP}"),
    ({"start_date": 20260101}, f"start_date is 20260101: {DATE_HELP}"),
    ({"start_date": "2026-13-01"}, f"start_date is '2026-13-01': {DATE_HELP}"),
    ({"end_date": "2026-02-30"}, f"end_date is '2026-02-30': {DATE_HELP}"),
    (
        {"start_date": "2026-02-01", "end_date": "2026-02-01T00:00:00Z"},
        "end_date 2026-02-01T00:00:00Z is not after start_date 2026-02-01: set it to a later date",
    ),
    ({"lookback_window": -1}, "lookback_window is -1: set it to a whole number of at least 0."),
    ({"lookback_window": 1.5}, "lookback_window is 1.5: set it to a whole number of at least 0."),
    ({"page_size": 0}, "page_size is 0: set it to a whole number from 1 to 1000."),
    ({"page_size": 1001}, "page_size is 1001: set it to a whole number from 1 to 1000."),
    ({"page_size": "100"}, "page_size is '100': set it to a whole number from 1 to 1000."),
    ({"page_size": True}, "page_size is True: set it to a whole number from 1 to 1000."),
    ({"requests_per_minute": 0}, "requests_per_minute is 0: set it to a whole number of at least"),
    ({"api_url": "production.tuple.app"}, "api_url is 'production.tuple.app': set it to an addr"),
    ({"api_url": "ftp://tuple.example"}, "api_url is 'ftp://tuple.example': set it to an address"),
    ({"api_url": "https://"}, "api_url is 'https://': set it to an address such as "),
    ({"api_url": "https://tuple.example?a=1"}, "api_url is 'https://tuple.example?a=1': set it to"),
    ({"api_url": "https://tuple.example/{api_token}"}, "api_url is 'https://tuple.example/{api_to"),
    ({"api_url": "https://tuple.example:99999"}, "api_url is 'https://tuple.example:99999': set i"),
    ({"api_url": "https://me:secret@tuple.example"}, "api_url holds a user name or a password: "),
    ({"api_url": "http://tuple.example"}, "api_url is 'http://tuple.example': the token would be "),
    ({"api_url": "http://127.0.0.1.evil.example"}, "api_url is 'http://127.0.0.1.evil.example': t"),
    ({"api_url": "http://localhost.evil.example"}, "api_url is 'http://localhost.evil.example': t"),
    ({"api_url": "https://tuple.example:0"}, "api_url is 'https://tuple.example:0': set it to an"),
    ({"api_url": "http://[::1"}, "api_url is 'http://[::1': set it to an address"),
    ({"api_url": "https://*"}, "api_url is 'https://*': set it to an address"),
    ({"stream_maps": {"mine": {"__source__": None}}}, "stream_maps names 'None', which is no stre"),
    ({"user_agent": "tap\r\nX: y"}, "user_agent cannot be sent: set it to printable ASCII charac"),
]


DEFAULTS = {
    "api_token": TOKEN,
    "api_url": "https://production.tuple.app",
    "lookback_window": 3600,
    "page_size": 1000,
    "requests_per_minute": 60,
}


@pytest.mark.parametrize(("settings", "line"), WRONG)
def test_a_wrong_setting_is_one_line(settings: dict[str, Any], line: str) -> None:
    (found,) = problems(DEFAULTS | settings, SCHEMA, COLUMNS)

    assert found.startswith(line)
    assert "canary" not in found
    assert "secret" not in found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"start_date": "2026-01-01", "end_date": "2026-01-02"},
        {"lookback_window": 0, "page_size": 1, "requests_per_minute": 1},
        {"page_size": 1000},
        {"api_url": "https://tuple.example:8443/proxy/"},
        {"api_url": "http://localhost:8000"},
        {"api_url": "http://127.8.8.8"},
        {"api_url": "http://[::1]:8000"},
    ],
)
def test_a_right_setting_is_no_problem(settings: dict[str, Any]) -> None:
    assert list(problems(DEFAULTS | settings, SCHEMA, COLUMNS)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"api_token": 4711},
        {"start_date": "yesterday"},
        {"page_size": 0},
        {"page_size": "abc"},
        {"api_url": "http://tuple.example"},
        {"stream_maps": 7},
    ],
)
@pytest.mark.parametrize("mode", [(), ("--test",)])
def test_the_command_line_says_it_before_anything_is_sent_or_written(
    tap: TapCommand, serve: Callable[..., Sandbox], settings: dict[str, Any], mode: tuple[str, ...]
) -> None:
    sandbox = serve(make_calls(3))

    run = tap(*mode, config=config_for(sandbox) | settings)

    assert run.returncode == 1
    assert run.stdout == ""
    (error,) = run.errors
    assert next(iter(settings)) in error
    assert "Traceback" not in run.stderr
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "stream_map",
    [{"id": 5}, 5, [], {"__key_properties__": "canary@lumen.example"}, {"__filter__": ["canary"]}],
)
def test_invalid_stream_map_is_named(tap: TapCommand, stream_map: Any) -> None:
    run = tap(config={"api_token": TOKEN, "stream_maps": {"calls": stream_map}})

    assert run.returncode == 1
    assert run.errors[-1].startswith("stream_maps.calls has an invalid value: ")
    assert "canary" not in run.stderr


def test_a_setting_of_the_wrong_type_is_named_without_its_value(tap: TapCommand) -> None:
    run = tap(config={"api_token": TOKEN, "stream_map_config": "canary"})

    assert run.errors == [
        "stream_map_config has a value of the wrong type: set it to a JSON object."
    ]
    assert "canary" not in run.stderr


def test_a_setting_that_there_is_not_is_warned_of(
    tap: TapCommand, serve: Callable[..., Sandbox]
) -> None:
    run = tap(config=config_for(serve([]), start_dat="2026-01-01"))

    assert "Ignoring unknown setting start_dat." in run.stderr
    assert run.returncode == 0


def test_maps_by_pattern_and_of_a_source_are_right() -> None:
    maps = {
        "call*": {"user_email": None},
        "copy": {"__source__": "calls", "id": "__NULL__"},
        "__else__": None,
    }
    assert list(problems(DEFAULTS | {"stream_maps": maps}, SCHEMA, COLUMNS)) == []


def test_several_wrong_settings_are_a_line_each(tap: TapCommand) -> None:
    run = tap(config={"page_size": 0, "start_date": "soon"})

    assert [error.split(" is ")[0] for error in run.errors] == [
        "api_token",
        "start_date",
        "page_size",
    ]


def test_a_null_setting_is_one_left_out(tap: TapCommand, serve: Callable[..., Sandbox]) -> None:
    sandbox = serve(make_calls(3))

    run = tap(config=config_for(sandbox, page_size=None, start_date=None))

    assert sandbox.requests[0].query["per_page"] == "1000"
    assert run.ids("calls") == [1, 2, 3]


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("text", ["{", "[]", '{"streams": 3, "bookmarks": 3, "api_token": ""}'])
def test_a_file_of_the_wrong_shape_is_one_line(
    tap: TapCommand, tmp_path: Path, option: str, text: str
) -> None:
    file = tmp_path / "odd.json"
    file.write_text(text, encoding="utf-8")
    others: dict[str, Any] = {} if option == "--config" else {"config": {"api_token": TOKEN}}

    run = tap(option, str(file), **others)

    assert run.returncode == 1
    assert len(run.errors) == 1
    assert "Traceback" not in run.stderr


def test_a_configuration_that_is_not_there_is_one_line(tap: TapCommand) -> None:
    run = tap("--config", "nowhere.json")

    assert run.errors == ["--config nowhere.json cannot be read: No such file or directory."]
    assert run.returncode == 1
