"""The contestants: the command for each way to read the calls."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.measure import Command
from benchmarks.server import PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAP_TUPLE = "tap-tuple"
BARE = "bare"
"""The baseline."""

TAP_CONFIG: dict[str, Any] = {
    "api_token": "sk-tuple-benchmark",
    # More than the tap can send, so that it never waits.
    "requests_per_minute": 1_000_000,
}
DLT_ENV = {"RUNTIME__DLTHUB_TELEMETRY": "false"}


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in this Python."""
    return [sys.executable, "-m", name, *arguments]


def tap_tuple(url: str, folder: Path) -> Command:
    """Return the command that runs this project's tap."""
    return Command(module("tap_tuple", "--config", _config_file(TAP_CONFIG, url, folder)))


def bare_loop(url: str, folder: Path) -> Command:  # noqa: ARG001 - it keeps no files
    """Return the command that runs the loop that only reads and writes."""
    return Command(module("benchmarks.bare_loop", _first_page(url)))


def tuned_loop(url: str, folder: Path) -> Command:  # noqa: ARG001 - it keeps no files
    """Return the command that runs the loop that does as little work as possible."""
    return Command(module("benchmarks.tuned_loop", _first_page(url)))


def plain_tap(url: str, folder: Path) -> Command:
    """Return the command that runs a tap like those in tutorials."""
    config = {"api_token": TAP_CONFIG["api_token"]}
    return Command(module("benchmarks.plain_tap", "--config", _config_file(config, url, folder)))


def dlt(url: str, folder: Path, *arguments: str) -> Command:
    """Return the command for the dlt source. The folder has no state from an earlier run."""
    return Command(
        module("benchmarks.dlt_source", "--url", url, "--folder", str(folder), *arguments), DLT_ENV
    )


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to read the calls."""

    title: str
    command: Callable[[str, Path], Command]
    """Takes the server's URL and an empty folder."""
    writes_messages: bool = True


CONTESTANTS = {
    TAP_TUPLE: Contestant("tap-tuple", tap_tuple),
    BARE: Contestant("bare loop (requests, msgspec)", bare_loop),
    "tuned": Contestant("tuned loop (structs, a write per page)", tuned_loop),
    "plain": Contestant("plain SDK tap", plain_tap),
    "dlt": Contestant("dlt, extract step only", dlt, writes_messages=False),
}


def _first_page(url: str) -> str:
    query = urlencode({"since": "1970-01-01T00:00:00Z", "per_page": 1000})
    return f"{url}{PATH}?{query}"


def _config_file(config: dict[str, Any], url: str, folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config | {"api_url": url}))
    return str(path)
