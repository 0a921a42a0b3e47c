"""Measures whole pipelines, from the API to a database, and counts the rows there."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psycopg

from benchmarks import contestants, report
from benchmarks.loaders import CACHE, loader
from benchmarks.measure import Command, Measurement, measure, measure_pipe
from benchmarks.server import participations_in, serve
from tests.meltano_project import MeltanoProject
from tests.postgres_server import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEMA = "tuple"
TABLES = ("calls", "call_participations")
DLT_TABLES = ("calls", "calls__call_participations")
"""dlt names a child table after the list that it came from."""

POSTGRES = "PostgreSQL"
DUCKDB = "DuckDB"
LOADERS = {POSTGRES: "target-postgres", DUCKDB: "target-duckdb"}


@dataclass(frozen=True, slots=True)
class Database:
    """The database of a pipeline."""

    kind: str
    address: str
    """The URL of a PostgreSQL database, or the path of a DuckDB file."""

    @property
    def sqlalchemy_url(self) -> str:
        """The URL with the driver that the loader installs."""
        return self.address.replace("://", "+psycopg://")

    def count(self, tables: tuple[str, ...]) -> list[int]:
        """Count the rows of tables."""
        counts = [f'(SELECT count(*) FROM "{SCHEMA}".{table})' for table in tables]  # noqa: S608
        query = f"SELECT {', '.join(counts)}"
        if self.kind == DUCKDB:
            with closing(duckdb.connect(self.address, read_only=True)) as file:
                return list(file.execute(query).fetchone() or ())
        with psycopg.connect(self.address) as server:
            return list(server.execute(query.encode()).fetchone() or ())

    def clear(self) -> None:
        """Delete everything from the previous run."""
        if self.kind == DUCKDB:
            Path(self.address).unlink(missing_ok=True)
            return
        with psycopg.connect(self.address, autocommit=True) as server:
            for schema in (SCHEMA, f"{SCHEMA}_staging"):
                server.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


@dataclass(frozen=True, slots=True)
class Load:
    """The cost of a pipeline, and the resulting rows in the database."""

    rows: list[int]
    cost: Measurement
    """Without the loader, if that is a separate process."""
    loader_cost: Measurement | None = None
    """The loader's share, if it is a separate process."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A way to load calls from the API into a database."""

    title: str
    kind: str
    tables: tuple[str, ...]
    run: Callable[[str, Path, Database], tuple[Measurement, Measurement | None]]
    """Takes the API's URL, an empty folder and an empty database."""

    def load(self, url: str, folder: Path, postgres: str) -> Load:
        """Run the pipeline.

        Args:
            url: The API's URL.
            folder: An empty folder.
            postgres: The URL of a PostgreSQL database.
        """
        address = postgres if self.kind == POSTGRES else str(folder / "warehouse.duckdb")
        database = Database(self.kind, address)
        database.clear()
        cost, loader_cost = self.run(url, folder, database)
        return Load(database.count(self.tables), cost, loader_cost)


def pipe(url: str, folder: Path, database: Database) -> tuple[Measurement, Measurement]:
    """Pipe the tap into a loader, as a shell does."""
    settings = (
        {"filepath": database.address}
        if database.kind == DUCKDB
        else {"sqlalchemy_url": database.sqlalchemy_url}
    )
    target = loader(LOADERS[database.kind]).command(folder, **settings)
    return measure_pipe(contestants.tap_tuple(url, folder), target)


def meltano(url: str, folder: Path, database: Database) -> tuple[Measurement, None]:
    """Run the tap and a loader with Meltano."""
    project = MeltanoProject.copy_project(folder / "project", system=CACHE)
    target = LOADERS[database.kind]
    env = project.environment | {
        "TAP_TUPLE_API_URL": url,
        "TAP_TUPLE_API_TOKEN": contestants.TAP_CONFIG["api_token"],
        "TAP_TUPLE_REQUESTS_PER_MINUTE": str(contestants.TAP_CONFIG["requests_per_minute"]),
        "TARGET_DUCKDB_FILEPATH": database.address,
        "TARGET_POSTGRES_SQLALCHEMY_URL": database.sqlalchemy_url,
    }
    program = str(Path(sys.executable).with_name("meltano"))
    command = [program, "--cwd", str(project.folder), "run", "tap-tuple", target]
    return measure(Command(command, env)), None


def dlt(url: str, folder: Path, database: Database) -> tuple[Measurement, None]:
    """Run dlt."""
    option = "--duckdb" if database.kind == DUCKDB else "--postgres"
    return measure(contestants.dlt(url, folder, option, database.address)), None


PIPELINES = (
    Pipeline("tap-tuple | target-postgres", POSTGRES, TABLES, pipe),
    Pipeline("meltano run tap-tuple target-postgres", POSTGRES, TABLES, meltano),
    Pipeline("dlt to PostgreSQL", POSTGRES, DLT_TABLES, dlt),
    Pipeline("tap-tuple | target-duckdb", DUCKDB, TABLES, pipe),
    Pipeline("meltano run tap-tuple target-duckdb", DUCKDB, TABLES, meltano),
    Pipeline("dlt to DuckDB", DUCKDB, DLT_TABLES, dlt),
)


def compare(calls: Sequence[int], rounds: int) -> None:
    """Print a table of all pipelines.

    Args:
        calls: The numbers of calls to load, each for a separate comparison.
        rounds: How many times each one runs.
    """
    _install()
    loads: dict[tuple[int, str], list[Load]] = {}
    with postgres_server() as postgres, ExitStack() as servers:
        urls = {count: servers.enter_context(serve(count)) for count in calls}
        for number in range(1, rounds + 1):
            for count, url in urls.items():
                for pipeline in PIPELINES:
                    report.progress(
                        f"round {number} of {rounds}: {pipeline.title}, {count:,} calls"
                    )
                    with tempfile.TemporaryDirectory() as folder:
                        load = pipeline.load(url, Path(folder), postgres)
                        loads.setdefault((count, pipeline.title), []).append(load)
    report.print_table(
        f"Medians of {rounds} interleaved rounds. CPU time doesn't include the PostgreSQL server.",
        ("calls", "pipeline", "rows", "wall s", "CPU s", "loader CPU s", "peak MB"),
        [_row(count, title, runs) for (count, title), runs in loads.items()],
    )


def _row(count: int, title: str, loads: Sequence[Load]) -> tuple[str, ...]:
    costs = [load.cost for load in loads]
    loader_costs = [load.loader_cost for load in loads if load.loader_cost]
    expected = [count, participations_in(count)]
    wrong = next((load.rows for load in loads if load.rows != expected), None)
    rows = f"{sum(expected):,}" if wrong is None else f"{wrong} instead of {expected}"
    return (
        f"{count:,}",
        title,
        rows,
        report.seconds(report.wall(costs)),
        report.seconds(report.cpu(costs) + (report.cpu(loader_costs) if loader_costs else 0)),
        report.seconds(report.cpu(loader_costs)) if loader_costs else "-",
        report.peak(costs + loader_costs),
    )


def _install() -> None:
    """Install the pipelines' dependencies, so that installing them isn't measured."""
    for name in LOADERS.values():
        loader(name).install()
    with tempfile.TemporaryDirectory() as folder:
        MeltanoProject.copy_project(Path(folder) / "project", system=CACHE)("install")
