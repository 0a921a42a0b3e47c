"""Input files: their text, encoding and structure are checked before anything uses them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigurationError

from tap_tuple.singer.command import check_catalog, check_state, load_object
from tests.conftest import Run, clean_environment, config_for, make_calls, minute, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand

LOGGER = logging.getLogger("test")
BYTE_ORDER_MARK = "\ufeff"
CONFIG_ADVICE = "Write the settings as a JSON object."
ADVICE = {
    "--config": CONFIG_ADVICE,
    "--state": "Pass a state, a STATE message, or the output of 'meltano state get'.",
    "--catalog": "Create one with --discover.",
}
OPTIONS = list(ADVICE)


def load(option: str, text: str) -> Any:
    """Check the text of an input file, and return its contents."""
    file = io.StringIO(text)
    if option == "--config":
        return load_object(file, option, CONFIG_ADVICE)
    checked = check_state(file, LOGGER) if option == "--state" else check_catalog(file)
    return json.load(checked)


STREAM = {"tap_stream_id": "calls", "schema": {"properties": {"id": {"type": "integer"}}}}


def catalog_with(**changes: Any) -> str:
    """Return a catalog as JSON. Its only stream has the given changes."""
    return json.dumps({"streams": [STREAM | changes]})


MALFORMED = [
    *(
        (option, text, message)
        for option in OPTIONS
        for text, message in (
            ("{", " isn't JSON: "),
            ("[]", " isn't a JSON object."),
            ("x", " isn't JSON: "),
        )
    ),
    (
        "--config",
        '{"api_token": NaN}',
        "isn't JSON: JSON is malformed: invalid character (byte 14).",
    ),
    ("--state", '{"bookmarks": NaN}', "--state isn't JSON: JSON is malformed: invalid character"),
    ("--state", '{"calls": "2026-01-01"}', "--state isn't a Singer state"),
    ("--state", '{"calls": {}}', "--state isn't a Singer state"),
    ("--state", '{"value": null}', "'value' isn't a JSON object"),
    (
        "--state",
        '{"bookmarks": {"calls": {"progress_markers": 5}}}',
        "Expected `object`, got `int`",
    ),
    (
        "--state",
        '{"bookmarks": {"calls": {"partitions": [null]}}}',
        "Expected `object`, got `null`",
    ),
    ("--catalog", catalog_with(stream=[]), "at `$.streams[0].stream`"),
    ("--state", '{"singer_state": "x"}', "'singer_state' isn't a JSON object"),
    ("--state", '{"bookmarks": []}', "--state isn't a Singer state"),
    ("--state", '{"bookmarks": {"calls": 1}}', "--state isn't a Singer state"),
    ("--state", "[" * 100_000, "--state isn't JSON"),
    ("--config", '{"page_size": ' + "1" * 5000 + "}", "isn't JSON"),
    ("--catalog", '{"streams": ' + "[" * 100_000, "--catalog isn't JSON"),
    ("--state", '{"value": {"calls": "2026-01-01"}}', "--state isn't a Singer state"),
    *(
        ("--catalog", catalog_with(schema={"properties": {"id": column}}), "isn't a Singer catalog")
        for column in ({"type": 5}, {"type": ["array"], "items": 5})
    ),
    (
        "--state",
        '{"bookmarks": {"calls": {"partitions": [{"progress_markers": 5}]}}}',
        "Expected `object`, got `int`",
    ),
    ("--catalog", '{"streams": 3}', "isn't a Singer catalog"),
    ("--catalog", "{}", "isn't a Singer catalog"),
    ("--catalog", catalog_with(tap_stream_id=5), "at `$.streams[0].tap"),
    *(
        (
            "--catalog",
            catalog_with(metadata=[{"breadcrumb": b, "metadata": {}}]),
            "at `$.streams[0].metadata[0].breadcrumb",
        )
        for b in ("properties.id", {"properties": "id"}, ["properties", 5])
    ),
    ("--catalog", catalog_with(schema={}), "isn't a Singer catalog"),
    ("--catalog", catalog_with(schema=None), "isn't a Singer catalog"),
    ("--catalog", catalog_with(metadata=None), "isn't a Singer catalog"),
    ("--catalog", catalog_with(metadata=[{}]), "isn't a Singer catalog"),
]


@pytest.mark.parametrize(("option", "text", "message"), MALFORMED, ids=lambda value: value[:200])
def test_malformed_file_is_rejected(option: str, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(option, text)

    assert str(error.value).startswith(option)
    assert message in str(error.value)
    assert str(error.value).endswith(f" {ADVICE[option]}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", OPTIONS)
def test_malformed_file_is_reported_before_any_output(
    tap: TapCommand, tmp_path: Path, option: str
) -> None:
    file = tmp_path / "malformed.json"
    file.write_text('{"streams": 3, "bookmarks": 3, "api_token": NaN', encoding="utf-8")
    others: dict[str, Any] = {} if option == "--config" else {"config": {"api_token": "sk-tuple-x"}}

    run = tap(option, str(file), **others)

    assert run.only_error.startswith(option)
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--config", "Can't read --config nowhere.json: No such file or directory."),
        ("--state", "'nowhere.json': No such file or directory"),
    ],
)
def test_missing_file_is_reported_on_one_line(tap: TapCommand, option: str, message: str) -> None:
    others: dict[str, Any] = {} if option == "--config" else {"config": {"api_token": "sk-tuple-x"}}

    assert message in tap(option, "nowhere.json", **others).only_error


def test_file_that_is_not_utf_8_is_rejected() -> None:
    file = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8")

    with pytest.raises(ConfigurationError, match="Can't read --state: it isn't UTF-8 text"):
        check_state(file, LOGGER)


@pytest.mark.parametrize("option", OPTIONS)
def test_byte_order_mark_is_ignored(option: str) -> None:
    contents: dict[str, Any] = {"streams": [STREAM], "bookmarks": {}}

    assert load(option, BYTE_ORDER_MARK + json.dumps(contents)) == contents


def test_config_can_be_piped_in(tap: TapCommand, serve: SandboxFactory) -> None:
    """It starts with a byte order mark, as on Windows."""
    config = json.dumps(config_for(serve(make_calls(3))))

    done = subprocess.run(
        [*tap.command(), "--config", "/dev/stdin"],
        input=BYTE_ORDER_MARK + config,
        capture_output=True,
        env=clean_environment(),
        encoding="utf-8",
        check=False,
    )

    assert Run(done.returncode, done.stdout, done.stderr).ids("calls") == [1, 2, 3]


class TestState:
    @pytest.mark.parametrize("text", ["", " \n", "null", f"{BYTE_ORDER_MARK}null"])
    def test_empty_state_means_a_first_run(
        self, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            assert load("--state", text) == {}

        (record,) = caplog.records
        assert record.getMessage() == "--state is empty, so everything is read from the start."

    def test_state_without_bookmarks_is_accepted(self) -> None:
        assert load("--state", "{}") == {}

    @pytest.mark.parametrize("wrappings", [["value"], ["singer_state"], ["value", "singer_state"]])
    def test_wrapped_state_is_unwrapped(self, wrappings: list[str]) -> None:
        """STATE messages and Meltano wrap the state."""
        state = state_of(minute(20), minute(20))
        wrapped = state
        for wrapping in reversed(wrappings):
            wrapped = {wrapping: wrapped, "type": "STATE"}

        assert load("--state", json.dumps(wrapped)) == state

    def test_state_message_is_accepted_as_a_file(
        self, tap: TapCommand, serve: SandboxFactory
    ) -> None:
        message = {"type": "STATE", "value": state_of(minute(20), minute(20))}

        run = tap(config=config_for(serve(make_calls(30)), lookback_window=0), state=message)

        assert run.ids("calls") == list(range(20, 31))


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
