"""Faults for the sandbox's responses, like those that an API, proxy or network may cause."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tap_tuple.sandbox.server import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.server import Fault


def status(code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Fault:
    """Send a different response, with this status."""
    return lambda _: Response(code, body, headers or {})


def rate_limited(retry_after: str | None = None) -> Fault:
    """Respond that the rate limit is exhausted, with the given ``Retry-After``."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return status(HTTPStatus.TOO_MANY_REQUESTS, b'{"error":"Rate limit exceeded"}', headers)


def body(content: bytes) -> Fault:
    """Replace the body, and keep the status and headers."""
    return lambda response: replace(response, body=content)


def reset(_: Response) -> None:
    """Close the connection without a response."""


def truncated(response: Response) -> Response:
    """Send only half of the body."""
    return replace(
        response, body=response.body[: len(response.body) // 2], content_length=len(response.body)
    )


def without_headers(*names: str) -> Fault:
    """Remove headers, as a proxy may."""
    return lambda response: replace(
        response,
        headers={name: value for name, value in response.headers.items() if name not in names},
    )


def with_headers(**headers: str) -> Fault:
    """Add or replace headers. Underscores in names become hyphens."""
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda response: replace(response, headers=response.headers | added)


def miscounted(count: Callable[[int], object]) -> Fault:
    """Change X-Total-Count. `count` gets the right number, and returns the one to send."""

    def change(response: Response) -> Response:
        total = response.headers.get("X-Total-Count")
        if total is None:
            return response
        return replace(
            response, headers=response.headers | {"X-Total-Count": str(count(int(total)))}
        )

    return change


def lagging_count(requests: int) -> Fault:
    """Send the X-Total-Count of an earlier request, as a cache does."""
    counts: list[int] = []

    def lag(total: int) -> int:
        counts.append(total)
        return counts[max(0, len(counts) - 1 - requests)]

    return miscounted(lag)


def in_milliseconds(*, is_rounded: bool) -> Fault:
    """Show times with three decimals, truncated or rounded, although the database has more."""

    def show(text: str) -> str:
        time = datetime.fromisoformat(text)
        if is_rounded:
            time += timedelta(microseconds=500)
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def edit(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [call | {"ended_at": show(call["ended_at"])} for call in calls]

    return edited(edit)


def all_of(*faults: Fault) -> Fault:
    """Combine several faults."""

    def apply(response: Response) -> Response | None:
        changed: Response | None = response
        for fault in faults:
            changed = fault(changed) if changed else None
        return changed

    return apply


def edited(edit: Callable[[list[dict[str, Any]]], Any]) -> Fault:
    """Change the calls on a page. `edit` returns their replacement."""
    return lambda response: (
        replace(response, body=json.dumps(edit(json.loads(response.body))).encode())
        if response.status == HTTPStatus.OK
        else response
    )
