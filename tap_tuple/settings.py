"""Which settings are usable, and what to do about one that is not."""

from __future__ import annotations

import os
from difflib import get_close_matches
from fnmatch import fnmatch
from math import inf
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

import msgspec
import requests
from dotenv import find_dotenv, load_dotenv
from singer_sdk import typing as th

from tap_tuple.api.client import TOKENS_PAGE
from tap_tuple.api.network import is_loopback
from tap_tuple.api.response import MAX_PER_PAGE
from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import datetime

SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        required=True,
        secret=True,
        title="API token",
        description="A token of your team for Tuple's usage API; it begins with `sk-tuple-`. Team "
        f"owners and managers create one at {TOKENS_PAGE}.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description="Read calls that ended at or after it; without it, all history. A date alone "
        "is its midnight, and without a zone it is UTC.",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description="Read calls that ended before it; without it, those that ended before the "
        "run starts.",
    ),
    th.Property(
        "lookback_window",
        th.IntegerType(minimum=0),
        default=3600,
        title="Lookback window",
        description="Seconds before the bookmark that each run reads again, for calls that Tuple "
        "finalises late. 0 switches it off.",
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=MAX_PER_PAGE),
        default=MAX_PER_PAGE,
        title="Page size",
        description="Calls per request, from 1 to 1000.",
    ),
    th.Property(
        "requests_per_minute",
        th.IntegerType(minimum=1),
        default=60,
        title="Requests per minute",
        description="The tap's share of the 60 requests a minute that Tuple grants to all "
        "integrations of a team together.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default="https://production.tuple.app",
        title="API URL",
        description="Where Tuple is: an https address, or plain http to the local machine.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="What the tap calls itself in its requests; without it, `tap-tuple/<version>`.",
    ),
).to_dict()
"""The tap's own settings."""

BOOLEANS = ("true", "1", "yes", "on", "false", "0", "no", "off")  # any other is false to the SDK

KINDS: dict[str, tuple[type, Callable[[str], object], str]] = {
    "integer": (int, int, "a whole number"),
    "boolean": (bool, lambda text: BOOLEANS.index(text.lower()), "true or false"),
    "object": (dict, msgspec.json.Decoder(dict).decode, "a JSON object"),
}
"""By the type of a setting: Python's type, what reads it from a variable, and the words for it."""


def problems(
    config: Mapping[str, Any], schema: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Yield a line per wrong setting, with its name and no secret; columns are those per stream."""
    yield from _token_problems(config.get("api_token"))
    yield from _date_problems(config)
    yield from _url_problems(config.get("api_url"))
    for name, setting in schema["properties"].items():
        value, kind = config.get(name), setting["type"][0]
        if value is None or kind not in KINDS:
            continue
        type_, _, meaning = KINDS[kind]
        least, greatest = setting.get("minimum"), setting.get("maximum", inf)
        # The type itself, for True is an int too.
        is_typed = type(value) is type_
        if least is None and not is_typed:
            yield f"{name} has a value of the wrong type: set it to {meaning}."
        elif least is not None and not (is_typed and least <= value <= greatest):
            allowed = f"of at least {least}" if greatest == inf else f"from {least} to {greatest}"
            yield f"{name} is {value!r}: set it to {meaning} {allowed}."
    yield from _stream_map_problems(config.get("stream_maps"), columns)
    if not _is_header_text(config.get("user_agent", "left out")):
        yield "user_agent cannot be sent: set it to printable ASCII characters, or leave it out."


def load_environment(schema: Mapping[str, Any], plugin_name: str) -> Iterator[str]:
    """Load `.env`, and yield a line per variable that the SDK cannot read as its setting."""
    try:
        load_dotenv(find_dotenv(usecwd=True))
    except (OSError, ValueError):
        yield ".env cannot be read: make it readable, and UTF-8 text."
    for name, setting in schema["properties"].items():
        variable = f"{plugin_name}_{name}".upper().replace("-", "_")
        if variable in os.environ and setting["type"][0] in KINDS:
            _, read, meaning = KINDS[setting["type"][0]]
            try:
                read(os.environ[variable])
            except (ValueError, RecursionError):
                yield f"{name} (in {variable}) is not {meaning}: correct or remove it."


def _token_problems(token: object) -> Iterator[str]:
    if token is None or token == "":
        yield (
            "api_token is missing: set it to a token of your team, which begins with 'sk-tuple-' "
            "(in the environment, TAP_TUPLE_API_TOKEN)."
        )
    elif not _is_header_text(token) or not set(" \"'").isdisjoint(token):
        yield (
            "api_token is no token: set it to the one text that begins with 'sk-tuple-', without "
            "spaces, quotes or line breaks around it."
        )


def _is_header_text(value: object) -> TypeGuard[str]:
    """Tell what a header takes as it is: another value would be quoted in an error message."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def _date_problems(config: Mapping[str, Any]) -> Iterator[str]:
    dates: dict[str, datetime] = {}
    for name in [name for name in ("start_date", "end_date") if name in config]:
        try:
            dates[name] = parse_timestamp(config[name])
        except (TypeError, ValueError):
            yield (
                f"{name} is {config[name]!r}: set it to a date such as 2026-01-31, or to a time "
                "such as 2026-01-31T09:00:00Z, or leave it out."
            )
    start, end = dates.get("start_date"), dates.get("end_date")
    if start and end and start >= end:
        yield (
            f"end_date {config['end_date']} is not after start_date {config['start_date']}: set it "
            "to a later date, or leave it out."
        )


def _stream_map_problems(maps: object, columns: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Find maps of streams and columns that there are not: they would hide no email, in silence."""
    for name, definition in maps.items() if isinstance(maps, dict) else ():
        rules = definition if isinstance(definition, dict) else {}
        source = str(rules.get("__source__", name))
        streams = [stream for stream in columns if fnmatch(stream, source)]
        if not streams and not name.startswith("__"):
            yield f"stream_maps names {source!r}, which is no stream: use {' or '.join(columns)}."
        if (definition is not rules or name == "__else__") and definition not in (None, "__NULL__"):
            yield f"stream_maps has something for {name!r} that is no map: use an object or null."
        known = [column for stream in streams for column in columns[stream]]
        for column, rule in rules.items():
            if column != "__key_properties__" and not isinstance(rule, str | None):
                yield f"stream_maps has no text for {column!r} of {name!r}: use one, or null."
            is_name = column.startswith("__") or column in known
            if known and rule in (None, "__NULL__") and not is_name:
                (nearest,) = get_close_matches(column, known, n=1, cutoff=0)
                yield (
                    f"stream_maps drops {column!r} of {name}, which is no column of it: did you "
                    f"mean {nearest!r}?"
                )


def _url_problems(url: object) -> Iterator[str]:
    try:
        requests.Request("GET", str(url)).prepare()
        parts = urlsplit(str(url))
        is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        parts, is_address = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        yield "api_url holds a user name or a password: leave them out."
    # No query or fragment; and the SDK would fill a setting in for a name in braces.
    elif not (is_address and _is_header_text(url) and set(" {}?#").isdisjoint(url)):
        yield f"api_url is {url!r}: set it to an address such as https://production.tuple.app."
    elif parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        yield (
            f"api_url is {url!r}: the token would be sent in the clear. Use https; plain http is "
            "for the local machine alone."
        )
