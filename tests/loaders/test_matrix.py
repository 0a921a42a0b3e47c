"""Pipes the tap into real loaders. No row is lost or duplicated, and no timestamp is shifted."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tap_tuple.sandbox import CallLog
from tests.conftest import ROOT, clean_environment, config_for
from tests.docs.columns import documented_types
from tests.docs.documents import between
from tests.loaders.environments import install
from tests.loaders.known_loaders import (
    PUBLISHED,
    Database,
    Destination,
    Loader,
    StrictTarget,
    TargetDuckDb,
    TargetPostgres,
)
from tests.loaders.odd_calls import (
    LAST_END,
    LOOKBACK,
    NEWEST_END,
    PAGE_SIZE,
    calls_read_again,
    newer_calls,
    odd_calls,
    rows_of,
)
from tests.loaders.table import render_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand
    from tests.loaders.odd_calls import Rows

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
AVAILABLE = [loader for loader in PUBLISHED if PYTHON in loader.pythons] + [StrictTarget]
"""The loaders that work with this version of Python."""


@pytest.fixture(scope="session")
def _installed() -> None:
    """Install all loaders in parallel before the first one is needed."""
    with ThreadPoolExecutor() as pool:
        list(
            pool.map(install, {loader.requirements for loader in AVAILABLE if loader.requirements})
        )


@pytest.fixture(params=AVAILABLE, ids=lambda loader: loader.name.replace(" ", "-"))
def loader(request: pytest.FixtureRequest, tmp_path: Path, _installed: None) -> Loader:
    """A loader with an empty destination."""
    kind: type[Loader] = request.param
    schema = "matrix_" + kind.name.translate(str.maketrans("- ", "__"))
    postgres = ""
    if kind.uses_postgres:
        postgres = request.getfixturevalue("postgres")
        with psycopg.connect(postgres, autocommit=True) as database:
            database.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())
    folder = tmp_path / "loader"
    folder.mkdir()
    return kind(Destination(folder, schema, postgres))


def load(tap_command: list[str], loader: Loader) -> dict[str, Any]:
    """Pipe the tap into a loader.

    Returns:
        The last state that the loader printed.
    """
    folder = loader.destination.folder
    with (
        (folder / "tap.log").open("w+") as tap_log,
        (folder / "loader.log").open("w+") as loader_log,
    ):
        with subprocess.Popen(
            tap_command, stdout=subprocess.PIPE, stderr=tap_log, env=clean_environment(), cwd=folder
        ) as reader:
            writer = subprocess.run(
                loader.command(),
                stdin=reader.stdout,
                stdout=subprocess.PIPE,
                stderr=loader_log,
                env=clean_environment() | dict(loader.env),
                cwd=folder,
                check=False,
            )
        assert writer.returncode == 0, _end_of(loader_log)
        assert reader.returncode == 0, _end_of(tap_log)
    state: dict[str, Any] = json.loads(writer.stdout.splitlines()[-1])
    return state


def _end_of(log: Any) -> str:
    log.seek(0)
    return str(log.read()[-4000:])


def sorted_rows(rows: Rows) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows as sorted tuples of values, so that order doesn't matter."""
    return {
        stream: sorted((tuple(row.values()) for row in stream_rows), key=repr)
        for stream, stream_rows in rows.items()
    }


def merge(*parts: Rows) -> Rows:
    """Merge the rows of several parts."""
    return {stream: [row for part in parts for row in part[stream]] for stream in parts[0]}


def bookmarks(state: dict[str, Any]) -> dict[str, datetime]:
    """Return the bookmarks in a state."""
    return {
        stream: datetime.fromisoformat(bookmark["replication_key_value"])
        for stream, bookmark in state["bookmarks"].items()
    }


@pytest.mark.slow
def test_two_runs_load_every_row_unchanged(
    tap: TapCommand, serve: SandboxFactory, loader: Loader
) -> None:
    calls, newer = odd_calls(), newer_calls()
    log = CallLog(calls)
    sandbox = serve(log)
    config = config_for(sandbox, page_size=PAGE_SIZE)

    state = load(tap.command(config=config), loader)

    assert len(sandbox.requests) > 3
    first = rows_of(list(log.calls(LAST_END)))
    stored = loader.rows()
    for stream, rows in stored.items():
        # Some loaders mistake the first row for a header.
        assert first[stream][0]["id"] in {row["id"] for row in rows}, (
            f"{stream} lacks its first row"
        )
    assert sorted_rows(stored) == sorted_rows(first)
    assert bookmarks(state) == dict.fromkeys(first, LAST_END)

    sandbox.requests.clear()
    for call in newer:
        log.add(call)
    state = load(tap.command(config=config, state=state), loader)

    since = datetime.fromisoformat(sandbox.requests[0].query["since"])
    assert since == LAST_END - LOOKBACK
    parts = [first, rows_of(newer)]
    if loader.appends:
        parts.append(rows_of(calls_read_again(calls)))
    assert sorted_rows(loader.rows()) == sorted_rows(merge(*parts))
    assert bookmarks(state) == dict.fromkeys(first, NEWEST_END)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loader",
    [kind for kind in (TargetPostgres, TargetDuckDb) if PYTHON in kind.pythons],
    indirect=True,
    ids=lambda kind: kind.name,
)
def test_database_column_types_match_the_documentation(
    tap: TapCommand, serve: SandboxFactory, loader: Database
) -> None:
    """The schema limits ids to 64 bits. Without limits, they'd become HUGEINT in DuckDB."""
    load(tap.command(config=config_for(serve(odd_calls()))), loader)

    assert loader.types() == documented_types(loader.database)


def test_documented_loaders_match_the_tested_loaders() -> None:
    table = between("loaders", ROOT / "docs/loaders.md")

    assert table.strip() == render_table(PUBLISHED)
