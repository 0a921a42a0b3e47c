"""Random settings, states, catalogs and responses never crash the tap or leak private data.

To try more examples, run ``uv run pytest tests/test_fuzz.py --fuzz 3000``.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT, Run, config_for, make_calls
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from tests.conftest import SandboxFactory, TapCommand

pytestmark = pytest.mark.slow

EMAIL = "canary@lumen.example"
TOKEN = "sk-tuple-canary-0123456789"  # noqa: S105 - not a real token
DEBUG = {"TAP_TUPLE_LOGLEVEL": "DEBUG"}
CATALOG = json.loads((ROOT / "tests" / "catalog.json").read_text(encoding="utf-8"))

private = st.sampled_from([EMAIL, TOKEN, f"x {TOKEN} y", f"'{EMAIL}'"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | private
    | st.sampled_from(["2026-03-02", "9999-12-31T23:59:59Z", "ended_at", "call_ended_at", "STATE"])
)
keys = st.text(max_size=5) | st.sampled_from(
    [
        "bookmarks",
        "calls",
        "call_participations",
        "value",
        "singer_state",
        "type",
        "streams",
        "replication_key",
        "replication_key_value",
        "user_email",
        "__filter__",
        "__alias__",
        "*",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
names = (
    keys
    | private
    | st.sampled_from(
        [
            "start_date",
            "end_date",
            "lookback_window",
            "page_size",
            "requests_per_minute",
            "user_agent",
            "stream_maps",
            "stream_map_config",
            "flattening_enabled",
        ]
    )
)


def check_run(run: Run, *, may_echo: str | None = None) -> None:
    """Check the invariants of every run. Messages of type `may_echo` may quote the input."""
    assert EMAIL not in run.stderr
    assert TOKEN not in run.stderr
    assert "Traceback (most recent call last)" not in run.stderr
    assert run.stdout == "" or run.stdout.endswith("\n")
    for message in run.messages:
        text = json.dumps(message)
        assert message["type"] == may_echo or TOKEN not in text
        assert message["type"] in {may_echo, "RECORD"} or EMAIL not in text
    assert run.returncode in {0, 1}
    assert (run.returncode == 0) is (run.errors == [])


def calls_with_canary() -> list[dict[str, Any]]:
    calls = make_calls(3)
    for call in calls:
        call["call_participations"][0]["user"] = {"email": EMAIL}
    return calls


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> settings:
    """Hypothesis settings with the number of examples from --fuzz."""
    return settings(
        max_examples=request.config.getoption("--fuzz"),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def test_random_settings_never_crash_the_tap(
    tap: TapCommand, serve: SandboxFactory, fuzz: settings
) -> None:
    sandbox = serve(calls_with_canary())

    @fuzz
    @given(st.dictionaries(names, values, min_size=1, max_size=3), st.booleans())
    def any_settings(extra: dict[str, Any], in_environment: bool) -> None:  # noqa: FBT001
        base = config_for(sandbox) | {"api_token": TOKEN}
        if in_environment:
            env = {
                f"TAP_TUPLE_{name.upper()}": str(value).replace("\0", "")
                for name, value in extra.items()
                if name.isidentifier()
            }
            check_run(tap("--config=ENV", config=base, env=DEBUG | env, skip_waits=True))
        else:
            check_run(tap(config=base | extra, env=DEBUG, skip_waits=True))

    any_settings()


def test_random_state_never_crashes_the_tap(
    tap: TapCommand, serve: SandboxFactory, fuzz: settings
) -> None:
    sandbox = serve(calls_with_canary())

    @fuzz
    @given(values | st.builds(dict, bookmarks=values))
    def any_state(state: Any) -> None:
        given_state: Any = [] if state is None else state
        run = tap(config=config_for(sandbox), state=given_state, env=DEBUG)

        check_run(run, may_echo="STATE")
        if run.returncode == 0 and "bookmarks" not in json.dumps(state):
            assert run.ids("calls") == [1, 2, 3]

    any_state()


def test_random_catalog_never_crashes_the_tap(
    tap: TapCommand, serve: SandboxFactory, fuzz: settings
) -> None:
    sandbox = serve(calls_with_canary())

    def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the paths to all nested values."""
        items: list[tuple[Any, Any]] = list(value.items()) if isinstance(value, dict) else []
        items += list(enumerate(value)) if isinstance(value, list) else []
        return [path] * bool(path) + [
            s for key, each in items for s in paths_in(each, (*path, key))
        ]

    @fuzz
    @given(st.lists(st.tuples(st.sampled_from(paths_in(CATALOG)), values), max_size=2))
    def any_catalog(edits: list[tuple[tuple[Any, ...], Any]]) -> None:
        catalog = copy.deepcopy(CATALOG)
        for path, value in edits:
            parent = catalog
            for key in path[:-1]:
                if not isinstance(parent, (dict, list)):
                    return
                try:
                    parent = parent[key]
                except (LookupError, TypeError):
                    return
            is_list_item = isinstance(parent, list) and path[-1] in range(len(parent))
            if isinstance(parent, dict) or is_list_item:
                parent[path[-1]] = value

        check_run(tap(config=config_for(sandbox), catalog=catalog, env=DEBUG), may_echo="SCHEMA")

    any_catalog()


def test_random_response_never_crashes_the_tap(tap: TapCommand, fuzz: settings) -> None:
    body = json.dumps(calls_with_canary()).encode()
    lines = st.sampled_from(
        [
            "HTTP/1.1 200 OK",
            "HTTP/1.0 200",
            "HTTP/1.1 500 Oops",
            "HTTP/9 200",
            EMAIL,
            "",
            "200",
            f"HTTP/1.1 200 {EMAIL}",
            "HTTP/1.1 422 No",
            "HTTP/1.1 429 Slow",
            "HTTP/1.1 302 Go",
        ]
    )
    headers = st.sampled_from(
        [
            f"Content-Length: {len(body)}",
            "Content-Length: 9",
            f"Content-Length: {EMAIL}",
            "Transfer-Encoding: chunked",
            "Content-Encoding: gzip",
            "Content-Encoding: br",
            EMAIL,
            f"Location: https://{EMAIL}/",
            "Location: http://[",
            f"Retry-After: {EMAIL}",
            f"Link: <{EMAIL}>; rel=next",
            "X-Total-Count: 3",
            f"X-Total-Count: {TOKEN}",
            " folded",
            "Content-Type: text/html; charset=nonsense",
            "Set-Cookie: a=b",
            ": none",
            "\x00: \xff",
        ]
    )
    bodies = st.just(body) | st.builds(
        lambda cut, junk: body[:cut] + junk + body[cut + len(junk) :],
        st.integers(0, len(body)),
        st.binary(max_size=6),
    )

    @fuzz
    @given(lines, st.lists(headers, max_size=4), bodies)
    def any_http(line: str, head: list[str], sent: bytes) -> None:
        response = "\r\n".join([line, *head, "", ""]).encode("latin-1") + sent
        with RawServer(response) as server:
            config = {"api_url": server.url, "api_token": TOKEN, "requests_per_minute": 10_000}

            run = tap(config=config, env=DEBUG, skip_waits=True)

        check_run(run)
        if run.returncode == 0:
            assert run.ids("calls") == [call["id"] for call in json.loads(sent)]

    any_http()
