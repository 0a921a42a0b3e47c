"""A database filled with known calls, like a loader would fill it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import count
from typing import Any, TypeAlias

from tests.conftest import ROOT

QUERIES = ROOT / "queries"

# Differences between the tables that the loaders of each database create.
DUCKDB = {"integer": "hugeint", "extra": "", "placeholder": "?"}
POSTGRES = {
    "integer": "bigint",
    "extra": ", _sdc_extracted_at timestamp, _sdc_sequence bigint",
    "placeholder": "%s",
}

A, B, C, D = (f"{letter}@lumen.example" for letter in "abcd")
DELETED = None
MONDAY = date(2026, 3, 2)

Stay: TypeAlias = tuple[str | None, float, float | None]
"""A person in a call, and when they joined and left, in minutes from the call's start."""

Call: TypeAlias = tuple[str, float, tuple[Stay, ...]]
"""A call's start, its length in minutes, and the stays."""


def call(start: str, minutes: float, *stays: Stay) -> Call:
    return start, minutes, stays


def monday_call(minutes: float, *stays: Stay) -> Call:
    return call(f"{MONDAY} 09:00", minutes, *stays)


class Warehouse:
    """A database with both tables, as its loader would create them."""

    def __init__(
        self, connection: Any, *, integer: str, extra: str, placeholder: str, schema: str = "tuple"
    ) -> None:
        """Create the tables.

        Args:
            connection: The database to create them in.
            integer: The column type for ids.
            extra: Definitions of more columns, each preceded by a comma.
            placeholder: The database's placeholder for values in statements.
            schema: The schema to create the tables in.
        """
        self._connection = connection
        self._placeholder = placeholder
        self._schema = schema
        self._ids = count(1)
        connection.execute(f'CREATE SCHEMA "{schema}"')
        connection.execute(
            f'CREATE TABLE "{schema}".calls (id {integer} PRIMARY KEY, started_at timestamp,'
            f" ended_at timestamp, duration_seconds {integer}{extra})"
        )
        connection.execute(
            f'CREATE TABLE "{schema}".call_participations (id {integer} PRIMARY KEY,'
            f" call_id {integer}, call_ended_at timestamp, joined_at timestamp,"
            f" left_at timestamp, user_email varchar{extra})"
        )

    def load(self, *calls: Call) -> None:
        """Load calls and their stays."""
        for start, minutes, stays in calls:
            started = datetime.fromisoformat(start)
            ended = started + timedelta(minutes=minutes)
            number = next(self._ids)
            self._insert("calls", number, started, ended, int(minutes * 60))
            for email, joined, left in stays:
                self._insert(
                    "call_participations",
                    next(self._ids),
                    number,
                    ended,
                    started + timedelta(minutes=joined),
                    None if left is None else started + timedelta(minutes=left),
                    email,
                )

    def run_query(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        rows: list[tuple[Any, ...]] = self._run(query).fetchall()
        return rows

    def columns(self, query: str) -> list[str]:
        """Return the column names of a query."""
        return [column[0] for column in self._run(query).description]

    def install_views(self) -> None:
        """Create the views twice, because it must be possible to create them again."""
        for _ in range(2):
            self._run("views")

    def rows_of(self, view: str, columns: str) -> list[tuple[Any, ...]]:
        """Return some columns of a view, sorted."""
        rows = self._connection.execute(
            f'SELECT {columns} FROM "{self._schema}".{view} ORDER BY 1, 2, 3'  # noqa: S608
        )
        return list(rows.fetchall())

    def _run(self, query: str) -> Any:
        text = (QUERIES / f"{query}.sql").read_text("utf-8")
        return self._connection.execute(text.replace('"tuple".', f'"{self._schema}".'))

    def _insert(self, table: str, *values: Any) -> None:
        columns = {
            "calls": "id, started_at, ended_at, duration_seconds",
            "call_participations": "id, call_id, call_ended_at, joined_at, left_at, user_email",
        }
        placeholders = ", ".join([self._placeholder] * len(values))
        self._connection.execute(
            f'INSERT INTO "{self._schema}".{table} ({columns[table]}) VALUES ({placeholders})',  # noqa: S608
            values,
        )
