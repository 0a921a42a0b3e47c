"""The settings, and how they are validated."""

from __future__ import annotations

import os
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, NamedTuple
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
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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

DROPPED = (None, "__NULL__")
"""Values with which a stream map drops a stream or a column."""

TRUE_WORDS = ("true", "1", "yes", "on")
FALSE_WORDS = ("false", "0", "no", "off")
"""The SDK takes any other word for false."""


def _read_boolean(text: str) -> bool:
    if text.lower() not in TRUE_WORDS + FALSE_WORDS:
        msg = "not a boolean"
        raise ValueError(msg)
    return text.lower() in TRUE_WORDS


class Kind(NamedTuple):
    """A kind of setting that isn't text."""

    python_type: type
    read: Callable[[str], object]
    """Reads the setting from a variable. Raises a ValueError if that isn't possible."""
    description: str


KINDS = {
    "integer": Kind(int, int, "a whole number"),
    "boolean": Kind(bool, _read_boolean, "true or false"),
    "object": Kind(dict, msgspec.json.Decoder(dict).decode, "a JSON object"),
}
"""By the first type in the JSON schema of a setting."""


def problems(
    config: Mapping[str, Any], schema: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Yield one message per invalid setting. It names the setting, and quotes no secret.

    Args:
        config: The settings, with defaults.
        schema: Their JSON schema.
        columns: The names of columns, by stream.
    """
    yield from _token_problems(config.get("api_token"))
    yield from _date_problems(config)
    yield from _url_problems(str(config.get("api_url")))
    yield from _number_problems(config, schema)
    yield from type_problems(config, schema)
    yield from _stream_map_problems(config.get("stream_maps") or {}, columns)
    user_agent = config.get("user_agent")
    if user_agent is not None and not _is_header_text(user_agent):
        yield "user_agent cannot be sent: set it to printable ASCII characters, or leave it out."


def type_problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield one message per setting whose value has the wrong type, without the value."""
    for name, setting in schema["properties"].items():
        kind = KINDS.get(setting["type"][0])
        value = config.get(name)
        has_own_check = "minimum" in setting
        if kind is None or value is None or has_own_check:
            continue
        if type(value) is not kind.python_type:
            yield f"{name} has a value of the wrong type: set it to {kind.description}."
    stream_maps = config.get("stream_maps")
    if isinstance(stream_maps, dict) and stream_maps.get("__else__") not in DROPPED:
        yield "stream_maps has something for '__else__' that is no map: use null or '__NULL__'."


def locate_invalid_values(errors: Iterable[str]) -> Iterator[str]:
    """Yield where values are invalid, from the SDK's messages, which also quote the values."""
    for error in errors:
        # Such as "5 is not of type 'object' in config['stream_maps']['calls']".
        _, _, path = error.rpartition(" in config[")
        name = ".".join(key.strip("'") for key in path.removesuffix("]").split("]["))
        yield f"{name} has an invalid value: see https://sdk.meltano.com/en/latest/stream_maps.html."


def load_environment(schema: Mapping[str, Any], plugin_name: str) -> Iterator[str]:
    """Load `.env`, and yield one message per variable that the SDK can't read as its setting."""
    try:
        load_dotenv(find_dotenv(usecwd=True))
    except (OSError, ValueError):
        yield ".env cannot be read: make it readable, and UTF-8 text."
    for name, setting in schema["properties"].items():
        variable = f"{plugin_name}_{name}".upper().replace("-", "_")
        kind = KINDS.get(setting["type"][0])
        if kind is None or variable not in os.environ:
            continue
        try:
            kind.read(os.environ[variable])
        except (ValueError, RecursionError):
            yield f"{name} (in {variable}) is not {kind.description}: correct or remove it."


def _token_problems(token: object) -> Iterator[str]:
    if token is None or token == "":
        yield (
            "api_token is missing: set it to a token of your team, which begins with 'sk-tuple-' "
            "(in the environment, TAP_TUPLE_API_TOKEN)."
        )
        return
    has_forbidden_character = any(character in str(token) for character in " \"'")
    if has_forbidden_character or not _is_header_text(token):
        yield (
            "api_token is no token: set it to the one text that begins with 'sk-tuple-', without "
            "spaces, quotes or line breaks around it."
        )


def _is_header_text(value: object) -> bool:
    """Return whether a value can be sent as a header. requests quotes others in its error."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def _date_problems(config: Mapping[str, Any]) -> Iterator[str]:
    dates: dict[str, datetime] = {}
    for name in ("start_date", "end_date"):
        if name not in config:
            continue
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


def _number_problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    for name, setting in schema["properties"].items():
        value = config.get(name)
        least, greatest = setting.get("minimum"), setting.get("maximum")
        if value is None or least is None:
            continue
        # True is an int, too.
        is_whole_number = type(value) is int
        is_large_enough = is_whole_number and value >= least
        is_small_enough = is_whole_number and (greatest is None or value <= greatest)
        if not (is_large_enough and is_small_enough):
            allowed = f"of at least {least}"
            if greatest is not None:
                allowed = f"from {least} to {greatest}"
            yield f"{name} is {value!r}: set it to a whole number {allowed}."


def _stream_map_problems(
    maps: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Report maps for unknown streams and columns, which would silently fail to hide emails."""
    if not isinstance(maps, dict):
        # Reported by its type.
        return
    for name, stream_map in maps.items():
        rules = stream_map if isinstance(stream_map, dict) else {}
        source = str(rules.get("__source__", name))
        streams = [stream for stream in columns if fnmatch(stream, source)]
        is_option = name.startswith("__")
        if not streams and not is_option:
            yield f"stream_maps names {source!r}, which is no stream: use {' or '.join(columns)}."
        known_columns = [column for stream in streams for column in columns[stream]]
        yield from _dropped_column_problems(name, rules, known_columns)


def _dropped_column_problems(
    map_name: str, rules: Mapping[str, Any], known_columns: Sequence[str]
) -> Iterator[str]:
    for column, rule in rules.items():
        is_option = column.startswith("__")
        if known_columns and rule in DROPPED and not is_option and column not in known_columns:
            nearest = get_close_matches(column, known_columns, n=1, cutoff=0)[0]
            yield (
                f"stream_maps drops {column!r} of {map_name}, which is no column of it: did you "
                f"mean {nearest!r}?"
            )


def _url_problems(url: str) -> Iterator[str]:
    try:
        requests.Request("GET", url).prepare()
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield _invalid_url(url)
        return
    if parts.username is not None or parts.password is not None:
        yield "api_url holds a user name or a password: leave them out."
        return

    is_web_address = parts.scheme in {"http", "https"} and parts.hostname is not None and port != 0
    # The SDK would replace a name in braces by a setting, such as the token.
    has_forbidden_character = any(character in url for character in " {}?#")
    if not is_web_address or has_forbidden_character or not _is_header_text(url):
        yield _invalid_url(url)
    elif parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        yield (
            f"api_url is {url!r}: the token would be sent in the clear. Use https; plain http is "
            "for the local machine alone."
        )


def _invalid_url(url: str) -> str:
    return f"api_url is {url!r}: set it to an address such as https://production.tuple.app."
