"""The project's meltano.yml, run with Meltano and real databases."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from ruamel.yaml import YAML

from tap_tuple.sandbox import CallLog, faults
from tap_tuple.sandbox.company import Company
from tests.conftest import COLUMNS, expected_rows, make_call, make_calls
from tests.docs.documents import block, blocks
from tests.meltano_project import TARGET_DUCKDB_WORKS, MeltanoProject, needs_target_duckdb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tap_tuple.sandbox.company import Call
    from tests.conftest import SandboxFactory

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("meltano")]

WITHOUT_DUCKDB = ("tap-tuple", "target-postgres", "target-jsonl", "target-csv")


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the project's plugins are installed."""
    folder = tmp_path_factory.mktemp("meltano")
    project = MeltanoProject.copy_project(folder / "project", system=folder)
    project("install", *(() if TARGET_DUCKDB_WORKS else WITHOUT_DUCKDB))
    return folder


@pytest.fixture
def meltano(plugins: Path, tmp_path: Path) -> MeltanoProject:
    """Meltano in a fresh copy of the project, without any state."""
    return MeltanoProject.copy_project(tmp_path / "project", system=plugins)


@pytest.fixture
def tuple_env(serve: SandboxFactory) -> Callable[..., dict[str, str]]:
    """A function that starts a sandbox with the given calls, and returns settings for it."""

    def make(calls: list[Call] | CallLog, **settings: str) -> dict[str, str]:
        sandbox = serve(calls)
        defaults = {"API_URL": sandbox.url, "API_TOKEN": sandbox.token, "LOOKBACK_WINDOW": "0"}
        return {f"TAP_TUPLE_{name}": value for name, value in (defaults | settings).items()}

    return make


def as_stored(calls: Sequence[Call]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the expected tables. Timestamps are in UTC and have no time zone."""
    tables = zip(COLUMNS, expected_rows(list(calls)), strict=True)
    return {
        name: sorted(
            tuple(_stored(column, row[column]) for column in COLUMNS[name]) for row in rows
        )
        for name, rows in tables
    }


def _stored(column: str, value: Any) -> Any:
    if column.endswith("_at") and value is not None:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    return value


def tables(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Read both tables from a database."""
    return {
        name: connection.execute(
            f'SELECT {", ".join(columns)} FROM "tuple".{name} ORDER BY id'  # noqa: S608
        ).fetchall()
        for name, columns in COLUMNS.items()
    }


@needs_target_duckdb
def test_sandbox_loads_into_duckdb(meltano: MeltanoProject, tmp_path: Path) -> None:
    env = {"TARGET_DUCKDB_FILEPATH": str(tmp_path / "warehouse.duckdb")}

    for requests in (12, 1):
        began = datetime.now(UTC)
        log = meltano("run", "tap-tuple-sandbox", "target-duckdb", env=env)

        assert f" ({requests} request" in log
        with closing(duckdb.connect(env["TARGET_DUCKDB_FILEPATH"])) as database:
            stored = tables(database)
        # A call may have ended while the run was starting.
        last_end = stored["calls"] and max(row[2] for row in stored["calls"])
        calls = Company().calls(datetime.now(UTC))
        loaded = [c for c in calls if _stored("ended_at", c["ended_at"]) <= last_end]
        assert stored == as_stored(loaded)
        assert len(loaded) >= len(Company().calls(began))


def test_config_test_checks_the_token_with_one_request(
    meltano: MeltanoProject, serve: SandboxFactory
) -> None:
    # More calls than fit on a page, or into the pipe after Meltano stops reading it.
    sandbox = serve(make_calls(2_500))
    env = {"TAP_TUPLE_API_URL": sandbox.url, "TAP_TUPLE_API_TOKEN": sandbox.token}

    good = meltano("config", "test", "tap-tuple", env=env)
    assert "Plugin configuration is valid" in good
    assert len(sandbox.requests) == 1

    bad = meltano.run_unchecked(
        "config", "test", "tap-tuple", env=env | {"TAP_TUPLE_API_TOKEN": "sk-tuple-canary"}
    )
    assert bad.returncode != 0
    assert (
        "Tuple rejected the token (HTTP 401). It may be mistyped, or it may have been revoked."
        in bad.stdout
    )
    assert "sk-tuple-canary" not in bad.stdout
    assert len(sandbox.requests) == 2


@needs_target_duckdb
def test_failed_meltano_run_prints_no_private_data(
    meltano: MeltanoProject, serve: SandboxFactory, tmp_path: Path
) -> None:
    sandbox = serve(make_calls(30))
    env = {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_PAGE_SIZE": "10",
        "TARGET_DUCKDB_FILEPATH": str(tmp_path / "warehouse.duckdb"),
    }

    sandbox.faults.extend([None, faults.status(403, b"person0@lumen.example")])
    run = meltano.run_unchecked("run", "tap-tuple", "target-duckdb", env=env)

    assert run.returncode == 1, run.stdout
    assert "Reading " in run.stdout
    assert "@lumen.example" not in run.stdout
    assert sandbox.token not in run.stdout


def pop_written_ids(meltano: MeltanoProject, stream: str) -> list[int]:
    """Return the ids in the files of target-jsonl, and delete the files."""
    ids = []
    for path in sorted((meltano.folder / "output").glob(f"{stream}-*.jsonl")):
        ids += [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()]
        path.unlink()
    return ids


def add_plugins(meltano: MeltanoProject, shown: str) -> None:
    """Add plugins to meltano.yml, like someone who copies them from the docs."""
    file = meltano.folder / "meltano.yml"
    yaml = YAML()
    project = yaml.load(file)
    for kind, plugins in yaml.load(shown)["plugins"].items():
        project["plugins"][kind].extend(plugins)
    yaml.dump(project, file)


def test_two_teams_have_separate_tokens_and_states(
    meltano: MeltanoProject, serve: SandboxFactory
) -> None:
    """As shown in the docs, the second team's extractor inherits from the first one's."""
    add_plugins(meltano, block("yaml: two teams").text)
    first, other = serve(make_calls(20)), serve(make_calls(30))
    other.token = "sk-tuple-design"  # noqa: S105 - not a real token
    env = {
        "TAP_TUPLE_API_URL": first.url,
        "TAP_TUPLE_API_TOKEN": first.token,
        "TAP_TUPLE__DESIGN_API_URL": other.url,
        "TUPLE_DESIGN_TOKEN": other.token,
    }

    meltano("run", "tap-tuple", "target-jsonl", env=env)
    assert pop_written_ids(meltano, "calls") == list(range(1, 21))
    meltano("run", "tap-tuple--design", "target-jsonl", env=env)
    assert pop_written_ids(meltano, "calls") == list(range(1, 31))
    states = meltano("state", "list")
    assert "dev:tap-tuple-to-target-jsonl" in states
    assert "dev:tap-tuple--design-to-target-jsonl" in states


def test_dx_role_with_few_privileges_loads_only_new_calls(
    meltano: MeltanoProject, serve: SandboxFactory, postgres: str
) -> None:
    """As shown in the docs, but without TLS because the tests' PostgreSQL doesn't have it.

    The second run requests and loads only the new call, and the last one again.
    """
    calls = make_calls(1_234)
    log = CallLog(calls)
    sandbox = serve(log)
    add_plugins(meltano, block("yaml: dx").text)
    address = postgres.partition("@")[2].rpartition("/")[0]
    env = {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_LOOKBACK_WINDOW": "0",
        "DX_URL": f"postgresql+psycopg://dx:dx@{address}/dx",
    }
    run = block("not run: it needs step 3; a separate test runs it").text.split()[1:]

    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS dx")
        server.execute("DROP ROLE IF EXISTS dx")
        server.execute("CREATE ROLE dx LOGIN PASSWORD 'dx'")
        server.execute("CREATE DATABASE dx")
        server.execute("REVOKE ALL ON DATABASE dx FROM PUBLIC")
        server.execute("GRANT CONNECT, TEMPORARY ON DATABASE dx TO dx")
    with psycopg.connect(postgres.rpartition("/")[0] + "/dx", autocommit=True) as database:
        database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        database.execute("CREATE SCHEMA custom")
        database.execute("GRANT USAGE, CREATE ON SCHEMA custom TO dx")

        for new, requests, sent in (([], 2, "1,234"), ([make_call(2_000)], 1, "2")):
            for call in new:
                log.add(call)
            sandbox.requests.clear()
            printed = meltano(*run, env=env)
            assert len(sandbox.requests) == requests
            assert f"calls: sent {sent} rows and the bookmark " in printed
            expected = as_stored([*calls, *new])
            for stream, rows in expected.items():
                columns = ", ".join(COLUMNS[stream])
                query = f"SELECT {columns} FROM custom.tuple_{stream} ORDER BY id"  # noqa: S608
                assert database.execute(query.encode()).fetchall() == rows


def test_documented_stream_maps_hash_emails_and_filter_calls(
    meltano: MeltanoProject, tuple_env: Callable[..., dict[str, str]]
) -> None:
    (shown,) = (b.text for b in blocks() if (b.mark, b.language) == ("stream maps", "yaml"))
    file = meltano.folder / "meltano.yml"
    text = file.read_text(encoding="utf-8")
    indented = "".join(f"    {line}\n" for line in shown.splitlines())
    file.write_text(
        text.replace("\n  - name: tap-tuple-sandbox", f"\n{indented}\n  - name: tap-tuple-sandbox"),
        "utf-8",
    )
    calls = make_calls(5)
    calls[1]["duration_seconds"] = 59
    calls[2]["duration_seconds"] = None

    printed = meltano("invoke", "tap-tuple", env=tuple_env(calls) | {"TUPLE_SALT": "long"})

    messages = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    rows = [message["record"] for message in messages if message["type"] == "RECORD"]
    salted = {sha256(f"longperson{n}@lumen.example".encode()).hexdigest() for n in (0, 1)}
    assert {row["user_email"] for row in rows if "user_email" in row} == salted
    assert {row["id"] for row in rows if "duration_seconds" in row} == {1, 4, 5}
    assert {row["call_id"] for row in rows if "call_id" in row} == {1, 4, 5}


def test_second_machine_continues_from_the_state_in_postgres(
    plugins: Path, tmp_path: Path, postgres: str, serve: SandboxFactory
) -> None:
    sandbox = serve(make_calls(25))
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS meltano_state")
        server.execute("CREATE DATABASE meltano_state")
    database = postgres.rpartition("/")[0] + "/meltano_state"
    environment = {
        "MELTANO_DATABASE_URI": database.replace("://", "+psycopg://"),
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_PAGE_SIZE": "5",
        "TAP_TUPLE_LOOKBACK_WINDOW": "0",
    }

    requests = []
    for machine in ("first", "second"):
        project = MeltanoProject.copy_project(tmp_path / machine, system=plugins)
        project("run", "tap-tuple", "target-jsonl", env=environment)
        requests.append(len(sandbox.requests))
        sandbox.requests.clear()

    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE meltano_state WITH (FORCE)")
    assert requests[0] >= 5
    assert requests[1] == 1
