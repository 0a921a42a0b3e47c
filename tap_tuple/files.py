"""Checks the JSON files that the command line names, before the SDK trusts their shape."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_tuple.errors import SettingsError

if TYPE_CHECKING:
    from typing import IO

FROM_ENVIRONMENT = "ENV"
"""Stands in for a configuration file: ``--config ENV``."""


def check_config(path: str) -> None:
    """Check a configuration file.

    Raises:
        SettingsError: If it is not there, or holds no JSON object.
    """
    if path == FROM_ENVIRONMENT:
        return
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        msg = f"--config {path} cannot be read: {reason}."
        raise SettingsError(msg) from None
    _read_object(text, f"--config {path}")


def check_state(file: IO[str] | None) -> IO[str] | None:
    """Check a state file.

    Returns:
        The same, to be read again.

    Raises:
        SettingsError: If it holds no state of a tap.
    """
    if file is None:
        return None
    text = file.read()
    bookmarks = _read_object(text, "--state").get("bookmarks", {})
    if not _is_object_of_objects(bookmarks):
        msg = "--state holds no state of a tap: its 'bookmarks' are not an object per stream."
        raise SettingsError(msg)
    return io.StringIO(text)


def check_catalog(file: IO[str] | None) -> IO[str] | None:
    """Check a catalog file.

    Returns:
        The same, to be read again.

    Raises:
        SettingsError: If it holds no Singer catalog.
    """
    if file is None:
        return None
    text = file.read()
    streams = _read_object(text, "--catalog").get("streams")
    if not isinstance(streams, list) or not all(
        isinstance(stream, dict) and {"tap_stream_id", "schema"} <= stream.keys()
        for stream in streams
    ):
        msg = (
            "--catalog holds no Singer catalog: its 'streams' are not a list of objects with a "
            "'tap_stream_id' and a 'schema'. Make one with --discover."
        )
        raise SettingsError(msg)
    return io.StringIO(text)


def _read_object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"{name} is not JSON: {error}."
        raise SettingsError(msg) from None
    if not isinstance(value, dict):
        msg = f"{name} is not a JSON object."
        raise SettingsError(msg)
    return value


def _is_object_of_objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())
