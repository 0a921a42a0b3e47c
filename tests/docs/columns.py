"""Renders the tables of columns in docs/columns.md from the schemas of the streams."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.conftest import ROOT
from tests.docs.documents import between

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS_PAGE = ROOT / "docs/columns.md"
HEADINGS = ("Column", "Meaning", "Singer type", "PostgreSQL", "DuckDB")


class Kind(NamedTuple):
    """A kind of column, and its type in Singer and in each database."""

    singer: str
    postgres: str
    duckdb: str


LONG = Kind("`integer`", "bigint", "bigint")
INTEGER = Kind("`integer`", "integer", "integer")
TIMESTAMP = Kind("`string`, `date-time`", "timestamp without time zone", "timestamp")
TEXT = Kind("`string`", "text", "varchar")


def render_columns(schema: Mapping[str, Any]) -> str:
    """Render the table of a stream's columns in Markdown."""
    rows = [_cells(name, column) for name, column in schema["properties"].items()]
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def documented_types(database: str) -> dict[str, str]:
    """Return the documented type of each column in a database, by `table.column`."""
    place = HEADINGS.index(database)
    types = {}
    for table in ("calls", "call_participations"):
        for line in between(f"columns of {table}", COLUMNS_PAGE).splitlines():
            cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
            if re.match(r"\| `", line):
                types[f"{table}.{cells[0]}"] = cells[place]
    return types


def _cells(name: str, column: Mapping[str, Any]) -> tuple[str, ...]:
    kind = _kind_of(column)
    singer = f"{kind.singer}, or null" if "null" in column["type"] else kind.singer
    return (f"`{name}`", column["description"], singer, f"`{kind.postgres}`", f"`{kind.duckdb}`")


def _kind_of(column: Mapping[str, Any]) -> Kind:
    if "integer" in column["type"]:
        return LONG if column["maximum"] > 2**31 - 1 else INTEGER
    return TIMESTAMP if column.get("format") == "date-time" else TEXT
