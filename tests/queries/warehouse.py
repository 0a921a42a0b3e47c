"""A database with known calls, as a loader leaves it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import count
from typing import Any, TypeAlias

from tests.conftest import ROOT

QUERIES = ROOT / "queries"

# What differs between the databases, as their loaders create the tables.
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
"""A person in a call, with the minutes from its start at which they joined and left."""

Call: TypeAlias = tuple[str, float, tuple[Stay, ...]]
"""The start of a call, its length in minutes, and its stays."""


def call(start: str, minutes: float, *stays: Stay) -> Call:
    return start, minutes, stays


def monday_call(minutes: float, *stays: Stay) -> Call:
    return call(f"{MONDAY} 09:00", minutes, *stays)


class Warehouse:
    """A database with both tables as its loader creates them."""

    def __init__(
        self, connection: Any, *, integer: str, extra: str, placeholder: str, schema: str = "tuple"
    ) -> None:
        """Create the tables.

        Args:
            connection: Where to.
            integer: The type of ids.
            extra: Further columns, each after a comma.
            placeholder: The placeholder for a value in a statement.
            schema: Where the tables are.
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

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        rows: list[tuple[Any, ...]] = self._run(query).fetchall()
        return rows

    def columns(self, query: str) -> list[str]:
        """Return the column names of a query."""
        return [column[0] for column in self._run(query).description]

    def install_views(self) -> None:
        """Create the views, and create them again."""
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
