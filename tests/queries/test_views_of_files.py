"""The views in ``queries/views_of_files.sql``, which read target-jsonl's files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from tests.docs.columns import documented_types
from tests.queries.warehouse import QUERIES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CALL = {
    "id": 1,
    "started_at": "2026-03-02T09:00:00Z",
    "ended_at": "2026-03-02T09:30:00.500000Z",
    "duration_seconds": 1800,
}
STAY = {
    "id": 2,
    "call_id": 1,
    "call_ended_at": CALL["ended_at"],
    "joined_at": CALL["started_at"],
    "left_at": None,
    "user_email": "a@lumen.example",
}


def test_views_show_the_latest_version_of_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "calls-20260302T100000": [CALL, CALL | {"id": 9}],
        "calls-20260302T110000": [CALL | {"duration_seconds": 60}, CALL | {"duration_seconds": 61}],
        "call_participations-20260302T100000": [STAY],
        "call_participations-20260302T110000": [STAY | {"user_email": None}],
    }
    output = tmp_path / "output"
    output.mkdir()
    for name, rows in files.items():
        lines = [json.dumps(row) + "\n" for row in rows]
        (output / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    monkeypatch.chdir(tmp_path)

    with duckdb.connect() as database:
        for _ in range(2):
            database.execute((QUERIES / "views_of_files.sql").read_text("utf-8"))
        calls = database.execute(
            'SELECT id, duration_seconds, ended_at::text FROM "tuple".calls ORDER BY id'
        ).fetchall()
        stays = database.execute('SELECT id, user_email FROM "tuple".call_participations')
        assert stays.fetchall() == [(2, None)]
        types = database.execute(
            "SELECT table_name || '.' || column_name, lower(data_type) "
            "FROM information_schema.columns WHERE table_schema = 'tuple'"
        ).fetchall()

    assert calls == [(1, 61, "2026-03-02 09:30:00.5"), (9, 1800, "2026-03-02 09:30:00.5")]
    assert dict(types) == documented_types("DuckDB")
