"""The project's meltano.yml, run by a real Meltano into real databases."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest

from tap_tuple.sandbox import CallLog, faults
from tap_tuple.sandbox.company import Company
from tests.conftest import expected_rows, make_call, make_calls
from tests.meltano_project import MeltanoProject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tap_tuple.sandbox.company import Call

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("meltano")]

COLUMNS = {
    "calls": ("id", "started_at", "ended_at", "duration_seconds"),
    "call_participations": (
        "id",
        "call_id",
        "call_ended_at",
        "joined_at",
        "left_at",
        "user_email",
    ),
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's plugins installed."""
    folder = tmp_path_factory.mktemp("meltano")
    MeltanoProject(folder)("install")
    return folder


@pytest.fixture
def meltano(plugins: Path, tmp_path: Path) -> MeltanoProject:
    """Meltano without a state from another test."""
    project = MeltanoProject(plugins)
    project.environment["MELTANO_DATABASE_URI"] = f"sqlite:///{tmp_path / 'meltano.db'}"
    return project


def as_stored(calls: Sequence[Call]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the tables that calls should become; timestamps without a zone, in UTC."""
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


def test_the_sandbox_company_lands_in_duckdb(meltano: MeltanoProject, tmp_path: Path) -> None:
    env = {"TARGET_DUCKDB_FILEPATH": str(tmp_path / "warehouse.duckdb")}

    for requests in (12, 1):
        began = datetime.now(UTC)
        log = meltano("run", "tap-tuple-sandbox", "target-duckdb", env=env)

        assert f"from {requests} requests" in log
        with closing(duckdb.connect(env["TARGET_DUCKDB_FILEPATH"])) as database:
            stored = tables(database)
        # A call may have ended while the run started.
        last_end = stored["calls"] and max(row[2] for row in stored["calls"])
        calls = Company().calls(datetime.now(UTC))
        loaded = [c for c in calls if _stored("ended_at", c["ended_at"]) <= last_end]
        assert stored == as_stored(loaded)
        assert len(loaded) >= len(Company().calls(began))


def test_calls_land_in_postgres_and_a_second_run_brings_what_is_new(
    meltano: MeltanoProject,
    serve: Callable[..., Sandbox],
    postgres: str,
) -> None:
    calls = make_calls(1_234)
    log = CallLog(calls)
    sandbox = serve(log)
    env = {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_LOOKBACK_WINDOW": "0",
        "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.replace("://", "+psycopg://"),
    }

    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute('DROP SCHEMA IF EXISTS "tuple" CASCADE')
        meltano("run", "tap-tuple", "target-postgres", env=env)
        assert tables(database) == as_stored(calls)
        assert len(sandbox.requests) == 2

        new = [make_call(2_000), make_call(2_001)]
        for call in new:
            log.add(call)
        printed = meltano("run", "tap-tuple", "target-postgres", env=env)
        assert tables(database) == as_stored(calls + new)
        assert len(sandbox.requests) == 3
        # The last call is read again, because calls may have ended at the same instant.
        assert "calls: 3 rows from 1 requests" in printed


def test_config_test_tells_a_good_token_from_a_bad_one_with_a_single_request(
    meltano: MeltanoProject,
    serve: Callable[..., Sandbox],
) -> None:
    # More than a page, and more than fits into the pipe that Meltano stops to read.
    sandbox = serve(make_calls(2_500))
    env = {"TAP_TUPLE_API_URL": sandbox.url, "TAP_TUPLE_API_TOKEN": sandbox.token}

    good = meltano("config", "test", "tap-tuple", env=env)
    assert "Plugin configuration is valid" in good
    assert len(sandbox.requests) == 1

    bad = meltano.try_to(
        "config", "test", "tap-tuple", env=env | {"TAP_TUPLE_API_TOKEN": "sk-tuple-canary"}
    )
    assert bad.returncode != 0
    assert "Tuple refuses the token (status 401): set api_token to a token that" in bad.stdout
    assert "sk-tuple-canary" not in bad.stdout
    assert len(sandbox.requests) == 2


def test_nothing_private_stands_in_the_log_of_meltano(
    meltano: MeltanoProject,
    serve: Callable[..., Sandbox],
    tmp_path: Path,
) -> None:
    sandbox = serve(make_calls(30))
    env = {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_API_TOKEN": sandbox.token,
        "TAP_TUPLE_PAGE_SIZE": "10",
        "TARGET_DUCKDB_FILEPATH": str(tmp_path / "warehouse.duckdb"),
    }

    for spoilt, returncode in ((None, 0), (faults.status(403, b"person0@lumen.example"), 1)):
        sandbox.faults.extend([None, spoilt])
        run = meltano.try_to("run", "tap-tuple", "target-duckdb", env=env)

        assert run.returncode == returncode, run.stdout
        assert "METRIC" in run.stdout
        assert "@lumen.example" not in run.stdout
        assert sandbox.token not in run.stdout
