"""Settings from environment variables and from a ``.env`` file."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from tap_tuple.settings import environment_problems, normalize_environment
from tap_tuple.tap import TapTuple
from tests.conftest import make_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand

# The SDK adds its own settings, such as stream_maps, to those of the class.
SCHEMA = deepcopy(TapTuple.config_jsonschema)
TapTuple.append_builtin_config(SCHEMA)


def test_settings_can_come_from_the_environment(tap: TapCommand, serve: SandboxFactory) -> None:
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
    tap: TapCommand, serve: SandboxFactory, tmp_path: Path
) -> None:
    """Empty and padded values are normalized, as in other sources."""
    sandbox = serve(make_calls(5))
    (tmp_path / ".env").write_text(
        f"TAP_TUPLE_API_URL={sandbox.url}\nTAP_TUPLE_API_TOKEN='{sandbox.token} '\n"
        "TAP_TUPLE_START_DATE=\n",
        encoding="utf-8",
    )

    assert tap("--config=ENV").ids("calls") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("text", [b"TAP_TUPLE_API_TOKEN=\xff\xfe", b"A=\0"])
def test_binary_dotenv_file_is_ignored_with_a_warning(
    tap: TapCommand, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / ".env").write_bytes(text)

    run = tap("--config=ENV")

    assert run.only_error.startswith("api_token is missing. ")
    assert f"Ignoring {tmp_path / '.env'}: it can't be read, or it isn't UTF-8 text." in run.stderr


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_empty_variables_are_removed(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    settings = SCHEMA["properties"]
    variables = [f"TAP_TUPLE_{name.upper()}" for name in settings]
    for variable in variables:
        monkeypatch.setenv(variable, empty)

    normalize_environment(SCHEMA, TapTuple.name)

    assert not os.environ.keys() & set(variables)


def test_whitespace_around_variables_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_TUPLE_USER_AGENT", " dashboard/1.0\r\n")

    normalize_environment(SCHEMA, TapTuple.name)

    assert os.environ["TAP_TUPLE_USER_AGENT"] == "dashboard/1.0"


@pytest.mark.parametrize(
    ("variable", "value", "prefix"),
    [
        ("STREAM_MAPS", "{", "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object"),
        ("STREAM_MAPS", "[]", "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object"),
        ("STREAM_MAP_CONFIG", "x", "stream_map_config (in TAP_TUPLE_STREAM_MAP_CONFIG) must "),
        (
            "FLATTENING_MAX_DEPTH",
            "deep",
            "flattening_max_depth (in TAP_TUPLE_FLATTENING_MAX_DEPTH) must be a whole n",
        ),
        ("PAGE_SIZE", "+-5", "page_size (in TAP_TUPLE_PAGE_SIZE) must be a whole number. "),
        (
            "STREAM_MAPS",
            '{"a": NaN}',
            "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object",
        ),
        (
            "FLATTENING_ENABLED",
            "maybe",
            "flattening_enabled (in TAP_TUPLE_FLATTENING_ENABLED) must be true or false. ",
        ),
        ("PAGE_SIZE", "many", "page_size (in TAP_TUPLE_PAGE_SIZE) must be a whole number. "),
    ],
)
def test_invalid_variable_has_exactly_one_message(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, prefix: str
) -> None:
    monkeypatch.setenv(f"TAP_TUPLE_{variable}", value)

    (problem,) = environment_problems(SCHEMA, TapTuple.name)

    assert problem.startswith(prefix)


def test_invalid_else_in_the_environment_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_TUPLE_STREAM_MAPS", '{"call_participations": {"__else__": 5}}')

    (problem,) = environment_problems(SCHEMA, TapTuple.name)

    assert problem == "stream_maps: the value for '__else__' must be null or '__NULL__'."


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on", "false", "0", "no", "off"])
def test_common_words_for_booleans_are_accepted(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TAP_TUPLE_FLATTENING_ENABLED", value)

    assert list(environment_problems(SCHEMA, TapTuple.name)) == []


def test_invalid_variable_is_reported_on_one_line(tap: TapCommand) -> None:
    env = {"TAP_TUPLE_API_TOKEN": "sk-tuple-canary", "TAP_TUPLE_STREAM_MAPS": "{"}

    run = tap("--config=ENV", env=env)

    assert run.only_error.startswith("stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON obj")
    assert run.stdout == ""


def test_empty_token_counts_as_missing(tap: TapCommand) -> None:
    run = tap("--config=ENV", env={"TAP_TUPLE_API_TOKEN": " "})

    assert run.only_error.startswith("api_token is missing. Set it, or the environment variable")


def test_missing_token_error_mentions_an_ignored_variable(tap: TapCommand) -> None:
    run = tap(config={"page_size": 5}, env={"TAP_TUPLE_API_TOKEN": "sk-tuple-x"})

    assert run.only_error == (
        "api_token is missing. The environment has TAP_TUPLE_API_TOKEN, but the tap only reads it "
        "with --config ENV."
    )
