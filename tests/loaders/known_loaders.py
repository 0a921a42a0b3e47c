"""The loaders that the tap is tested with: how to set up each one, and how to read its output."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import duckdb
import psycopg
from ruamel.yaml import YAML
from typing_extensions import override

from tests.conftest import COLUMNS, ROOT
from tests.loaders import strict_target
from tests.loaders.environments import install
from tests.loaders.odd_calls import as_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.loaders.odd_calls import Row, Rows

BATCH_SIZE_ROWS = 150
"""Small enough that loaders also write in the middle of a run."""

_PLUGINS = {
    plugin["name"]: plugin
    for plugin in YAML(typ="safe").load(ROOT / "meltano.yml")["plugins"]["loaders"]
}
"""The loaders in this project's meltano.yml. The tests use the settings there."""


@dataclass(frozen=True)
class Destination:
    """The destination that a loader writes to in a test."""

    folder: Path
    schema: str
    """The schema of its tables, if it writes to a database."""
    postgres: str
    """The URL of the PostgreSQL server, if the loader needs one."""


class Loader(ABC):
    """A loader and its characteristics."""

    name: ClassVar[str]
    """The name in the documents and in the ids of the tests."""

    requirements: ClassVar[tuple[str, ...]]
    """The packages that pip installs."""

    executable: ClassVar[str]

    env: ClassVar[Mapping[str, str]] = {}
    """Environment variables that it needs."""

    pythons: ClassVar[tuple[str, ...]] = ("3.11", "3.12", "3.13", "3.14")
    """The versions of Python that it's known to work with."""

    appends: ClassVar[bool] = False
    """Whether it appends rows that are read again, instead of updating the existing ones."""

    uses_postgres: ClassVar[bool] = False

    advice: ClassVar[str] = "None"
    """Settings to change, with the reasons, in Markdown."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings for a run."""

    @abstractmethod
    def rows(self) -> Rows:
        """Read everything that was written, by stream."""

    def command(self) -> list[str]:
        """Return the command for a run."""
        config = self.destination.folder / "loader.json"
        config.write_text(json.dumps(self.settings()))
        return [str(install(self.requirements) / self.executable), "--config", str(config)]


class Database(Loader):
    """A loader that writes to a database."""

    database: ClassVar[str]
    """The database's name in docs/columns.md."""

    @abstractmethod
    def query(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""

    @override
    def rows(self) -> Rows:
        return {
            table: [
                as_values(dict(zip(columns, row, strict=True)))
                for row in self.query(
                    f'SELECT {", ".join(columns)} FROM "{self.destination.schema}".{table}'  # noqa: S608
                )
            ]
            for table, columns in COLUMNS.items()
        }

    def types(self) -> dict[str, str]:
        """Return each column's type, as the database calls it, by `table.column`."""
        rows = self.query(
            "SELECT table_name || '.' || column_name, lower(data_type) "  # noqa: S608
            f"FROM information_schema.columns WHERE table_schema = '{self.destination.schema}'"
        )
        known = {f"{table}.{column}" for table, columns in COLUMNS.items() for column in columns}
        return {column: kind for column, kind in rows if column in known}


class TargetPostgres(Database):
    name = "target-postgres"
    requirements = tuple(shlex.split(_PLUGINS["target-postgres"]["pip_url"]))
    executable = "target-postgres"
    env = _PLUGINS["target-postgres"]["env"]
    uses_postgres = True
    database = "PostgreSQL"
    advice = "`use_copy: true`, which is faster and keeps timestamps as they are"

    @override
    def settings(self) -> dict[str, Any]:
        config: dict[str, Any] = _PLUGINS["target-postgres"]["config"]
        return config | {
            "sqlalchemy_url": self.destination.postgres.replace("://", "+psycopg://"),
            "default_target_schema": self.destination.schema,
            "batch_size_rows": BATCH_SIZE_ROWS,
        }

    @override
    def query(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.destination.postgres) as database:
            return database.execute(query.encode()).fetchall()


class TargetPostgresInserting(TargetPostgres):
    name = "target-postgres without COPY"
    advice = (
        "`PGTZ=UTC` in the environment. Otherwise, the loader shifts timestamps to the server's "
        "time zone."
    )

    @override
    def settings(self) -> dict[str, Any]:
        return super().settings() | {"use_copy": False}


class PipelinewiseTargetPostgres(TargetPostgres):
    name = "pipelinewise-target-postgres"
    requirements = ("pipelinewise-target-postgres==2.1.2",)
    env: ClassVar[Mapping[str, str]] = {}
    # On 3.12 its driver has to be compiled, and there may be no compiler.
    pythons = ("3.11",)
    advice = (
        "A password, even if the server doesn't require one. For Python 3.12: PostgreSQL's headers "
        "and a C compiler."
    )

    @override
    def settings(self) -> dict[str, Any]:
        url = urlsplit(self.destination.postgres)
        return {
            "host": url.hostname,
            "port": url.port or 5432,
            "user": url.username,
            "password": url.password or "unused",
            "dbname": url.path.strip("/"),
            "default_target_schema": self.destination.schema,
            "batch_size_rows": BATCH_SIZE_ROWS,
        }


class TargetDuckDb(Database):
    name = "target-duckdb"
    requirements = tuple(shlex.split(_PLUGINS["target-duckdb"]["pip_url"]))
    executable = "target-duckdb"
    # DuckDB 1.2 has no wheel for 3.14.
    pythons = ("3.11", "3.12", "3.13")
    database = "DuckDB"
    advice = (
        "`duckdb<1.3` in the same environment. With a newer DuckDB, the loader loses the first "
        "row of every load."
    )

    @property
    def _file(self) -> str:
        return str(self.destination.folder / "warehouse.duckdb")

    @override
    def settings(self) -> dict[str, Any]:
        config: dict[str, Any] = _PLUGINS["target-duckdb"]["config"]
        return config | {
            "filepath": self._file,
            "default_target_schema": self.destination.schema,
            "batch_size_rows": BATCH_SIZE_ROWS,
        }

    @override
    def query(self, query: str) -> list[tuple[Any, ...]]:
        with closing(duckdb.connect(self._file, read_only=True)) as database:
            return database.execute(query).fetchall()


class TargetJsonl(Loader):
    name = "target-jsonl"
    requirements = tuple(shlex.split(_PLUGINS["target-jsonl"]["pip_url"]))
    executable = "target-jsonl"
    appends = True

    @override
    def settings(self) -> dict[str, Any]:
        return {"destination_path": str(self.destination.folder)}

    @override
    def rows(self) -> Rows:
        return _read_files(self.destination.folder, "{}-*.jsonl", _read_jsonl)


class TargetCsv(Loader):
    name = "target-csv"
    requirements = tuple(shlex.split(_PLUGINS["target-csv"]["pip_url"]))
    executable = "target-csv"
    appends = True
    advice = (
        "`file_naming_scheme: '{stream_name}-{timestamp}.csv'`. Otherwise, each run overwrites the "
        "file, and the rows of earlier runs are lost."
    )

    @override
    def settings(self) -> dict[str, Any]:
        config: dict[str, Any] = _PLUGINS["target-csv"]["config"]
        return config | {"output_path": str(self.destination.folder)}

    @override
    def rows(self) -> Rows:
        return _read_files(self.destination.folder, "{}-*.csv", _read_csv)


class TargetSingerJsonl(Loader):
    name = "target-singer-jsonl"
    requirements = ("target-singer-jsonl==0.1.0",)
    executable = "target-singer-jsonl"
    appends = True
    advice = (
        "None, but leave a second between runs. File names contain the time in seconds, and a run "
        "within the same second would overwrite the files."
    )

    @override
    def settings(self) -> dict[str, Any]:
        folder = tempfile.mkdtemp(prefix="run-", dir=self.destination.folder)
        return {"destination": "local", "local": {"folder": folder}}

    @override
    def rows(self) -> Rows:
        return _read_files(self.destination.folder, "run-*/{0}/{0}-*.singer.gz", _read_singer)


class StrictTarget(Loader):
    """The target built for the tests, which rejects anything that violates the specification."""

    name = "strict-target"
    requirements = ()
    env: ClassVar[Mapping[str, str]] = {"PYTHONPATH": str(ROOT)}

    @override
    def settings(self) -> dict[str, Any]:
        return {}

    @override
    def command(self) -> list[str]:
        module = strict_target.__name__
        return [sys.executable, "-m", module, "--output", str(self.destination.folder)]

    @override
    def rows(self) -> Rows:
        stored = strict_target.read_rows(self.destination.folder)
        return {stream: list(map(as_values, stored[stream])) for stream in COLUMNS}


PUBLISHED: tuple[type[Loader], ...] = (
    TargetPostgres,
    TargetPostgresInserting,
    PipelinewiseTargetPostgres,
    TargetDuckDb,
    TargetJsonl,
    TargetCsv,
    TargetSingerJsonl,
)
"""The loaders in the documents' table."""


def _read_files(folder: Path, pattern: str, read: Callable[[Path], Iterable[Row]]) -> Rows:
    return {
        stream: [
            as_values({column: row[column] for column in columns})
            for path in sorted(folder.glob(pattern.format(stream)))
            for row in read(path)
        ]
        for stream, columns in COLUMNS.items()
    }


def _read_jsonl(path: Path) -> Iterable[Row]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _read_csv(path: Path) -> Iterable[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _read_singer(path: Path) -> Iterable[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for message in map(json.loads, lines):
            if message["type"] == "RECORD":
                yield message["record"]
