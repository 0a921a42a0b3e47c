"""Checks the settings before anything is sent, and says what to do about a wrong one."""

from __future__ import annotations

from fnmatch import fnmatch
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

from tap_tuple.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

STREAMS = ("calls", "call_participations")
"""What a stream map can name."""

INTEGER_LIMITS: dict[str, tuple[int, int | None]] = {
    "lookback_window": (0, None),
    "page_size": (1, 1000),
    "requests_per_minute": (1, None),
}
"""The least and the greatest value; the API answers with at most 1000 calls a page."""


def problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with the settings.

    Args:
        config: The settings, defaults filled in.

    Yields:
        A line per problem. It names the setting, and holds no secret.
    """
    yield from _token_problems(config.get("api_token"))
    yield from _date_problems(config)
    for name, (least, greatest) in INTEGER_LIMITS.items():
        value = config.get(name)
        if value is None:
            continue
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or value < least or (greatest is not None and value > greatest):
            allowed = f"of at least {least}" if greatest is None else f"from {least} to {greatest}"
            yield f"{name} is {value!r}: set it to a whole number {allowed}."
    yield from _url_problems(config.get("api_url"))
    yield from _stream_map_problems(config.get("stream_maps"))
    user_agent = config.get("user_agent")
    if user_agent is not None and not _is_header_text(user_agent):
        yield "user_agent cannot be sent: set it to printable ASCII characters, or leave it out."


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
    for name in ("start_date", "end_date"):
        value = config.get(name)
        if value is None:
            continue
        try:
            dates[name] = parse_timestamp(value)
        except (TypeError, ValueError):
            yield (
                f"{name} is {value!r}: set it to a date such as 2026-01-31, or to a time such as "
                "2026-01-31T09:00:00Z, or leave it out."
            )
    start, end = dates.get("start_date"), dates.get("end_date")
    if start and end and start >= end:
        yield (
            f"end_date {config['end_date']} is not after start_date {config['start_date']}: set it "
            "to a later date, or leave it out."
        )


def _stream_map_problems(maps: object) -> Iterator[str]:
    """Find maps of streams that there are not: such a map hashes no email, in silence."""
    for name, definition in maps.items() if isinstance(maps, dict) else ():
        source = definition.get("__source__", name) if isinstance(definition, dict) else name
        if not name.startswith("__") and not any(fnmatch(each, source) for each in STREAMS):
            yield f"stream_maps names {source!r}, which is no stream: use {' or '.join(STREAMS)}."


def _url_problems(url: object) -> Iterator[str]:
    if url is None:
        return
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        yield "api_url holds a user name or a password: leave them out."
    elif (
        not port_is_valid
        or not parts.hostname
        or parts.scheme not in {"http", "https"}
        or parts.query
        or parts.fragment
        or not _is_header_text(url)
        # The SDK would fill a setting in for a name in braces.
        or not set(" {}").isdisjoint(str(url))
    ):
        yield f"api_url is {url!r}: set it to an address such as https://production.tuple.app."
    elif parts.scheme == "http" and not _is_local(parts.hostname):
        yield (
            f"api_url is {url!r}: the token would be sent in the clear. Use https; plain http is "
            "for the local machine alone."
        )


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
