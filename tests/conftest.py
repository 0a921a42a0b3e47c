"""Shared fixtures: a sandbox with known calls, the tap's command line and PostgreSQL."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import CallLog, Sandbox
from tests.fork_server import ForkServer
from tests.postgres_server import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_tuple.sandbox.company import Call

    SandboxFactory = Callable[..., Sandbox]

ROOT = Path(__file__).parent.parent
FIRST_END = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COLUMNS = {
    "calls": ("id", "started_at", "ended_at", "duration_seconds"),
    "call_participations": ("id", "call_id", "call_ended_at", "joined_at", "left_at", "user_email"),
}
PRIVATE = ("canary", "@lumen.example", "sk-tuple-sandbox")
"""Text that no log may contain. Most private data in the tests includes the word canary."""
COMMAND_PREFIX_LENGTH = len(("python", "-m", "tap_tuple"))
HISTORIES_SEED = "TAP_TUPLE_HISTORIES_SEED"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for the number and the seed of random tests."""
    parser.addoption(
        "--histories", type=int, default=200, help="Number of random histories to run."
    )
    parser.addoption("--fuzz", type=int, default=40, help="Number of examples per fuzz test.")
    parser.addoption(
        "--histories-seed",
        type=int,
        help="Seed of the random histories. pytest's header prints it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once for all workers, which inherit it through the environment."""
    chosen = config.getoption("--histories-seed")
    if chosen is not None:
        os.environ[HISTORIES_SEED] = str(chosen)
    os.environ.setdefault(HISTORIES_SEED, str(secrets.randbelow(10**6)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slow tests, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_report_header() -> str:
    """Print the seed, so that a failure can be reproduced."""
    return f"random histories: --histories-seed={os.environ[HISTORIES_SEED]}"


@pytest.fixture
def histories_options(request: pytest.FixtureRequest) -> tuple[int, int]:
    """The number of random histories to run, and their seed."""
    return request.config.getoption("--histories"), int(os.environ[HISTORIES_SEED])


def make_call(
    number: int, *, ended_at: datetime | str | None = None, participations: int = 2
) -> Call:
    """Make a call. By default, call number N ends N minutes after FIRST_END."""
    end = ended_at or FIRST_END + timedelta(minutes=number)
    ended = end if isinstance(end, str) else api_time(end)
    started = api_time(FIRST_END + timedelta(minutes=number - 30))
    return {
        "id": number,
        "started_at": started,
        "ended_at": ended,
        "duration_seconds": 1800,
        "call_participations": [
            {
                "id": number * 10 + seat,
                "joined_at": started,
                "left_at": ended,
                "user": {"email": f"person{seat}@lumen.example"},
            }
            for seat in range(participations)
        ],
    }


def make_calls(count: int, **options: Any) -> list[Call]:
    """Make calls numbered from 1."""
    return [make_call(number, **options) for number in range(1, count + 1)]


def api_time(timestamp: datetime) -> str:
    """Format a timestamp like the API does."""
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bookmark(value: str | None, key: str = "ended_at") -> dict[str, Any]:
    return {} if value is None else {"replication_key": key, "replication_key_value": value}


def state_of(calls: str | None = None, participations: str | None = None) -> dict[str, Any]:
    return {
        "bookmarks": {
            "calls": bookmark(calls),
            "call_participations": bookmark(participations, "call_ended_at"),
        }
    }


def bookmarks(state: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the values of both bookmarks."""
    found = state.get("bookmarks", {})
    calls, participations = found.get("calls", {}), found.get("call_participations", {})
    return calls.get("replication_key_value"), participations.get("replication_key_value")


def minute(number: float) -> str:
    """Return FIRST_END plus a number of minutes, as the API formats it."""
    return api_time(FIRST_END + timedelta(minutes=number))


@dataclass
class Run:
    """The output and exit code of a run of the tap."""

    returncode: int
    stdout: str
    stderr: str

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The Singer messages on standard output. Each must be complete."""
        return [json.loads(line) for line in self.stdout.split("\n") if line]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Return a stream's records in the order in which they were written."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    def ids(self, stream: str) -> list[int]:
        """Return the ids of a stream's records."""
        return [record["id"] for record in self.records(stream)]

    def count(self, kind: str) -> int:
        """Count the messages of a type."""
        return Counter(message["type"] for message in self.messages)[kind]

    @property
    def state(self) -> dict[str, Any]:
        """The last state, or an empty one if there isn't any."""
        states = [m["value"] for m in self.messages if m["type"] == "STATE"]
        return states[-1] if states else {}

    @property
    def errors(self) -> list[str]:
        """The lines at level ERROR, without the logger's prefix."""
        return [line.split(" | ", 3)[-1] for line in self.stderr.splitlines() if "| ERROR " in line]

    @property
    def only_error(self) -> str:
        """The error of a failed run, which must be a single line."""
        assert self.returncode == 1
        assert "Traceback" not in self.stderr
        (error,) = self.errors
        return error


class TapCommand:
    """The tap's command line, run as a separate process."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        """Set the folder to run in, which will also hold the configuration, state and catalog."""
        self._folder = folder
        self._server = server

    def __call__(
        self,
        *arguments: str,
        config: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        skip_waits: bool = False,
    ) -> Run:
        """Run the tap until it exits. `skip_waits` makes its waits take no real time."""
        command = self.command(*arguments, config=config, state=state, catalog=catalog)
        done = self._server.run(
            command[COMMAND_PREFIX_LENGTH:],
            folder=self._folder,
            environment=clean_environment() | (env or {}),
            skip_waits=skip_waits,
        )
        run = Run(*done)
        # Check this after every run, whatever else a test checks.
        assert "Please report this" not in run.stderr, run.stderr
        for private in PRIVATE:
            assert private not in run.stderr, run.stderr
        return run

    def command(
        self,
        *arguments: str,
        config: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
    ) -> list[str]:
        """Return the command line, for tests that start the process themselves."""
        command = [sys.executable, "-m", "tap_tuple", *arguments]
        files = {"config": config, "state": state, "catalog": catalog}
        for option, value in files.items():
            if value is not None:
                path = self._folder / f"{option}.json"
                path.write_text(json.dumps(value))
                command += [f"--{option}", str(path)]
        return command

    def discover(self, **selected: bool) -> dict[str, Any]:
        """Return the catalog. ``calls=False``, for example, deselects that stream."""
        catalog: dict[str, Any] = json.loads(self("--discover").stdout)
        for stream in catalog["streams"]:
            root = next(m for m in stream["metadata"] if not m["breadcrumb"])
            root["metadata"]["selected"] = selected.get(stream["tap_stream_id"], True)
        return catalog


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that could affect the tests.

    PYTHONDONTWRITEBYTECODE would make Meltano and the loaders take twice as long to start.
    """
    prefixes = ("TAP_TUPLE", "TARGET_", "MELTANO_", "LOGLEVEL", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A server that runs the tap's command line without waiting for its imports."""
    server = ForkServer()
    yield server
    server.stop()


@pytest.fixture
def tap(tmp_path: Path, fork_server: ForkServer) -> TapCommand:
    """The tap's command line."""
    return TapCommand(tmp_path, fork_server)


@pytest.fixture
def serve() -> Iterator[SandboxFactory]:
    """A function that starts sandboxes, which stop at the end of the test."""
    started: list[Sandbox] = []

    def start(calls: list[Call] | CallLog, **options: Any) -> Sandbox:
        log = calls if isinstance(calls, CallLog) else CallLog(calls)
        settings: dict[str, Any] = {"requests_per_minute": 10_000, **options}
        sandbox = Sandbox(log, **settings)
        started.append(sandbox.__enter__())
        return sandbox

    yield start
    for sandbox in started:
        sandbox.__exit__(None, None, None)


def config_for(sandbox: Sandbox, **settings: Any) -> dict[str, Any]:
    """Return settings that point the tap at a sandbox."""
    return {"api_url": sandbox.url, "api_token": sandbox.token, **settings}


def expected_rows(calls: list[Call]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the expected rows of both streams for calls from the API."""
    participations = [
        {
            "id": participation["id"],
            "call_id": call["id"],
            "call_ended_at": record_time(call["ended_at"]),
            "joined_at": record_time(participation["joined_at"]),
            "left_at": record_time(participation["left_at"]),
            "user_email": (participation["user"] or {}).get("email"),
        }
        for call in calls
        for participation in call["call_participations"]
    ]
    call_rows = [
        {
            "id": call["id"],
            "started_at": record_time(call["started_at"]),
            "ended_at": record_time(call["ended_at"]),
            "duration_seconds": call["duration_seconds"],
        }
        for call in calls
    ]
    return call_rows, participations


def record_time(text: str | None) -> str | None:
    """Format a timestamp like RECORD messages do: in UTC, with decimals only if needed."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    utc = time.astimezone(UTC) if time.tzinfo else time
    return f"{utc.replace(tzinfo=None).isoformat()}Z"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server: TAP_TUPLE_TEST_POSTGRES_URL, or a new one."""
    with postgres_server() as url:
        yield url
