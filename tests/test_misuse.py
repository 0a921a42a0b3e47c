"""Invalid input and failures are reported on one line, without private data."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import (
    Run,
    bookmarks,
    clean_environment,
    config_for,
    make_calls,
    minute,
    state_of,
)
from tests.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tap_tuple.sandbox.server import Fault
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]

EMAIL = "canary@lumen.example"
TOKEN = "sk-tuple-canary-0123456789"  # noqa: S105 - not a real token
DEBUG = {"TAP_TUPLE_LOGLEVEL": "DEBUG"}


def assert_one_line(run: Run, beginning: str) -> None:
    assert run.returncode == 1
    (error,) = run.errors
    assert error.startswith(beginning), error
    assert "Traceback" not in run.stderr
    assert EMAIL not in run.stdout + run.stderr
    assert TOKEN not in run.stdout + run.stderr


# Broken HTTP


def http(head: str, body: bytes = b"") -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


BODY = f'[{{"id": 1, "email": "{EMAIL}"}}]'.encode()
BROKEN_HTTP = {
    "chunked according to the header only": http(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked", BODY
    ),
    "no status line": EMAIL.encode() + b"\r\n\r\n",
    "invalid status": f"HTTP/1.1 {EMAIL}\r\n\r\n".encode(),
    "header without a colon": http(f"HTTP/1.1 500 Oops\n{EMAIL}\nContent-Length: 0"),
    "compressed according to the header only": http(
        "HTTP/1.1 200 OK\nContent-Encoding: gzip", BODY
    ),
    "not UTF-8": http("HTTP/1.1 200 OK\nContent-Length: 5", b"[\xff\xfe1]"),
    "empty response": b"",
}


@pytest.mark.parametrize("broken", BROKEN_HTTP)
def test_broken_http_is_reported_without_private_data(
    tap: TapCommand, broken: str, tmp_path: Path
) -> None:
    """This holds even if the log is configured to show all messages from libraries."""
    log_config = tmp_path / "logging.yaml"
    log_config.write_text(
        json.dumps(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": "log.txt"}},
                "loggers": {
                    name: {"level": "DEBUG", "handlers": ["file"]}
                    for name in ("urllib3", "urllib3.connectionpool", "singer_sdk.mapper")
                },
                "root": {"level": "DEBUG", "handlers": ["file"]},
            }
        ),
        encoding="utf-8",
    )
    with RawServer(BROKEN_HTTP[broken]) as server:
        config = {"api_url": server.url, "api_token": TOKEN}
        env = DEBUG | {"SINGER_SDK_LOG_CONFIG": str(log_config)}

        run = tap(config=config, env=env, time_flies=True)

    logged = run.stderr + (tmp_path / "log.txt").read_text("utf-8")
    assert run.returncode == 1
    assert logged.count(f"{server.url} after ") == 1
    assert "Traceback" not in logged
    assert EMAIL not in logged
    assert TOKEN not in logged


@pytest.mark.parametrize("location", ["http://[canary", "https://elsewhere.example:port/", "::"])
def test_invalid_redirect_is_reported_on_one_line(
    tap: TapCommand, serve: Serve, location: str
) -> None:
    sandbox = serve([])
    sandbox.faults.extend([faults.status(302, headers={"Location": location})] * 10)

    run = tap(config=config_for(sandbox), time_flies=True)

    assert run.returncode == 1
    (error,) = run.errors
    assert sandbox.url in error
    assert "Traceback" not in run.stderr


def test_malformed_link_still_means_more_pages(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(25))
    sandbox.faults.append(faults.with_headers(Link='<http://[canary>; rel="next", nonsense'))

    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 26))


@pytest.mark.parametrize(
    "message",
    [
        f"{EMAIL} is wrong",
        "canary&#64;lumen.example is wrong",
        "canary%2540lumen.example is wrong",
        r"canary\\u0040lumen.example is wrong",
        "canary\uff20lumen.example",
        "<b>canary</b>",
    ],
)
def test_error_body_is_quoted_only_if_plain_text(
    tap: TapCommand, serve: Serve, message: str
) -> None:
    sandbox = serve([])
    sandbox.faults.append(faults.status(422, json.dumps({"error": message}).encode()))

    run = tap(config=config_for(sandbox), env=DEBUG)

    assert_one_line(run, "Tuple rejected the time range (HTTP 422). Check start_date and end_date.")
    assert "canary" not in run.stderr


# Waits and timeouts


def test_retry_after_of_zero_still_backs_off(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve([])
    sandbox.faults.extend([faults.rate_limited("0")] * 20)

    run = tap(config=config_for(sandbox), time_flies=True)

    waits = [
        float(line.split("Retrying in ")[1].split()[0])
        for line in run.stderr.splitlines()
        if "Retrying in " in line
    ]
    assert min(waits) >= 1
    assert sum(waits[:8]) > 20


@pytest.mark.slow
def test_connection_test_gives_up_within_15_seconds(tap: TapCommand) -> None:
    with RawServer(
        http("HTTP/1.1 200 OK\nContent-Length: 500", b"[" * 500), drip_seconds=0.5
    ) as server:
        config = {"api_url": server.url, "api_token": TOKEN}
        began = time.monotonic()

        run = tap("--test", config=config)

    assert time.monotonic() - began < 15
    assert len(server.received) == 2
    assert_one_line(
        run, f"No valid response from {server.url} after 2 attempts: the response wasn't complete"
    )


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_loopback_hosts_bypass_the_proxy(tap: TapCommand, serve: Serve, variable: str) -> None:
    sandbox = serve(make_calls(3))
    with RawServer(b"") as proxy:
        run = tap(config=config_for(sandbox), env={variable: proxy.url})

    assert proxy.received == []
    assert run.ids("calls") == [1, 2, 3]


def test_https_proxy_never_receives_the_token(tap: TapCommand) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}
    with RawServer(http("HTTP/1.1 407 Proxy\nContent-Length: 0")) as proxy:
        env = {"HTTPS_PROXY": proxy.url}
        run = tap("--test", config=config, env=env, time_flies=True)
        through_proxy = len(proxy.received)
        tap("--test", config=config, env=env | {"NO_PROXY": "tuple.invalid"}, time_flies=True)

    assert_one_line(run, "The proxy requires a login (HTTP 407). ")
    assert through_proxy == 1
    assert all(b"CONNECT tuple.invalid:443" in request for request in proxy.received)
    assert not any(TOKEN.encode() in request for request in proxy.received)
    assert len(proxy.received) == through_proxy > 0


def test_missing_certificate_file_is_reported_without_retries(tap: TapCommand) -> None:
    config = {"api_url": "https://tuple.invalid", "api_token": TOKEN}

    run = tap("--test", config=config, env={"REQUESTS_CA_BUNDLE": "/nowhere.pem"})

    assert_one_line(run, "Could not find a suitable TLS CA certificate bundle, invalid path: /now")
    assert "Retrying" not in run.stderr


# The token in the wrong place


@pytest.mark.parametrize(
    "settings",
    [
        {"api_url": TOKEN},
        {"api_url": f"https://tuple.example?token={TOKEN}"},
        {"api_url": f"https://tuple.example/{TOKEN}?"},
        {"start_date": TOKEN},
        {"page_size": TOKEN},
        {"stream_maps": {TOKEN: None}},
        {"stream_maps": TOKEN},
        {"user_agent": f"{TOKEN}\n{TOKEN}"},
    ],
)
def test_token_in_another_setting_is_not_logged(tap: TapCommand, settings: dict[str, Any]) -> None:
    run = tap(config={"api_token": "sk-tuple-x"} | settings, env=DEBUG)

    assert_one_line(run, next(iter(settings)))


@pytest.mark.parametrize("stream_map", [{"__else__": 5}, {"id": None, "__else__": "x"}])
def test_invalid_else_inside_a_stream_map_is_reported(tap: TapCommand, stream_map: Any) -> None:
    run = tap(config={"api_token": TOKEN, "stream_maps": {"calls": stream_map}})

    assert_one_line(run, "stream_maps: the value for '__else__' must be ")


@pytest.mark.parametrize("value", [5, {}, "x", {"id": None}])
def test_invalid_top_level_else_map_is_reported(tap: TapCommand, value: Any) -> None:
    run = tap(config={"api_token": TOKEN, "stream_maps": {"__else__": value}})

    assert_one_line(run, "stream_maps: the value for '__else__' must be ")


def test_token_as_a_setting_name_is_redacted(tap: TapCommand, serve: Serve) -> None:
    run = tap(config=config_for(serve([])) | {TOKEN: 1}, env=DEBUG)
    option = tap(f"--{TOKEN}")
    file = tap("--config", TOKEN)
    environment = tap("--config=ENV", env={"TAP_TUPLE_PAGE_SIZE": TOKEN})

    for each in (run, option, file):
        assert "[redacted]" in each.stderr
    for each in (run, option, file, environment):
        assert TOKEN not in each.stdout + each.stderr


# Environment variables and input files


@pytest.mark.parametrize(
    ("variable", "value", "beginning"),
    [
        ("STREAM_MAPS", "{", "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object"),
        ("STREAM_MAPS", "[]", "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object"),
        ("STREAM_MAP_CONFIG", "x", "stream_map_config (in TAP_TUPLE_STREAM_MAP_CONFIG) must "),
        (
            "FLATTENING_MAX_DEPTH",
            "deep",
            "flattening_max_depth (in TAP_TUPLE_FLATTENING_MAX_DEPTH) must be a whole n",
        ),
        ("PAGE_SIZE", "+-5", "page_size (in TAP_TUPLE_PAGE_SIZE) must be a whole number. "),
        (
            "STREAM_MAPS",
            '{"a": NaN}',
            "stream_maps (in TAP_TUPLE_STREAM_MAPS) must be a JSON object",
        ),
        (
            "FLATTENING_ENABLED",
            "maybe",
            "flattening_enabled (in TAP_TUPLE_FLATTENING_ENABLED) must be true or false. ",
        ),
        ("PAGE_SIZE", "many", "page_size (in TAP_TUPLE_PAGE_SIZE) must be a whole number. "),
    ],
)
def test_invalid_environment_variable_is_reported(
    tap: TapCommand, variable: str, value: str, beginning: str
) -> None:
    env = {"TAP_TUPLE_API_TOKEN": TOKEN, f"TAP_TUPLE_{variable}": value}

    assert_one_line(tap("--config=ENV", env=env), beginning)


@pytest.mark.parametrize("text", [b"TAP_TUPLE_API_TOKEN=\xff\xfe", b"A=\0"])
def test_binary_dotenv_file_is_ignored_with_a_warning(
    tap: TapCommand, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / ".env").write_bytes(text)

    run = tap("--config=ENV")

    assert_one_line(run, "api_token is missing. ")
    assert f"Ignoring {tmp_path / '.env'}: it isn't readable, or not UTF-8 text." in run.stderr


STREAM = {"tap_stream_id": "calls", "schema": {"properties": {"id": {"type": "integer"}}}}
MALFORMED_FILES = [
    (
        "--config",
        '{"api_token": NaN}',
        "isn't JSON: JSON is malformed: invalid character (byte 14).",
    ),
    ("--state", '{"bookmarks": NaN}', "--state isn't JSON: JSON is malformed: invalid character"),
    ("--state", '{"calls": "2026-01-01"}', "--state isn't a Singer state"),
    ("--state", '{"calls": {}}', "--state isn't a Singer state"),
    ("--state", '{"value": null}', "--state isn't a Singer state"),
    (
        "--state",
        '{"bookmarks": {"calls": {"progress_markers": 5}}}',
        "Expected `object`, got `int`",
    ),
    (
        "--state",
        '{"bookmarks": {"calls": {"partitions": [null]}}}',
        "Expected `object`, got `null`",
    ),
    ("--catalog", json.dumps({"streams": [STREAM | {"stream": []}]}), "at `$.streams[0].stream`"),
    ("--state", '{"singer_state": "x"}', "--state isn't a Singer state"),
    ("--state", "[" * 100_000, "--state isn't JSON"),
    ("--config", '{"page_size": ' + "1" * 5000 + "}", "isn't JSON"),
    ("--catalog", '{"streams": ' + "[" * 100_000, "--catalog isn't JSON"),
    ("--state", '{"value": {"calls": "2026-01-01"}}', "--state isn't a Singer state"),
    *(
        (
            "--catalog",
            json.dumps({"streams": [STREAM | {"schema": {"properties": {"id": column}}}]}),
            "isn't a Singer catalog",
        )
        for column in ({"type": 5}, {"type": ["array"], "items": 5})
    ),
    (
        "--state",
        '{"bookmarks": {"calls": {"partitions": [{"progress_markers": 5}]}}}',
        "Expected `object`, got `int`",
    ),
    ("--catalog", '{"streams": 3}', "isn't a Singer catalog"),
    ("--catalog", "{}", "isn't a Singer catalog"),
    ("--catalog", json.dumps({"streams": [STREAM | {"tap_stream_id": 5}]}), "at `$.streams[0].tap"),
    *(
        (
            "--catalog",
            json.dumps({"streams": [STREAM | {"metadata": [{"breadcrumb": b, "metadata": {}}]}]}),
            "at `$.streams[0].metadata[0].breadcrumb",
        )
        for b in ("properties.id", {"properties": "id"}, ["properties", 5])
    ),
    ("--catalog", json.dumps({"streams": [STREAM | {"schema": {}}]}), "isn't a Singer catalog"),
    ("--catalog", json.dumps({"streams": [STREAM | {"schema": None}]}), "isn't a Singer catalog"),
    ("--catalog", json.dumps({"streams": [STREAM | {"metadata": None}]}), "isn't a Singer catalog"),
    ("--catalog", json.dumps({"streams": [STREAM | {"metadata": [{}]}]}), "isn't a Singer catalog"),
]


@pytest.mark.parametrize(("option", "text", "message"), MALFORMED_FILES)
def test_malformed_file_is_reported(
    tap: TapCommand, tmp_path: Path, option: str, text: str, message: str
) -> None:
    file = tmp_path / "malformed.json"
    file.write_text(text, encoding="utf-8")
    others: dict[str, Any] = {} if option == "--config" else {"config": {"api_token": TOKEN}}

    run = tap(option, str(file), **others)

    assert_one_line(run, option)
    assert message in run.errors[0]
    assert run.stdout == ""


def test_wrapped_state_is_unwrapped(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(30))
    state = state_of(minute(20), minute(20))
    for wrapped in (
        {"type": "STATE", "value": state},
        {"singer_state": state},
        {"type": "STATE", "value": {"singer_state": state}},
    ):
        run = tap(config=config_for(sandbox, lookback_window=0), state=wrapped)

        assert run.ids("calls") == list(range(20, 31))
        assert bookmarks(run.state) == (minute(30), minute(30))


def test_future_bookmark_logs_a_warning(tap: TapCommand, serve: Serve) -> None:
    run = tap(config=config_for(serve(make_calls(3))), state=state_of("2099-01-01T00:00:00Z", None))

    warning = (
        "The bookmark of calls is in the future (2099-01-01T00:00:00.000Z), so it doesn't "
        "advance until then. Correct the state, or run with --full-refresh."
    )
    assert run.stderr.count(warning) == 1


def test_catalog_with_a_different_replication_key_is_rejected(
    tap: TapCommand, serve: Serve
) -> None:
    sandbox = serve(make_calls(3))
    catalog = tap.discover()
    for entry in catalog["streams"][0]["metadata"]:
        if not entry["breadcrumb"]:
            entry["metadata"]["replication-key"] = "started_at"
    catalog["streams"][0]["replication_key"] = "started_at"

    run = tap(config=config_for(sandbox), catalog=catalog)

    assert_one_line(run, "--catalog sets the replication key of ")
    assert sandbox.requests == []


def test_catalog_without_a_replication_key_stays_incremental(tap: TapCommand, serve: Serve) -> None:
    catalog = tap.discover()
    for stream in catalog["streams"]:
        stream.pop("replication_key", None)
        stream.pop("replication_method", None)
        for entry in stream["metadata"]:
            entry["metadata"].pop("replication-key", None)
            entry["metadata"].pop("valid-replication-keys", None)
            entry["metadata"].pop("forced-replication-method", None)

    run = tap(config=config_for(serve(make_calls(3))), catalog=catalog)

    assert bookmarks(run.state) == (minute(3), minute(3))


def test_closed_standard_output_is_reported_on_one_line(tap: TapCommand, serve: Serve) -> None:
    command = tap.command(config=config_for(serve(make_calls(3))))

    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "bash", *command],  # noqa: S607
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
        check=False,
    )

    assert_one_line(Run(done.returncode, "", done.stderr), "Can't write to standard output: ")


# Hostile servers and unusual environments


HOSTILE: dict[str, Fault] = {
    "Retry-After date out of range": faults.status(
        429, headers={"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}
    ),
    "deeply nested body": faults.body(b"[" * 100_000 + b"]" * 100_000),
    "deeply nested new field": faults.edited(
        lambda calls: [calls[0] | {"x": json.loads("[" * 900 + "]" * 900)}]
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_response_is_retried(tap: TapCommand, serve: Serve, hostile: str) -> None:
    sandbox = serve(make_calls(30))
    sandbox.faults.extend([None, HOSTILE[hostile]])

    run = tap(config=config_for(sandbox, page_size=10), time_flies=True)

    assert run.returncode == 0
    assert set(run.ids("calls")) == set(range(1, 31))


def test_absurd_total_count_is_ignored(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve(make_calls(30), every_answer=faults.with_headers(X_Total_Count="9" * 5000))

    run = tap(config=config_for(sandbox, page_size=10), time_flies=True)

    assert run.returncode == 0
    assert run.ids("calls") == list(range(1, 31))


@pytest.mark.parametrize(
    "location", ["https://canary%40lumen.example/", f"https://{'a' * 60_000}/"]
)
def test_redirect_host_is_quoted_only_if_plain_text(
    tap: TapCommand, serve: Serve, location: str
) -> None:
    sandbox = serve([])
    sandbox.faults.append(faults.status(302, headers={"Location": location}))
    began = time.monotonic()

    run = tap(config=config_for(sandbox))

    assert "redirects to another host (HTTP 302)" in run.errors[0]
    assert "canary" not in run.stderr
    assert time.monotonic() - began < 10


def test_token_without_the_usual_prefix_is_redacted(tap: TapCommand, serve: Serve) -> None:
    sandbox = serve([])
    sandbox.faults.append(faults.status(422, b'{"error": "Bearer canary123 is wrong"}'))

    run = tap(config=config_for(sandbox) | {"api_token": "canary123"}, env=DEBUG)

    assert "canary123" not in run.stderr
    assert "[redacted]" in run.errors[0]


@pytest.mark.parametrize("level", ["nonsense", "5x"])
def test_invalid_log_level_is_reported_on_one_line(tap: TapCommand, level: str) -> None:
    command = tap.command("--version")

    done = subprocess.run(
        command,
        capture_output=True,
        env=clean_environment() | {"LOGLEVEL": level},
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        "Can't set up the log (ValueError). Check LOGLEVEL and SINGER_SDK_LOG_CONFIG.\n"
    )


def test_config_can_be_piped_in(tap: TapCommand, serve: Serve) -> None:
    config = json.dumps(config_for(serve(make_calls(3))))

    done = subprocess.run(
        [*tap.command(), "--config", "/dev/stdin"],
        input=config,
        capture_output=True,
        env=clean_environment(),
        text=True,
        check=False,
    )

    assert Run(done.returncode, done.stdout, done.stderr).ids("calls") == [1, 2, 3]


def test_invalid_bookmark_is_reported_before_any_output(tap: TapCommand) -> None:
    run = tap(config={"api_token": TOKEN}, state=state_of("yesterday", None))

    assert_one_line(run, "The bookmark of calls isn't a timestamp. ")
    assert run.stdout == ""


@pytest.mark.parametrize("field", ["id", "duration_seconds"])
def test_out_of_range_number_is_reported(tap: TapCommand, serve: Serve, field: str) -> None:
    calls = make_calls(1)
    calls[0][field] = 2**63

    run = tap(config=config_for(serve(calls)))

    assert_one_line(run, "Tuple's response isn't as documented: Expected `int` <= ")
    assert run.count("RECORD") == 0
