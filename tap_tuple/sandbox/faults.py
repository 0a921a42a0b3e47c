"""Spoils answers of the sandbox, in the ways that an API, a proxy or a network does."""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tap_tuple.sandbox.server import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox.server import Fault


def status(
    code: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Fault:
    """Answer with another status."""
    return lambda _: Answer(code, body, headers or {})


def rate_limited(retry_after: str | None = None) -> Fault:
    """Answer that the quota of the team is used up, with the given ``Retry-After``."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return status(HTTPStatus.TOO_MANY_REQUESTS, b'{"error":"Rate limit exceeded"}', headers)


def body(content: bytes) -> Fault:
    """Keep status and headers, and send something else."""
    return lambda answer: replace(answer, body=content)


def reset(_: Answer) -> None:
    """Cut the connection instead of an answer."""


def truncated(answer: Answer) -> Answer:
    """Break the body off half-way."""
    return replace(
        answer,
        body=answer.body[: len(answer.body) // 2],
        promised_bytes=len(answer.body),
    )


def without_headers(*names: str) -> Fault:
    """Strip headers, as a proxy may."""
    return lambda answer: replace(
        answer,
        headers={name: value for name, value in answer.headers.items() if name not in names},
    )


def with_headers(**headers: str) -> Fault:
    """Add headers, or replace them; an underscore stands for a hyphen."""
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(answer, headers=answer.headers | added)


def edited(edit: Callable[[list[dict[str, Any]]], Any]) -> Fault:
    """Change the calls of a page; `edit` returns what is sent in their place."""
    return lambda answer: replace(answer, body=json.dumps(edit(json.loads(answer.body))).encode())
