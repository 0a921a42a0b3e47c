"""The command line: files are checked before they are used, and a failure is one line."""
# ruff: noqa: UP013 - the shapes of files fit on a line each

from __future__ import annotations

import io
import json
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, NotRequired, TypedDict

import click
import msgspec
from singer_sdk import mapper
from singer_sdk.exceptions import ConfigurationError, SingerSDKError

from tap_tuple.singer.logs import guard_logs

if TYPE_CHECKING:
    import logging
    import re
    from collections.abc import Iterable
    from types import FrameType
    from typing import IO

    from singer_sdk.plugin_base import PluginBase

# What is used of a catalog and of a state.
Object = dict[str, Any]
Property = TypedDict("Property", {"type": str | list[str]}, total=False)
Schema = TypedDict("Schema", {"properties": dict[str, Property]})
Metadata = TypedDict("Metadata", {"breadcrumb": list[str], "metadata": Object})
Stream = TypedDict(
    "Stream",
    {
        "tap_stream_id": str,
        "schema": Schema,
        "metadata": NotRequired[list[Metadata]],
        "stream": NotRequired[str | None],
        "replication_key": NotRequired[str | None],
    },
)
Catalog = TypedDict("Catalog", {"streams": list[Stream]})
Bookmark = TypedDict(
    "Bookmark", {"progress_markers": Object, "partitions": list[Object]}, total=False
)
State = TypedDict("State", {"bookmarks": dict[str, Bookmark]})


def refuse(message: str) -> NoReturn:
    """Raise a ConfigurationError that hides its cause."""
    raise ConfigurationError(message) from None


def refuse_any(messages: Iterable[str]) -> None:
    """Refuse all at once, a line each, if there are any."""
    if text := "\n".join(messages):
        refuse(text)


def run(plugin: type[PluginBase], private: re.Pattern[str]) -> NoReturn:
    """Run a plugin's command line: a failure is one line, and no log line shows what is private."""
    guard_logs(private)
    try:
        command = plugin.cli
    except Exception as error:  # noqa: BLE001 - whatever a user's log configuration raises
        kind = type(error).__name__
        sys.exit(f"The log cannot be set up ({kind}): check LOGLEVEL and SINGER_SDK_LOG_CONFIG.")
    stop_on_signals(plugin.logger)
    try:
        sys.exit(command.main(standalone_mode=False))
    except Exception as error:  # noqa: BLE001 - a traceback quotes values, such as emails
        frames = "".join(traceback.format_tb(error.__traceback__))
        plugin.logger.debug("%s came from:\n%s", type(error).__name__, frames)
        for line in _explain(error, plugin.name).splitlines():
            plugin.logger.error("%s", line)  # noqa: TRY400
        sys.exit(1)


def _explain(error: Exception, plugin_name: str) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if message := _failed_map(error):
        return message
    if isinstance(error, SingerSDKError | OSError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    variable = f"{plugin_name.upper().replace('-', '_')}_LOGLEVEL"
    return (
        f"Stopped by {type(error).__name__} in {last.name} ({Path(last.filename).name}:"
        f"{last.lineno}). Please report this, with the log of a run with {variable}=DEBUG in the "
        "environment."
    )


def stop_on_signals(logger: logging.Logger) -> None:
    """Stop at once on SIGINT and SIGTERM: the last STATE says what a target has in full.

    The SDK's handler writes another STATE, which would wait for a target that has stopped
    reading, and exits with 0, as if the run were done.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        logger.warning("Stopped by signal %d; the next run goes on at the bookmark.", number)
        # As shells do: a run that is stopped is not a run that is done.
        sys.exit(128 + number)

    # As the SDK does: only the main thread may handle signals.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)


def check_state(file: IO[str]) -> IO[str]:
    """Take the state out of a STATE message, or Meltano's form; refuse what is no tap's state."""
    state: Any = load_object(file, "--state")
    for wrapping in ("value", "singer_state"):
        state = state.get(wrapping, state) if isinstance(state, dict) else None
    try:
        msgspec.convert(state or {"bookmarks": state}, State)
    except msgspec.ValidationError as error:
        refuse(f"--state holds no state of a tap: {error}.")
    return io.StringIO(json.dumps(state))


def check_catalog(file: IO[str]) -> IO[str]:
    """Refuse a file that holds no Singer catalog, and return another to be read again."""
    catalog = load_object(file, "--catalog")
    try:
        msgspec.convert(catalog, Catalog)
    except msgspec.ValidationError as error:
        refuse(f"--catalog holds no Singer catalog: {error}. Make one with --discover.")
    return io.StringIO(json.dumps(catalog))


def load_object(source: Path | IO[str], name: str) -> dict[str, Any]:
    """Load a JSON file, which `name` names in messages; refuse one that holds no object."""
    try:
        with source.open(encoding="utf-8") if isinstance(source, Path) else source as file:
            value = msgspec.json.decode(file.read())
    except OSError as error:
        refuse(f"{name} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        refuse(f"{name} cannot be read: it is not UTF-8 text.")
    except (ValueError, RecursionError) as error:
        refuse(f"{name} is not JSON: {error}.")
    return value if isinstance(value, dict) else refuse(f"{name} is not a JSON object.")


def _failed_map(error: Exception) -> str | None:
    """Name the stream and the column whose map failed; the SDK's message may quote a value."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        stream = getattr(frame.f_locals.get("self"), "stream_alias", None)
        if stream and frame.f_globals.get("__name__") == mapper.__name__:
            # The local names of the SDK's functions for one column; a filter has none.
            column = frame.f_locals.get("property_name") or frame.f_locals.get("prop_key")
            cause = type(error.__cause__ or error).__name__
            return (
                f"stream_maps: the map of {stream}, {column or '__filter__'}, failed with {cause}. "
                "Correct it, or the settings and columns that it uses."
            )
    return None
