"""Unusual API data: nulls, new fields and invalid values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox import faults
from tests.conftest import bookmarks, config_for, make_calls, minute, record_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def test_null_and_missing_values_are_accepted(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(4)
    calls[0]["call_participations"][0]["user"] = None
    calls[0]["call_participations"][1]["user"] = {"email": None}
    calls[1]["call_participations"][0]["left_at"] = None
    calls[1]["call_participations"][1]["user"] = {}
    calls[2]["call_participations"] = []
    del calls[3]["call_participations"]
    calls[3]["started_at"] = None
    del calls[3]["duration_seconds"]

    run = tap(config=config_for(serve(calls)))

    emails = [row["user_email"] for row in run.records("call_participations")]
    assert emails == [None, None, "person0@lumen.example", None]
    assert run.records("call_participations")[2]["left_at"] is None
    assert run.records("calls")[3] == {
        "id": 4,
        "started_at": None,
        "ended_at": record_time(minute(4)),
        "duration_seconds": None,
    }
    assert run.returncode == 0


def test_new_field_logs_one_warning_per_run(tap: TapCommand, serve: Serve) -> None:
    calls = make_calls(30)
    for call in calls:
        call["room"] = {"name": "Lounge"}
        for participation in call["call_participations"]:
            participation["role"] = "host"
            participation["user"]["name"] = "canary"
            participation["user"]["canary@lumen.example"] = 1

    run = tap(config=config_for(serve(calls), page_size=10))

    assert run.ids("calls") == list(range(1, 31))
    for name in ("call.room", "call_participations.role", "user.name"):
        assert run.stderr.count(f"has a new field, '{name}'") == 1
    assert "canary" not in run.stdout + run.stderr
    assert run.stderr.count("WARNING") == 4


@pytest.mark.parametrize(
    "value",
    [b"1e999", b"1" * 5000, b'"\xff"', b"[" * 500 + b"]" * 500],
    ids=["too large", "too long", "not UTF-8", "too deep"],
)
def test_new_field_may_have_any_value(tap: TapCommand, serve: Serve, value: bytes) -> None:
    calls = make_calls(3)
    sandbox = serve(calls)
    body = (
        json.dumps(calls)
        .encode()
        .replace(b'"duration_seconds"', b'"room": %b, "duration_seconds"' % value)
    )
    sandbox.faults.append(faults.body(body))

    run = tap(config=config_for(sandbox))

    assert run.returncode == 0
    assert run.ids("calls") == [1, 2, 3]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", "abc", "Expected `int`, got `str` in 'id' of call number 3"),
        ("id", None, "Expected `int`, got `null` in 'id' of call number 3"),
        ("ended_at", None, "Expected `datetime`, got `null` in 'ended_at' of call 12"),
        ("ended_at", 1772442000000, "Timestamp is out of range  in 'ended_at' of call 12"),
        ("ended_at", True, "Expected `datetime`, got `bool` in 'ended_at' of call 12"),
        ("duration_seconds", 3600.5, "Expected `int | null`, got `float` in 'duration_seconds' of"),
        ("duration_seconds", "2147483648", "Expected `int` <= 2147483647 in 'duration_seconds' of"),
        ("ended_at", "", "Invalid RFC3339 encoded datetime in 'ended_at' of call 12"),
        (
            "started_at",
            "canary@lumen.example",
            "Invalid RFC3339 encoded datetime in 'started_at' of call 12",
        ),
        ("started_at", "0001-01-01T00:00:00+02:00", "outside the years 1 to 9999 of call 12"),
        ("duration_seconds", "long", "got `str` in 'duration_seconds' of call 12"),
        ("call_participations", {}, "got `object` in 'call_participations' of call 12"),
        (
            "call_participations",
            [{"id": 1, "user": "canary@lumen.example"}],
            "got `str` in 'call_participations[0].user' of call 12",
        ),
        (
            "call_participations",
            [{"user": None}],
            "missing required field `id` in 'call_participations[0]' of call 12",
        ),
    ],
)
def test_invalid_value_is_reported_before_its_page_is_written(
    tap: TapCommand, serve: Serve, field: str, value: Any, message: str
) -> None:
    sandbox = serve(make_calls(30))

    def make_invalid(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls[2][field] = value
        return calls

    sandbox.faults.extend([None, faults.edited(make_invalid)])
    run = tap(config=config_for(sandbox, page_size=10))

    assert run.returncode == 1
    assert run.ids("calls") == list(range(1, 11))
    assert len(run.ids("call_participations")) == 20
    assert bookmarks(run.state) == (minute(10), minute(10))
    (error,) = run.errors
    assert message in error
    assert "canary" not in run.stderr
