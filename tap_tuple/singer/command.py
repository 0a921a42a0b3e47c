"""The command line: check files before they are used, and log each failure as one line."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import traceback
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, NotRequired, TypedDict

import click
import msgspec
from singer_sdk.exceptions import ConfigurationError, SingerSDKError
from singer_sdk.singerlib import Catalog

from tap_tuple.singer.logs import private_text, redact_logs

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable
    from types import FrameType
    from typing import IO

    from singer_sdk.plugin_base import PluginBase


class CatalogColumn(TypedDict, total=False):
    """The JSON schema of a column in a catalog."""

    type: str | list[str]


class CatalogSchema(TypedDict):
    """The JSON schema of a stream in a catalog."""

    properties: dict[str, CatalogColumn]


class CatalogMetadata(TypedDict):
    """Metadata of a stream or a column. A malformed breadcrumb would silently select a column."""

    breadcrumb: list[str]
    metadata: dict[str, Any]


class CatalogStream(TypedDict):
    """A stream in a catalog."""

    tap_stream_id: str
    schema: CatalogSchema
    stream: NotRequired[str | None]
    metadata: NotRequired[list[CatalogMetadata]]


class CatalogFile(TypedDict):
    """The parts of a Singer catalog that the tap uses."""

    streams: list[CatalogStream]


class Partition(TypedDict, total=False):
    """A partition in another tap's bookmark."""

    progress_markers: dict[str, Any]


class Bookmark(Partition, total=False):
    """The bookmark of a stream, with the keys that other taps add."""

    partitions: list[Partition]


class StateFile(TypedDict):
    """The parts of a Singer state that the tap uses."""

    bookmarks: dict[str, Bookmark]


def reject(message: str) -> NoReturn:
    """Raise a ConfigurationError that hides its cause."""
    raise ConfigurationError(message) from None


def reject_any(problems: Iterable[str]) -> None:
    """Raise a ConfigurationError with all problems, one per line, if there are any."""
    message = "\n".join(problems)
    if message:
        reject(message)


def run(
    plugin: type[PluginBase],
    token_prefix: str,
    *,
    command: click.Command | None = None,
    failure_exit_code: int = 1,
    advice_when_stopped: str = "The next run resumes from the last saved bookmark.",
) -> NoReturn:
    """Run a command line, log each failure as one line, and keep private text out of the log.

    Args:
        plugin: The tap class.
        token_prefix: The prefix of tokens. Tokens must not appear in the log.
        command: A command to run instead of the plugin's own.
        failure_exit_code: The exit code if the command fails.
        advice_when_stopped: Added to the log line about a signal.
    """
    redact_logs(private_text(token_prefix))
    _unset_empty_log_settings(plugin.name)
    try:
        # This also sets up logging.
        plugin_command = plugin.cli
    except Exception as error:  # noqa: BLE001 - whatever a user's log configuration raises
        kind = type(error).__name__
        click.echo(
            f"Can't set up logging ({kind}). Check LOGLEVEL and SINGER_SDK_LOG_CONFIG.", err=True
        )
        sys.exit(failure_exit_code)
    stop_on_signals()
    try:
        exit_code = (command or plugin_command).main(standalone_mode=False)
    except StoppedBySignal as stopped:
        message = f"Stopped by {stopped.name}. {advice_when_stopped}".rstrip()
        plugin.logger.warning("%s", message)
        raise
    except Exception as error:  # noqa: BLE001 - a traceback quotes values, such as emails
        frames = "".join(traceback.format_tb(error.__traceback__))
        plugin.logger.debug("%s came from:\n%s", type(error).__name__, frames)
        for line in _explain(error, plugin.name).splitlines():
            plugin.logger.error("%s", line)  # noqa: TRY400 - the traceback was logged above
        sys.exit(failure_exit_code)
    sys.exit(exit_code)


def _explain(error: Exception, plugin_name: str) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, SingerSDKError | OSError):
        return str(error)

    last_frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last_frame.filename).name}:{last_frame.lineno}"
    return (
        f"Unexpected {type(error).__name__} in {last_frame.name} ({place}). Please report this, "
        f"and include the log of a run with {_log_level_variable(plugin_name)}=DEBUG."
    )


def _unset_empty_log_settings(plugin_name: str) -> None:
    """Treat empty environment variables as unset. The SDK rejects an empty log level."""
    for name in ("LOGLEVEL", _log_level_variable(plugin_name), "SINGER_SDK_LOG_CONFIG"):
        if not os.environ.get(name, "").strip():
            os.environ.pop(name, None)


def _log_level_variable(plugin_name: str) -> str:
    return f"{plugin_name.upper().replace('-', '_')}_LOGLEVEL"


class StoppedBySignal(SystemExit):
    """The run has been stopped by a signal."""

    def __init__(self, number: int) -> None:
        """Set the exit code, following the convention of shells."""
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def stop_on_signals() -> None:
    """Stop immediately on SIGINT and SIGTERM.

    The last STATE already shows which rows have been written completely. The SDK's handler writes
    another one. That write would block if the target has stopped reading. The SDK's handler also
    exits with 0, as if the run were complete.

    This handler only raises an exception, because logging a line may fail if the signal arrives
    while another line is being logged. `logging` would swallow that failure, and the run would
    continue.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise StoppedBySignal(number)

    # Only the main thread may handle signals.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)


def check_state(file: IO[str], logger: logging.Logger) -> IO[str]:
    """Check a state, and return it without the wrapper that a STATE message or Meltano adds.

    An empty file and null both mean a first run.
    """
    name = "--state"
    text = _read(file, name)
    if text.strip() in ("", "null"):
        logger.info("%s is empty, so everything is read from the start.", name)
        return io.StringIO("{}")

    advice = "Pass a state, a STATE message, or the output of 'meltano state get'."
    state = _parse_object(text, name, advice)
    for wrapping in ("value", "singer_state"):
        state = state.get(wrapping, state)
        if not isinstance(state, dict):
            reject(f"--state isn't a Singer state: {wrapping!r} isn't a JSON object. {advice}")
    if state:
        try:
            msgspec.convert(state, StateFile)
        except msgspec.ValidationError as error:
            reject(f"--state isn't a Singer state: {error}. {advice}")
    return io.StringIO(json.dumps(state))


def check_catalog(file: IO[str]) -> IO[str]:
    """Check a Singer catalog, and return it as a file that can be read again."""
    advice = "Create one with --discover."
    catalog = load_object(file, "--catalog", advice)
    try:
        msgspec.convert(catalog, CatalogFile)
        Catalog.from_dict(deepcopy(catalog))
    except msgspec.ValidationError as error:
        reject(f"--catalog isn't a Singer catalog: {error}. {advice}")
    except Exception as error:  # noqa: BLE001 - the SDK may raise anything for a malformed schema
        kind = type(error).__name__
        reject(f"--catalog isn't a Singer catalog ({kind}). {advice}")
    return io.StringIO(json.dumps(catalog))


def load_object(source: Path | IO[str], name: str, advice: str) -> dict[str, Any]:
    """Load a JSON object from a file.

    Args:
        source: The file.
        name: The file's name in error messages.
        advice: The last sentence of the error for a file without a JSON object.
    """
    return _parse_object(_read(source, name), name, advice)


def _read(source: Path | IO[str], name: str) -> str:
    try:
        if isinstance(source, Path):
            text = source.read_text(encoding="utf-8")
        else:
            with source:
                text = source.read()
    except OSError as error:
        reject(f"Can't read {name}: {error.strerror}.")
    except UnicodeDecodeError:
        reject(f"Can't read {name}: it isn't UTF-8 text.")
    # Some Windows editors add a byte order mark without showing it.
    byte_order_mark = "\ufeff"
    return text.removeprefix(byte_order_mark)


def _parse_object(text: str, name: str, advice: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        reject(f"{name} isn't JSON: {error}. {advice}")
    if not isinstance(value, dict):
        reject(f"{name} isn't a JSON object. {advice}")
    return value
