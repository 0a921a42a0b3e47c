"""Error messages for rejected requests: what happened, and what to do."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tap_tuple.api.retries import PROXY_LOGIN_MESSAGE

if TYPE_CHECKING:
    import requests

TOKEN_PREFIX = "sk-tuple-"  # noqa: S105 - not a token, only the prefix of all tokens
TOKENS_PAGE = "https://production.tuple.app/team_management/api_tokens"

REJECTIONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Tuple rejected the token (HTTP 401). It may be mistyped, or it may "
    f"have been revoked. Team owners and managers can create a new one at {TOKENS_PAGE}.",
    HTTPStatus.FORBIDDEN: "This token isn't allowed to read the team's calls (HTTP 403). Ask "
    "Tuple support for access to the usage API, or set api_token to a token from a team that has "
    "access.",
    HTTPStatus.NOT_FOUND: "No usage API found at {url} (HTTP 404). Check api_url.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Tuple rejected the time range (HTTP 422). Check start_date "
    "and end_date. {quote}",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: PROXY_LOGIN_MESSAGE,
}
"""Error messages by status."""

UNKNOWN_REJECTION = (
    "Tuple rejected the request (HTTP {status}). Check api_url. If it's right, look for a newer "
    "version of tap-tuple, or report this message."
)

REDIRECTS = {301, 302, 303, 307, 308}

HOST = re.compile(r"[\w.:-]{1,200}", re.ASCII)
"""The name or address of a host, which is safe to quote."""
QUOTABLE = re.compile(r"[\w ,.:;()-]{1,200}", re.ASCII)
"""Text that is safe to quote from a response: no emails, encoded or not, and no markup."""


def explain_rejection(response: requests.Response, body: bytes, url_base: str, path: str) -> str:
    """Return what happened and what to do, in one line.

    Args:
        response: The rejected request's response.
        body: Its body. Only the error message in it may be quoted, and only if it's plain text.
        url_base: The API's base URL, for the message.
        path: The path of the endpoint.
    """
    status = response.status_code
    url = f"{url_base}{path}"
    if status in REDIRECTS:
        return _explain_redirect(response, url_base)

    if is_web_page(body) and status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return (
            f"Got a web page instead of a response from Tuple (HTTP {status}). It probably "
            f"comes from a proxy or firewall in front of {url}. Check api_url and your network."
        )

    template = REJECTIONS.get(status, UNKNOWN_REJECTION)
    return template.format(status=status, url=url, quote=_quote_error(body)).strip()


def is_web_page(body: bytes) -> bool:
    """Return whether a body is HTML, which probably comes from a proxy or firewall."""
    return body.lstrip().startswith(b"<")


def _explain_redirect(response: requests.Response, url_base: str) -> str:
    location = response.headers.get("Location", "")
    try:
        host = (urlsplit(location).hostname or "").rstrip(".")
    except ValueError:
        host = ""
    own_host = urlsplit(url_base).hostname
    status = response.status_code

    if host != own_host and HOST.fullmatch(host):
        return (
            f"{url_base} redirects to {host} (HTTP {status}). The tap didn't send the token there. "
            f"If you trust {host}, set api_url to its URL."
        )

    is_relative = not host and location.startswith("/")
    is_same_host = is_relative or host == own_host
    where = " on the same host" if is_same_host else ""
    return (
        f"{url_base} redirects to another address{where} (HTTP {status}), and the tap doesn't "
        "follow redirects. Check api_url."
    )


def _quote_error(body: bytes) -> str:
    """Return the API's own words from the body of an error, if they are safe to quote."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    sentence = error.rstrip(".") if isinstance(error, str) else ""
    return f"Tuple's message: {sentence}." if QUOTABLE.fullmatch(sentence) else ""
