"""Invalid settings are reported by name, before the tap sends or writes anything."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.settings import SCHEMA, normalize, problems, type_problems
from tap_tuple.streams import CallParticipations, Calls
from tap_tuple.tap import TapTuple
from tests.conftest import config_for, make_calls, minute

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand

TOKEN = "sk-tuple-0123456789"  # noqa: S105 - not a real token
COLUMNS = {stream.name: stream.schema["properties"] for stream in (Calls, CallParticipations)}
DATE_HELP = "It must be a date like 2026-01-31, or a time like 2026-01-31T09:00:00Z."
INVALID = [
    ({"api_token": None}, "api_token is missing. Set it, or the environment variable"),
    ({"api_token": ""}, "api_token is missing. "),
    ({"api_token": "sk-tuple\ncanary"}, "api_token doesn't look like a Tuple token. "),
    ({"api_token": "sk tuple canary"}, "api_token doesn't look like a Tuple token. "),
    ({"api_token": "sk-tuple-canärie"}, "api_token doesn't look like a Tuple token. "),
    ({"api_token": 4711}, "api_token doesn't look like a Tuple token. "),
    ({"api_token": '"sk-tuple-canary"'}, "api_token doesn't look like a Tuple token. "),
    (
        {"stream_maps": {"call_participation": {"user_email": None}}},
        "stream_maps: 'call_participation' isn't a stream. Use calls or call_particip",
    ),
    (
        {"stream_maps": {"call_participations": {"user_mail": "__NULL__"}}},
        (
            "stream_maps: 'call_participations' has no column 'user_mail' to drop. Did you mean "
            "'user_email'?"
        ),
    ),
    (
        {"stream_maps": {"call_participations": {"__user_email": None}}},
        (
            "stream_maps: 'call_participations' has an unknown option '__user_email'. Did you "
            "mean 'user_email'?"
        ),
    ),
    (
        {"stream_maps": {"calls": {"__filter": "duration_seconds > 60"}}},
        "stream_maps: 'calls' has an unknown option '__filter'. Did you mean '__filter__'?",
    ),
    (
        {"stream_maps": {"__a\nb__": {"x": "canary"}}},
        "stream_maps: '__a\\nb__' is neither a stream nor the option '__else__'. ",
    ),
    ({"start_date": "yesterday"}, f"start_date is 'yesterday'. {DATE_HELP}"),
    ({"start_date": 20260101}, f"start_date is 20260101. {DATE_HELP}"),
    ({"start_date": "2026-13-01"}, f"start_date is '2026-13-01'. {DATE_HELP}"),
    ({"end_date": "2026-02-30"}, f"end_date is '2026-02-30'. {DATE_HELP}"),
    (
        {"start_date": "2026-02-01", "end_date": "2026-02-01T00:00:00Z"},
        "end_date (2026-02-01T00:00:00Z) must be later than start_date (2026-02-01).",
    ),
    ({"lookback_window": -1}, "lookback_window is -1. It must be a whole number of at least 0."),
    ({"lookback_window": 1.5}, "lookback_window is 1.5. It must be a whole number of at least 0."),
    ({"page_size": 0}, "page_size is 0. It must be a whole number from 1 to 1000."),
    ({"page_size": 1001}, "page_size is 1001. It must be a whole number from 1 to 1000."),
    ({"page_size": "100"}, "page_size is '100'. It must be a whole number from 1 to 1000."),
    ({"page_size": True}, "page_size is True. It must be a whole number from 1 to 1000."),
    ({"requests_per_minute": 0}, "requests_per_minute is 0. It must be a whole number of at least"),
    ({"api_url": "production.tuple.app"}, "api_url is 'production.tuple.app'. It must be a URL"),
    ({"api_url": "ftp://tuple.example"}, "api_url is 'ftp://tuple.example'. It must be a URL"),
    ({"api_url": "https://"}, "api_url is 'https://'. It must be a URL"),
    (
        {"api_url": "https://tuple.example?a=1"},
        "api_url is 'https://tuple.example?a=1'. It must be a URL",
    ),
    ({"api_url": "https://tuple.example/{api_token}"}, "api_url is 'https://tuple.example/{api_to"),
    (
        {"api_url": "https://tuple.example:99999"},
        "api_url is 'https://tuple.example:99999'. It must be a URL",
    ),
    (
        {"api_url": "https://me:secret@tuple.example"},
        "api_url must not contain a user name or a password.",
    ),
    (
        {"api_url": "http://tuple.example"},
        "api_url is 'http://tuple.example', which would send the ",
    ),
    ({"api_url": "http://127.0.0.1.evil.example"}, "api_url is 'http://127.0.0.1.evil.example', w"),
    ({"api_url": "http://localhost.evil.example"}, "api_url is 'http://localhost.evil.example', w"),
    (
        {"api_url": "https://tuple.example:0"},
        "api_url is 'https://tuple.example:0'. It must be a URL",
    ),
    ({"api_url": "http://[::1"}, "api_url is 'http://[::1'. It must be a URL"),
    ({"api_url": "https://*"}, "api_url is 'https://*'. It must be a URL"),
    ({"stream_maps": {"mine": {"__source__": None}}}, "stream_maps: 'None' isn't a stream"),
    ({"api_url": "https://me:secret@tuple.example:99999"}, "api_url must be a URL like https://"),
    *(
        (
            {"stream_map_config": {"salt": empty, "limit": 0, "teams": {}}},
            "stream_map_config has no value for 'salt'. Set it, or remove it.",
        )
        for empty in (None, "", " ")
    ),
    ({"flattening_enabled": True}, "flattening_max_depth is missing or neg"),
    (
        {"flattening_enabled": True, "flattening_max_depth": -1},
        "flattening_max_depth is missing or neg",
    ),
    ({"user_agent": "tap\r\nX: y"}, "user_agent must consist of printable ASCII charac"),
]


DEFAULTS = {
    "api_token": TOKEN,
    "api_url": "https://production.tuple.app",
    "lookback_window": 3600,
    "page_size": 1000,
    "requests_per_minute": 60,
}


@pytest.mark.parametrize(("settings", "message"), INVALID)
def test_invalid_setting_has_exactly_one_message(settings: dict[str, Any], message: str) -> None:
    (found,) = problems(normalize(DEFAULTS | settings), SCHEMA, COLUMNS)

    assert found.startswith(message)
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
def test_valid_settings_are_accepted(settings: dict[str, Any]) -> None:
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
def test_invalid_setting_stops_the_run_before_any_request(
    tap: TapCommand, serve: SandboxFactory, settings: dict[str, Any], mode: tuple[str, ...]
) -> None:
    sandbox = serve(make_calls(3))

    run = tap(*mode, config=config_for(sandbox) | settings)

    assert next(iter(settings)) in run.only_error
    assert run.stdout == ""
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "stream_map",
    [{"id": 5}, 5, [], {"__key_properties__": "canary@lumen.example"}, {"__filter__": ["canary"]}],
)
def test_invalid_stream_map_is_reported(tap: TapCommand, stream_map: Any) -> None:
    run = tap(config={"api_token": TOKEN, "stream_maps": {"calls": stream_map}})

    assert run.returncode == 1
    assert run.errors[-1].startswith("stream_maps.calls is invalid. ")
    assert "canary" not in run.stderr


def test_wrong_type_is_reported_without_the_value(tap: TapCommand) -> None:
    run = tap(config={"api_token": TOKEN, "stream_map_config": "canary"})

    assert run.errors == [
        "stream_map_config has a value of the wrong type. It must be a JSON object."
    ]
    assert "canary" not in run.stderr


def test_unknown_setting_logs_a_warning(tap: TapCommand, serve: SandboxFactory) -> None:
    run = tap(config=config_for(serve([]), start_dat="2026-01-01"))

    assert "Ignoring unknown setting 'start_dat'." in run.stderr
    assert run.returncode == 0


@pytest.mark.skipif(
    find_spec("faker") is not None, reason="expected: this environment has the faker package"
)
def test_missing_faker_package_is_reported() -> None:
    maps = {"call_participations": {"user_email": "fake.email()"}}

    (found,) = problems(DEFAULTS | {"stream_maps": maps}, SCHEMA, COLUMNS)

    assert found == (
        "stream_maps: 'fake' needs the faker package. Install it in the tap's environment."
    )


def test_stream_maps_accept_patterns_and_sources() -> None:
    maps = {
        "call*": {"user_email": None},
        "copy": {"__source__": "calls", "id": "__NULL__"},
        "__else__": None,
    }
    assert list(problems(DEFAULTS | {"stream_maps": maps}, SCHEMA, COLUMNS)) == []


def test_each_invalid_setting_is_reported_on_its_own_line(tap: TapCommand) -> None:
    run = tap(config={"page_size": 0, "start_date": "soon"})

    assert [error.split(" is ")[0] for error in run.errors] == [
        "api_token",
        "start_date",
        "page_size",
    ]


class TestNormalization:
    @pytest.mark.parametrize("empty", [None, "", " ", "\n"])
    def test_empty_settings_are_unset(self, empty: str | None) -> None:
        """Many tools pass an empty value if a setting is unset."""
        assert normalize(dict.fromkeys(SCHEMA["properties"], empty)) == {}

    def test_whitespace_around_text_is_ignored(self) -> None:
        padded = {
            "api_url": " https://tuple.example\n",
            "api_token": "sk-tuple-x\r\n",
            "start_date": "2026-01-01 ",
            "end_date": "\t2026-02-01",
            "user_agent": " dashboard/1.0 ",
        }

        assert normalize(padded) == {name: text.strip() for name, text in padded.items()}

    def test_whole_numbers_may_end_in_point_zero(self) -> None:
        normalized = normalize({"page_size": 10.0, "lookback_window": 1.5})

        assert normalized == {"page_size": 10, "lookback_window": 1.5}
        assert type(normalized["page_size"]) is int

    def test_other_values_are_kept(self) -> None:
        config = {"lookback_window": 0, "flattening_enabled": False, "stream_maps": {"a": None}}

        assert normalize(config) == config


def test_run_normalizes_its_settings(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(30))
    settings = {
        "api_url": f" {sandbox.url}\n",
        "api_token": f"{sandbox.token}\r\n",
        "start_date": f"{minute(10)} ",
        "end_date": "",
        "page_size": 50.0,
        "requests_per_minute": None,
        "user_agent": " dashboard/1.0 ",
    }

    run = tap(config=settings)

    assert run.ids("calls") == list(range(10, 31))
    assert sandbox.requests[0].query["per_page"] == "50"
    assert sandbox.requests[0].headers["User-Agent"] == "dashboard/1.0"


def test_api_url_may_include_the_endpoint_path(tap: TapCommand, serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3))
    config = config_for(sandbox) | {"api_url": f"{sandbox.url}/api/v2/call_usage/"}

    assert tap(config=config).ids("calls") == [1, 2, 3]


@pytest.mark.parametrize(
    "maps",
    [
        {"calls": {"__else__": 5}},
        {"calls": {"id": None, "__else__": "x"}},
        *({"__else__": value} for value in (5, {}, "x", {"id": None})),
    ],
    ids=str,
)
def test_invalid_else_in_stream_maps_is_reported(maps: dict[str, Any]) -> None:
    (problem,) = type_problems({"stream_maps": maps}, SCHEMA)

    assert problem == "stream_maps: the value for '__else__' must be null or '__NULL__'."


def test_tap_class_accepts_paths_to_config_files(tmp_path: Path, serve: SandboxFactory) -> None:
    """Like the SDK's own classes, the tap accepts a path or a list of paths."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(config_for(serve([]), page_size=7, start_date=None)))
    second.write_text('{"page_size": 8}')

    assert TapTuple(config=first).config["page_size"] == 7
    assert TapTuple(config=str(first)).config["page_size"] == 7
    assert TapTuple(config=[first, second]).config["page_size"] == 8
