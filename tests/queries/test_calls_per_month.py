"""The calls per month that the API reports, compared to those in the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.check.test_months import ALL_MONTHS, calls_in_three_months, months
from tests.conftest import config_for, make_call
from tests.queries.warehouse import DUCKDB, Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Run, SandboxFactory, TapCommand


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_late_call_causes_a_difference_until_it_is_loaded(
    serve: SandboxFactory, tap: TapCommand, database: duckdb.DuckDBPyConnection
) -> None:
    log = calls_in_three_months()
    sandbox = serve(log)
    warehouse = Warehouse(database, **DUCKDB)

    def read(state: dict[str, Any] | None = None, **settings: str) -> Run:
        run = tap(config=config_for(sandbox, **settings), state=state)
        for call in run.records("calls"):
            database.execute(
                'INSERT OR REPLACE INTO "tuple".calls VALUES (?, ?, ?, ?)', list(call.values())
            )
        return run

    def loaded_months() -> list[Any]:
        return warehouse.run_query("calls_per_month")

    first_run = read()
    assert loaded_months() == months(sandbox) == ALL_MONTHS

    log.add(make_call(99, ended_at="2026-01-20T12:00:00.000Z"))
    read(first_run.state)
    assert set(months(sandbox)) ^ set(loaded_months()) == {("2026-01", 3), ("2026-01", 2)}

    read(start_date="2026-01-01", end_date="2026-02-01")
    assert loaded_months() == months(sandbox)
