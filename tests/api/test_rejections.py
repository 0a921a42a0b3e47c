"""Error messages for requests that Tuple, or something in front of it, rejects."""

from __future__ import annotations

import json

import pytest
import requests

from tap_tuple.api.rejections import explain_rejection

URL = "https://tuple.example"
PATH = "/api/v2/call_usage"
EMAIL = "canary@lumen.example"


def explain(status: int, body: bytes = b"", location: str | None = None) -> str:
    response = requests.Response()
    response.status_code = status
    if location is not None:
        response.headers["Location"] = location
    return explain_rejection(response, body, URL, PATH)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            401,
            (
                "Tuple rejected the token (HTTP 401). It may be mistyped, or it may have been "
                "revoked. Team owners and managers can create a new one at "
                "https://production.tuple.app/team_management/api_tokens."
            ),
        ),
        (
            403,
            (
                "This token isn't allowed to read the team's calls (HTTP 403). Ask Tuple support "
                "for access to the usage API, or set api_token to a token from a team that has "
                "access."
            ),
        ),
        (404, f"No usage API found at {URL}{PATH} (HTTP 404). Check api_url."),
        (
            407,
            (
                "The proxy requires a login (HTTP 407). Set its user name and password in "
                "HTTPS_PROXY, or add api_url's host to NO_PROXY."
            ),
        ),
        (
            418,
            (
                "Tuple rejected the request (HTTP 418). Check api_url. If it's right, look for a "
                "newer version of tap-tuple, or report this message."
            ),
        ),
        (422, "Tuple rejected the time range (HTTP 422). Check start_date and end_date."),
    ],
)
def test_message_gives_advice_without_quoting_the_body(status: int, message: str) -> None:
    for body in (EMAIL.encode(), b"[" * 100_000, b"\xff", b'{"error": null}', b""):
        assert explain(status, body) == message


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("start", [b"<html>", b"\n <!DOCTYPE html>"])
def test_web_page_is_attributed_to_a_proxy(status: int, start: bytes) -> None:
    assert explain(status, start + EMAIL.encode()) == (
        f"Got a web page instead of a response from Tuple (HTTP {status}). It probably comes from "
        f"a proxy or firewall in front of {URL}{PATH}. Check api_url and your network."
    )


def test_web_page_with_another_status_gets_the_usual_message() -> None:
    """A login page of the proxy itself, for example."""
    assert explain(407, b"<html>").startswith("The proxy requires a login (HTTP 407). ")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_host_is_quoted_if_plain_text(status: int) -> None:
    assert explain(status, EMAIL.encode(), "https://elsewhere.example/api") == (
        f"{URL} redirects to elsewhere.example (HTTP {status}). The tap didn't send the token "
        "there. If you trust elsewhere.example, set api_url to its URL."
    )


@pytest.mark.parametrize(
    "location",
    [
        "https://canary%40lumen.example/",
        f"https://{'canary' * 10_000}/",
        "http://[canary",
        "https://canary, run canary (really)/",
        "mailto:canary@lumen.example",
        "",
        None,
    ],
    ids=["encoded email", "long", "malformed", "sentence", "no web address", "empty", "missing"],
)
def test_redirect_host_is_not_quoted_if_unsafe(location: str | None) -> None:
    assert explain(302, EMAIL.encode(), location) == (
        f"{URL} redirects to another address (HTTP 302), and the tap doesn't follow redirects. "
        "Check api_url."
    )


@pytest.mark.parametrize("location", ["/api/v3", f"{URL}/canary", f"{URL.upper()}./"])
def test_redirect_within_the_host_is_not_followed(location: str | None) -> None:
    assert explain(302, EMAIL.encode(), location) == (
        f"{URL} redirects to another address on the same host (HTTP 302), and the tap doesn't "
        "follow redirects. Check api_url."
    )


@pytest.mark.parametrize("sentence", ["since is invalid", "since is invalid.", "a" * 200])
def test_plain_error_sentence_is_quoted(sentence: str) -> None:
    body = json.dumps({"error": sentence, "by": EMAIL}).encode()

    quote = f" Tuple's message: {sentence.rstrip('.')}."
    assert explain(422, body).endswith(f"Check start_date and end_date.{quote}")


@pytest.mark.parametrize(
    "message",
    [
        f"{EMAIL} is wrong",
        "canary&#64;lumen.example is wrong",
        "canary%2540lumen.example is wrong",
        r"canary\\u0040lumen.example is wrong",
        "canary\uff20lumen.example",
        "<b>canary</b>",
        "two\nlines",
        "a" * 201,
        "",
    ],
)
def test_other_error_text_is_not_quoted(message: str) -> None:
    body = json.dumps({"error": message}).encode()

    assert explain(422, body).endswith("Check start_date and end_date.")
