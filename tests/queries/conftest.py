"""Databases that the queries and views run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import psycopg
import pytest

from tests.queries.warehouse import DUCKDB, POSTGRES, Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(
    params=[
        "duckdb",
        # Same group as all tests that use this schema, so that none waits for a lock.
        pytest.param("postgres", marks=[pytest.mark.slow, pytest.mark.xdist_group("meltano")]),
    ]
)
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    """An empty warehouse, removed after the test."""
    if request.param == "duckdb":
        with duckdb.connect() as connection:
            yield Warehouse(connection, **DUCKDB)
        return
    with psycopg.connect(request.getfixturevalue("postgres")) as connection:
        # Rolled back at the end, like everything else.
        connection.execute('DROP SCHEMA IF EXISTS "tuple" CASCADE')
        yield Warehouse(connection, **POSTGRES)
        connection.rollback()
