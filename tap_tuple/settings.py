"""The settings, and how they are validated."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import requests
from dotenv import find_dotenv, load_dotenv
from singer_sdk import typing as th
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
)

from tap_tuple.api.network import is_loopback
from tap_tuple.api.rejections import TOKENS_PAGE
from tap_tuple.api.response import MAX_PER_PAGE
from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        required=True,
        secret=True,
        title="API token",
        description="API token for Tuple's usage API. It starts with `sk-tuple-`. Team owners and "
        f"managers can create one at {TOKENS_PAGE}.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description="Only read calls that ended at or after this date or time. If unset, read all "
        "history. A date without a time means midnight. Times without a zone are UTC.",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description="Only read calls that ended before this date or time. If unset, read up to the "
        "start of the run.",
    ),
    th.Property(
        "lookback_window",
        th.IntegerType(minimum=0),
        default=3600,
        title="Lookback window",
        description="Each run starts reading this many seconds before the bookmark, to pick up "
        "calls that Tuple finalizes late. With 0, only the last second before the bookmark is "
        "re-read.",
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
        description="Maximum requests per minute. Tuple allows 60 per team, shared by all "
        "integrations.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default="https://production.tuple.app",
        title="API URL",
        description="Base URL of Tuple's API. Must be HTTPS, except on localhost.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="User-Agent header. Defaults to `tap-tuple/<version>`.",
    ),
).to_dict()
"""The tap's own settings."""

STRIPPED = ("api_token", "api_url", "start_date", "end_date", "user_agent")
"""Settings that are stripped of surrounding whitespace, such as a file's trailing line break."""

DROPPED = (None, NULL_STRING)
"""Values that make a stream map drop a stream or a column."""
STREAM_MAP_OPTIONS = (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
)
"""Names in the map of a stream that aren't columns."""

TRUE_WORDS = ("true", "1", "yes", "on")
FALSE_WORDS = ("false", "0", "no", "off")
"""Words that mean false. The SDK reads any word outside `TRUE_WORDS` as false, even a typo."""


def _parse_boolean(text: str) -> bool:
    if text.lower() not in TRUE_WORDS + FALSE_WORDS:
        msg = "not a boolean"
        raise ValueError(msg)
    return text.lower() in TRUE_WORDS


class Kind(NamedTuple):
    """A kind of setting that isn't text."""

    python_type: type
    parse: Callable[[str], object]
    """Parses the value of an environment variable. Raises a ValueError if it's invalid."""
    description: str


KINDS = {
    "integer": Kind(int, int, "a whole number"),
    "boolean": Kind(bool, _parse_boolean, "true or false"),
    "object": Kind(dict, msgspec.json.Decoder(dict).decode, "a JSON object"),
}
"""Kinds by the first type in a setting's JSON schema."""


def normalize(config: Mapping[str, Any]) -> dict[str, Any]:
    """Strip the settings in `STRIPPED`, turn floats like 1.0 into integers, and drop unset values.

    Null and empty text mean unset, because that's what many tools pass for a missing value.
    """
    normalized: dict[str, Any] = {}
    for name, given in config.items():
        value = given
        if isinstance(value, str) and (name in STRIPPED or not value.strip()):
            value = value.strip()
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value not in (None, ""):
            normalized[name] = value
    return normalized


def problems(
    config: Mapping[str, Any], schema: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Yield one message per invalid setting. It names the setting but quotes no secret.

    Args:
        config: The settings, with defaults.
        schema: Their JSON schema.
        columns: Column names by stream.
    """
    yield from _token_problems(config.get("api_token"))
    yield from _date_problems(config)
    max_depth = config.get("flattening_max_depth")
    is_depth_missing = max_depth is None or (isinstance(max_depth, int) and max_depth < 0)
    if config.get("flattening_enabled") and is_depth_missing:
        yield (
            "flattening_max_depth is missing or negative: set it to a whole number of at least 0, "
            "or set flattening_enabled to false."
        )
    yield from _url_problems(str(config.get("api_url")))
    yield from _number_problems(config, schema)
    yield from type_problems(config, schema)
    yield from _stream_map_problems(config.get("stream_maps") or {}, columns)
    yield from _stream_map_config_problems(config.get("stream_map_config") or {})
    user_agent = config.get("user_agent")
    if user_agent is not None and not _is_header_text(user_agent):
        yield "user_agent must consist of printable ASCII characters."


def type_problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield one message per setting whose value has the wrong type. It doesn't quote the value."""
    for name, setting in schema["properties"].items():
        kind = KINDS.get(setting["type"][0])
        value = config.get(name)
        has_own_check = "minimum" in setting
        if kind is None or value is None or has_own_check:
            continue
        if type(value) is not kind.python_type:
            yield f"{name} has a value of the wrong type. It must be {kind.description}."
    stream_maps = config.get("stream_maps")
    if isinstance(stream_maps, dict):
        maps = [stream_maps, *stream_maps.values()]
        if any(isinstance(each, dict) and each.get("__else__") not in DROPPED for each in maps):
            yield "stream_maps: the value for '__else__' must be null or '__NULL__'."


def locate_invalid_values(errors: Iterable[str]) -> Iterator[str]:
    """Yield one message per SDK error. It names the invalid setting but not its value."""
    for error in errors:
        # For example, "5 is not of type 'object' in config['stream_maps']['calls']".
        _, separator, path = error.rpartition(" in config[")
        keys = path.removesuffix("]").split("][") if separator else ["A setting"]
        name = ".".join(key.strip("'") for key in keys)
        yield f"{name} is invalid. See https://sdk.meltano.com/en/latest/stream_maps.html."


def load_dotenv_file(logger: logging.Logger) -> None:
    """Load `.env` into the environment, from the working directory or one of its parents."""
    path = find_dotenv(usecwd=True)
    try:
        load_dotenv(path)
    except (OSError, ValueError):
        logger.warning("Ignoring %s: it can't be read, or it isn't UTF-8 text.", path)


def normalize_environment(schema: Mapping[str, Any], plugin_name: str) -> None:
    """Normalize the settings' environment variables before the SDK reads them."""
    for name in schema["properties"]:
        variable = environment_variable(name, plugin_name)
        if variable not in os.environ:
            continue
        normalized = normalize({name: os.environ[variable]})
        if normalized:
            os.environ[variable] = normalized[name]
        else:
            del os.environ[variable]


def environment_problems(schema: Mapping[str, Any], plugin_name: str) -> Iterator[str]:
    """Yield one message per environment variable with a malformed or unsupported value."""
    for name, setting in schema["properties"].items():
        variable = environment_variable(name, plugin_name)
        kind = KINDS.get(setting["type"][0])
        if kind is None or variable not in os.environ:
            continue
        try:
            value = kind.parse(os.environ[variable])
        except (ValueError, RecursionError):
            yield f"{name} (in {variable}) must be {kind.description}. Correct or remove it."
        else:
            yield from type_problems({name: value}, schema)


def environment_variable(setting_name: str, plugin_name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{plugin_name}_{setting_name}".upper().replace("-", "_")


def _token_problems(token: object) -> Iterator[str]:
    if token is None:
        is_ignored = bool(os.environ.get("TAP_TUPLE_API_TOKEN", "").strip())
        yield (
            "api_token is missing. The environment has TAP_TUPLE_API_TOKEN, but the tap only reads "
            "it with --config ENV."
            if is_ignored
            else "api_token is missing. Set it, or the environment variable TAP_TUPLE_API_TOKEN, "
            "to one of your team's tokens, which start with 'sk-tuple-'."
        )
        return
    has_forbidden_character = any(character in str(token) for character in " \"'")
    if has_forbidden_character or not _is_header_text(token):
        yield (
            "api_token doesn't look like a Tuple token. A token starts with 'sk-tuple-' and "
            "contains no spaces, quotes or line breaks."
        )


def _is_header_text(value: object) -> bool:
    """Return whether a value can be sent as a header.

    If it can't, the requests library would quote it in an error.
    """
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
                f"{name} is {config[name]!r}. It must be a date like 2026-01-31, or a time like "
                "2026-01-31T09:00:00Z."
            )
    start, end = dates.get("start_date"), dates.get("end_date")
    if start and end and start >= end:
        yield (
            f"end_date ({config['end_date']}) must be later than start_date "
            f"({config['start_date']})."
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
            yield f"{name} is {value!r}. It must be a whole number {allowed}."


def _stream_map_problems(
    maps: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Report maps for unknown streams and columns, which would silently fail to hide emails."""
    if not isinstance(maps, dict):
        # `type_problems` reports this.
        return
    uses_faker = re.search(r"\bfake\b", str(maps)) is not None
    if uses_faker and find_spec("faker") is None:
        yield "stream_maps: 'fake' needs the faker package. Install it in the tap's environment."
    for name, stream_map in maps.items():
        rules = stream_map if isinstance(stream_map, dict) else {}
        source = str(rules.get("__source__", name))
        streams = [stream for stream in columns if fnmatch(stream, source)]
        if name.startswith("__"):
            if name != MAPPER_ELSE_OPTION:
                yield (
                    f"stream_maps: {name!r} is neither a stream nor the option "
                    f"{MAPPER_ELSE_OPTION!r}. Correct or remove it."
                )
            continue
        if not streams:
            yield f"stream_maps: {source!r} isn't a stream. Use {' or '.join(columns)}."
        known_columns = [column for stream in streams for column in columns[stream]]
        yield from _map_rule_problems(name, rules, known_columns)


def _stream_map_config_problems(map_config: Mapping[str, Any]) -> Iterator[str]:
    """Report empty values. Hashing emails with an empty salt wouldn't protect them.

    Meltano passes null for a variable that isn't set.
    """
    if not isinstance(map_config, dict):
        # `type_problems` reports this.
        return
    for name, value in map_config.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            yield f"stream_map_config has no value for {name!r}. Set it, or remove it."


def _map_rule_problems(
    map_name: str, rules: Mapping[str, Any], known_columns: Sequence[str]
) -> Iterator[str]:
    """Report unknown options, and dropped columns that don't exist. They'd silently do nothing."""
    for name, rule in rules.items():
        is_option = name.startswith("__")
        if is_option and name not in STREAM_MAP_OPTIONS:
            problem = f"an unknown option {name!r}"
            candidates = [*STREAM_MAP_OPTIONS, *known_columns]
        elif not is_option and rule in DROPPED and known_columns and name not in known_columns:
            problem = f"no column {name!r} to drop"
            candidates = [*known_columns]
        else:
            continue
        (nearest,) = get_close_matches(name, candidates, n=1, cutoff=0)
        yield f"stream_maps: {map_name!r} has {problem}. Did you mean {nearest!r}?"


def _url_problems(url: str) -> Iterator[str]:
    try:
        requests.Request("GET", url).prepare()
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield _invalid_url(url)
        return
    if parts.username is not None or parts.password is not None:
        yield "api_url must not contain a user name or a password."
        return

    is_web_address = parts.scheme in {"http", "https"} and parts.hostname is not None and port != 0
    # The SDK would replace a setting's name in braces with its value, for example the token.
    has_forbidden_character = any(character in url for character in " {}?#")
    if not is_web_address or has_forbidden_character or not _is_header_text(url):
        yield _invalid_url(url)
    elif parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        yield (
            f"api_url is {url!r}, which would send the token unencrypted. Use https. Plain http is "
            "only for the local machine."
        )


def _invalid_url(url: str) -> str:
    if "@" in url:
        # It may hold a password.
        return "api_url must be a URL like https://production.tuple.app."
    return f"api_url is {url!r}. It must be a URL like https://production.tuple.app."
