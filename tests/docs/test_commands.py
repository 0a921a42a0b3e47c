"""Runs the commands in the documents, unchanged and in order, and checks their results.

A block of commands is marked ``<!-- run: name -->`` in its document. The method ``check_name`` of
`Walkthrough` runs the block in a fresh clone and checks the result.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from ruamel.yaml import YAML

from tests.conftest import make_call, make_calls
from tests.docs.documents import block, commands_to_run
from tests.docs.newcomer import REPOSITORY, Newcomer
from tests.meltano_project import needs_target_duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tap_tuple.sandbox.company import Call
    from tests.conftest import SandboxFactory

STATE = "dev:tap-tuple-to-target-postgres"
LAST_END = "2026-03-02T09:20:00.000Z"

RUN_IN_PARALLEL = ("look", "query", "run and report", "plain", "sandbox server")
"""Blocks that don't use the team's tables. They run in order, in parallel with the others."""

TESTED_ELSEWHERE = {"project"}
"""Blocks that need an empty project. The tests of the Meltano Hub definition run them."""


def team_calls() -> list[Call]:
    """Return 10 calls in January and 20 in March."""
    january = [
        make_call(100 + number, ended_at=f"2026-01-15T10:0{number}:00.000Z") for number in range(10)
    ]
    return [*january, *make_calls(20)]


@pytest.fixture
def warehouse(postgres: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS newcomer")
        server.execute("CREATE DATABASE newcomer")
    yield postgres.rpartition("/")[0] + "/newcomer"
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE newcomer WITH (FORCE)")


def test_every_documented_command_has_a_check() -> None:
    names = {each.name.replace(" ", "_") for each in commands_to_run()} - TESTED_ELSEWHERE

    assert names == {name.removeprefix("check_") for name in vars(Walkthrough) if "check_" in name}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("newcomer")
@needs_target_duckdb
def test_documented_commands_work(serve: SandboxFactory, warehouse: str, tmp_path: Path) -> None:
    walkthrough = Walkthrough(tmp_path, serve(team_calls()), warehouse)
    names = [each.name for each in commands_to_run() if each.name not in TESTED_ELSEWHERE]

    with ThreadPoolExecutor(max_workers=1) as pool:
        walkthrough.run_block(names[0])
        futures = {
            name: pool.submit(walkthrough.run_block, name)
            for name in names
            if name in RUN_IN_PARALLEL
        }
        for name in names[1:]:
            if name == "delete in duckdb":
                # Wait, because two simultaneous runs with the same loader may both fail.
                futures["run and report"].result()
            if name not in RUN_IN_PARALLEL:
                walkthrough.run_block(name)
        for future in futures.values():
            future.result()


class Walkthrough:
    """Follows the documents and checks the result of each block of commands."""

    def __init__(self, folder: Path, sandbox: Sandbox, warehouse: str) -> None:
        """Start with a fresh clone."""
        self.sandbox = sandbox
        self.warehouse = warehouse
        self.newcomer = Newcomer(folder, TAP_TUPLE_API_URL=sandbox.url, DATABASE_URL=warehouse)
        self.clone = self.newcomer.clone
        self.plain = folder / "plain"

    def run_block(self, name: str) -> None:
        """Run a block and check its result, with the check method named after the block."""
        commands = self.with_test_values(block(f"run: {name}").text)
        getattr(self, f"check_{name.replace(' ', '_')}")(commands)

    def with_test_values(self, text: str) -> str:
        """Replace the documented token, database and repository with those of this test."""
        url = self.warehouse.replace("://", "+psycopg://")
        replacements = {
            "sk-tuple-...": self.sandbox.token,
            "postgresql+psycopg://user:password@localhost/warehouse": url,
            REPOSITORY: str(self.clone),
        }
        for documented, actual in replacements.items():
            text = text.replace(documented, actual)
        return text

    def check_sandbox(self, commands: str) -> None:
        self.newcomer.run(commands)

        with closing(duckdb.connect(self.clone / "warehouse.duckdb")) as database:
            assert min(counts(database)) > 10_000

    def check_look(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert printed.count("started_at") == 1
        assert "@lumen.example" in printed
        # uv runs the report in its own environment.
        assert "Wrote report.html.\n" in printed
        assert "people paired</h1>" in (self.clone / "report.html").read_text("utf-8")

    def check_token(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "Plugin configuration is valid" in printed
        assert len(self.sandbox.requests) == 1
        assert self.sandbox.token in (self.clone / ".env").read_text("utf-8")
        assert self.sandbox.token not in (self.clone / "meltano.yml").read_text("utf-8")

    def check_duckdb(self, commands: str) -> None:
        self.newcomer.run(commands)

        with closing(duckdb.connect(self.clone / "team.duckdb")) as database:
            assert counts(database) == (30, 60)

    def check_postgres(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "calls: sent 30 rows and the bookmark " in printed
        assert self.rows() == (30, 60)
        assert self.bookmarks() == dict.fromkeys(("calls", "call_participations"), LAST_END)

    def check_debug(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "debug" in printed
        assert "@lumen.example" not in printed
        assert self.sandbox.token not in printed

    def check_query(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "last_paired_on" in printed
        assert "@lumen.example" in printed

    def check_run_and_report(self, commands: str) -> None:
        (self.clone / "report.html").unlink()

        # Meltano passes the report's settings on.
        self.newcomer.run(f"export REPORT_PSEUDONYMS=true\n{commands}")

        page = (self.clone / "report.html").read_text("utf-8")
        assert "Person 1" in page
        assert "@lumen.example" not in page

    def check_range(self, commands: str) -> None:
        self.execute("DELETE FROM tuple.calls WHERE id >= 100")

        printed = self.newcomer.run(commands)

        assert "calls: sent 10 rows and the bookmark " in printed
        assert self.rows() == (30, 60)
        assert set(self.bookmarks().values()) == {LAST_END}

    def check_refresh(self, commands: str) -> None:
        self.execute("DELETE FROM tuple.calls")

        self.newcomer.run(commands)

        assert self.rows() == (30, 60)
        assert set(self.bookmarks().values()) == {LAST_END}

    def check_select(self, commands: str) -> None:
        self.newcomer.run(commands)

        assert self.extractor()["select"] == ["call_participations.*"]

    def check_select_both(self, commands: str) -> None:
        self.newcomer.run(commands)

        assert "select" not in self.extractor()

    def check_select_once(self, commands: str) -> None:
        before = self.extractor()

        self.newcomer.run(commands)

        assert len(self.lines(self.clone / "output", "call_participations")) == 60
        assert self.lines(self.clone / "output", "calls") == []
        assert self.extractor() == before

    def check_state(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        (line,) = (each for each in printed.splitlines() if each.startswith("{"))
        bookmarks = json.loads(line)["singer_state"]["bookmarks"]
        assert {name: each["replication_key_value"] for name, each in bookmarks.items()} == (
            self.bookmarks()
        )

    def check_state_set(self, commands: str) -> None:
        self.newcomer.run(commands)

        assert self.bookmarks() == dict.fromkeys(
            ("calls", "call_participations"), "2026-03-01T00:00:00Z"
        )

    def check_schedule(self, commands: str) -> None:
        self.execute("DELETE FROM tuple.calls; DELETE FROM tuple.call_participations")

        self.newcomer.run(commands)

        # The run starts at the bookmarks that were set, and both streams are selected again.
        assert self.rows() == (20, 40)
        assert set(self.bookmarks().values()) == {LAST_END}

    def check_plain(self, commands: str) -> None:
        self.plain.mkdir()
        for name in (".env", "load.sh"):
            (self.plain / name).write_text(
                self.with_test_values(block(f"file: {name}").text), "utf-8"
            )

        self.newcomer.run(commands, self.plain)
        assert len(self.lines(self.plain, "calls")) == 30
        assert len(self.lines(self.plain, "call_participations")) == 60

        self.newcomer.run(commands, self.plain)
        # Calls from the last hour are read again.
        assert len(self.lines(self.plain, "calls")) == 50
        last = json.loads((self.plain / "states.jsonl").read_text("utf-8").splitlines()[-1])
        assert {each["replication_key_value"] for each in last["bookmarks"].values()} == {LAST_END}

    def check_sandbox_server(self, commands: str) -> None:
        with subprocess.Popen(
            ["bash", "-c", f"exec {commands}"],  # noqa: S607
            cwd=self.clone,
            env=self.newcomer.environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as server:
            assert server.stdout
            first, second, curl = (server.stdout.readline() for _ in range(3))
            try:
                assert first.startswith("export TAP_TUPLE_API_URL=http://127.0.0.1:")
                assert second.startswith("export TAP_TUPLE_API_TOKEN=sk-tuple-")
                assert curl.startswith("curl ")
                read = f"{first}{second}uvx --from . tap-tuple --config ENV --test"
                assert self.newcomer.run(read).count('{"type":"RECORD","stream":"calls"') == 1
            finally:
                os.killpg(server.pid, signal.SIGTERM)

    def check_views_of_files(self, commands: str) -> None:
        files = self.clone / "output"
        self.newcomer.run(commands)

        # Simulate the next run of target-jsonl, which writes newer files.
        (line,) = (each for each in self.lines(files, "calls") if '"id": 1,' in each)
        changed = json.loads(line) | {"duration_seconds": 77}
        (files / "calls-99991231T235959.jsonl").write_text(json.dumps(changed) + "\n", "utf-8")
        query = "SELECT count(*), max(duration_seconds) FILTER (WHERE id = 1) FROM tuple.calls"
        command = f"uvx --from 'duckdb-cli<2' duckdb files.duckdb -csv -noheader '{query}'"
        assert self.newcomer.run(command).splitlines()[-1] == "30,77"

        for path in files.glob("*.jsonl"):
            path.unlink()
        self.newcomer.run("meltano state clear --force dev:tap-tuple-to-target-jsonl")

    def check_selection(self, commands: str) -> None:
        before = (self.clone / "meltano.yml").read_text("utf-8")
        printed = self.newcomer.run(commands)
        (self.clone / "meltano.yml").write_text(before, "utf-8")

        _, _, selected = printed.rpartition("Selected properties:")
        assert "call_participations.call_id" in selected
        assert "calls.started_at" in selected
        assert "user_email" not in selected

    def check_newest_call(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "2026-03-02 09:20:00" in printed

    def check_look_closer(self, commands: str) -> None:
        self.sandbox.requests.clear()

        printed = self.newcomer.run(commands)

        assert printed.count('{"type":"RECORD","stream":"calls"') == 1
        assert '{"type":"RECORD","stream":"call_participations"' in printed
        assert len(self.sandbox.requests) == 1

    def check_query_postgres(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "last_paired_on" in printed

    def check_compare_months_in_postgres(self, commands: str) -> None:
        # Move a call to another month, so that there is a difference to show.
        self.execute("UPDATE tuple.calls SET ended_at = '2026-02-01' WHERE id = 1")

        printed = self.newcomer.run(f"{commands.rstrip()} || true")

        self.execute("UPDATE tuple.calls SET ended_at = '2026-03-02 09:01' WHERE id = 1")
        assert "2026-01" not in printed
        assert "> 2026-02,1\n" in printed

    def check_delete_in_postgres(self, commands: str) -> None:
        with psycopg.connect(self.warehouse) as database:
            add_deleted_calls(database)

        self.newcomer.run(commands)

        with psycopg.connect(self.warehouse) as database:
            assert remaining_deleted_calls(database) == [(AFTER_THE_LAST,), (AFTER_THE_LAST,)]
        self.execute("DELETE FROM tuple.calls WHERE id >= 900")
        self.execute("DELETE FROM tuple.call_participations WHERE call_id >= 900")
        assert self.rows() == (30, 60)

    def check_delete_in_duckdb(self, commands: str) -> None:
        with closing(duckdb.connect(self.clone / "team.duckdb")) as database:
            add_deleted_calls(database)

        self.newcomer.run(commands)

        with closing(duckdb.connect(self.clone / "team.duckdb")) as database:
            assert remaining_deleted_calls(database) == [(AFTER_THE_LAST,), (AFTER_THE_LAST,)]
            database.execute("DELETE FROM tuple.calls WHERE id >= 900")
            database.execute("DELETE FROM tuple.call_participations WHERE call_id >= 900")
            assert counts(database) == (30, 60)

    def check_remembered_state(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "calls: sent 30 rows" in printed
        with psycopg.connect(self.warehouse) as database:
            states = database.execute("SELECT state_id FROM public.state").fetchall()
        assert states == [(STATE,)]

    def check_views(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "person_a" in printed
        assert "@lumen.example" in printed

    def check_check(self, commands: str) -> None:
        printed = self.newcomer.run(commands)

        assert "holds        since is inclusive\n" in printed
        assert "differs" not in printed

    def check_compare_months(self, commands: str) -> None:
        self.newcomer.run(commands)

        with closing(duckdb.connect(self.clone / "team.duckdb")) as database:
            database.execute("DELETE FROM tuple.calls WHERE id = 100")
        printed = self.newcomer.run(f"{commands.rstrip()} || true")
        assert "< 2026-01,10\n---\n> 2026-01,9\n" in printed

    def execute(self, statement: str) -> None:
        """Execute a statement in PostgreSQL."""
        with psycopg.connect(self.warehouse) as database:
            database.execute(statement.encode())

    def rows(self) -> tuple[int, int]:
        """Count the rows in PostgreSQL."""
        with psycopg.connect(self.warehouse) as database:
            return counts(database)

    def bookmarks(self) -> dict[str, str]:
        """Read the bookmarks from Meltano's database. A partial state takes precedence."""
        with closing(sqlite3.connect(self.clone / ".meltano/meltano.db")) as database:
            query = "SELECT completed_state, partial_state FROM state WHERE state_id = ?"
            states = database.execute(query, (STATE,)).fetchone()
        bookmarks: dict[str, Any] = {}
        for state in filter(None, states):
            bookmarks |= json.loads(state).get("singer_state", {}).get("bookmarks", {})
        return {stream: each["replication_key_value"] for stream, each in bookmarks.items()}

    def extractor(self) -> dict[str, Any]:
        """Return tap-tuple's entry in meltano.yml."""
        project = YAML(typ="safe").load(self.clone / "meltano.yml")
        extractor: dict[str, Any] = project["plugins"]["extractors"][0]
        assert extractor["name"] == "tap-tuple"
        return extractor

    def lines(self, folder: Path, stream: str) -> list[str]:
        """Return the lines that target-jsonl wrote for a stream."""
        paths = folder.glob(f"{stream}-*.jsonl")
        return [line for path in paths for line in path.read_text("utf-8").splitlines()]


BETWEEN_OTHERS, AFTER_THE_LAST = 900, 901


def add_deleted_calls(database: Any) -> None:
    """Add calls that Tuple doesn't have: one between the others, and one after the last."""
    for number, end in ((BETWEEN_OTHERS, "2026-02-01"), (AFTER_THE_LAST, "2030-01-01")):
        database.execute(
            f"INSERT INTO tuple.calls (id, ended_at) VALUES ({number}, '{end}')"  # noqa: S608
        )
        database.execute(
            "INSERT INTO tuple.call_participations (id, call_id, call_ended_at) "  # noqa: S608
            f"VALUES ({number}, {number}, '{end}')"
        )


def remaining_deleted_calls(database: Any) -> list[tuple[int]]:
    """Return the ids of the added calls that remain in each table."""
    query = (
        "SELECT id FROM tuple.calls WHERE id >= 900 UNION ALL "
        "SELECT call_id FROM tuple.call_participations WHERE call_id >= 900"
    )
    rows: list[tuple[int]] = database.execute(query).fetchall()
    return rows


def counts(database: Any) -> tuple[int, int]:
    """Count the rows of both tables."""
    query = (
        "SELECT (SELECT count(*) FROM tuple.calls), "
        "(SELECT count(*) FROM tuple.call_participations)"
    )
    calls, participations = database.execute(query).fetchone()
    return calls, participations
