"""Decoding the calls in a response: nulls, odd types, new fields and invalid values."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_tuple.api.response import (
    MAX_REPORTED_FIELDS,
    InvalidResponseError,
    UnexpectedResponseError,
    decode_calls,
    find_new_fields,
    total_count,
    warn_about_new_fields,
)
from tap_tuple.sandbox import faults
from tests.conftest import bookmarks, config_for, make_call, make_calls, minute, record_time

if TYPE_CHECKING:
    from tap_tuple.api.response import Call
    from tests.conftest import SandboxFactory, TapCommand

SINCE = minute(0)
UNTIL = minute(60)


def make_response(
    headers: dict[str, str] | None = None, *, page: int | None = None
) -> requests.Response:
    """Make a response to a request for the calls from SINCE to UNTIL."""
    response = requests.Response()
    url = "https://tuple.example/api/v2/call_usage"
    query: dict[str, Any] = {"since": SINCE, "until": UNTIL}
    if page is not None:
        query["page"] = page
    response.request = requests.Request("GET", url, params=query).prepare()
    response.headers.update(headers or {})
    return response


def decode(
    calls: Any, headers: dict[str, str] | None = None, *, page: int | None = None
) -> list[Call]:
    body = calls if isinstance(calls, bytes) else json.dumps(calls).encode()
    return decode_calls(body, make_response(headers, page=page))


class TestDecoding:
    def test_numbers_may_be_strings_or_end_in_point_zero(self) -> None:
        call: dict[str, Any] = make_call(1)
        call |= {"id": "1", "duration_seconds": 3600.0}
        call["call_participations"][0]["id"] = "10"

        (decoded,) = decode([call])

        assert (decoded.id, decoded.duration_seconds) == (1, 3600)
        assert decoded.call_participations
        assert decoded.call_participations[0].id == 10

    def test_timestamps_are_converted_to_utc(self) -> None:
        (decoded,) = decode([make_call(1, ended_at="2026-03-02T11:00:01+02:00")])

        assert decoded.ended_at == datetime.fromisoformat("2026-03-02T09:00:01Z")
        assert decoded.ended_at.isoformat() == "2026-03-02T09:00:01+00:00"

    @pytest.mark.parametrize(
        "body", [b"<html>canary", b'{"calls": []}', b"[1]", b"[", b"", b"[\xff\xfe1]", b"[[]]"]
    )
    def test_body_that_is_not_a_list_of_objects_is_retried(self, body: bytes) -> None:
        with pytest.raises(InvalidResponseError) as error:
            decode(body)

        assert str(error.value) == "Tuple sent something other than a JSON array of calls"

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("id", "abc", "Expected `int`, got `str` in 'id' of call number 3"),
            ("id", None, "Expected `int`, got `null` in 'id' of call number 3"),
            ("id", 2**63, "Expected `int` <= 9223372036854775807 in 'id' of call"),
            ("ended_at", None, "Expected `datetime`, got `null` in 'ended_at' of call 12"),
            ("ended_at", 1772442000000, "Timestamp is out of range in 'ended_at' of call 12"),
            ("ended_at", True, "Expected `datetime`, got `bool` in 'ended_at' of call 12"),
            (
                "duration_seconds",
                3600.5,
                "Expected `int | null`, got `float` in 'duration_seconds' of",
            ),
            (
                "duration_seconds",
                -2147483649,
                "Expected `int` >= -2147483648 in 'duration_seconds' of call 12",
            ),
            (
                "duration_seconds",
                "2147483648",
                "Expected `int` <= 2147483647 in 'duration_seconds' of",
            ),
            ("ended_at", "", "Invalid RFC3339 encoded datetime in 'ended_at' of call 12"),
            (
                "started_at",
                "canary@lumen.example",
                "Invalid RFC3339 encoded datetime in 'started_at' of call 12",
            ),
            (
                "started_at",
                "0001-01-01T00:00:00+02:00",
                "a timestamp outside the years 1 to 9999 in call 12",
            ),
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
    def test_invalid_value_is_located_but_not_quoted(
        self, field: str, value: Any, message: str
    ) -> None:
        calls = make_calls(20)[9:]
        calls[2][field] = value

        with pytest.raises(UnexpectedResponseError) as error:
            decode(calls)

        assert message in str(error.value)
        assert ". No rows from this page of calls were written. Look for" in str(error.value)
        assert "canary" not in str(error.value)

    @pytest.mark.parametrize("call_id", [True, 10**4000, "12"], ids=["boolean", "huge", "text"])
    def test_unusable_id_is_replaced_by_the_position(self, call_id: Any) -> None:
        calls = make_calls(3)
        calls[1] |= {"id": call_id, "started_at": "canary"}

        with pytest.raises(UnexpectedResponseError, match="of call number 2"):
            decode(calls)


class TestPlausibility:
    """A page has to match its query. If it doesn't, the request is repeated."""

    @pytest.mark.parametrize("seconds_outside", [0, 1])
    def test_rounded_times_at_the_limits_are_accepted(self, seconds_outside: int) -> None:
        first = make_call(1, ended_at=minute(-seconds_outside / 60))
        last = make_call(2, ended_at=minute(60 + (seconds_outside - 0.001) / 60))

        assert len(decode([first, last])) == 2

    @pytest.mark.parametrize("end", [-1.001 / 60, 60 + 1 / 60])
    def test_calls_outside_the_time_range_are_rejected(self, end: float) -> None:
        with pytest.raises(InvalidResponseError, match="from outside the requested time range"):
            decode([make_call(1, ended_at=minute(end))])

    def test_unsorted_calls_are_rejected(self) -> None:
        with pytest.raises(InvalidResponseError, match="aren't sorted by ended_at"):
            decode(make_calls(2)[::-1])

    @pytest.mark.parametrize(
        "headers", [{"X-Total-Count": "1"}, {"Link": '<https://tuple.example>; rel="next"'}]
    )
    def test_empty_page_1_contradicts_its_headers(self, headers: dict[str, str]) -> None:
        with pytest.raises(InvalidResponseError, match="no calls although it reported some"):
            decode([], headers)

        assert decode([], headers, page=2) == []

    @pytest.mark.parametrize("headers", [{}, {"X-Total-Count": "0"}, {"X-Total-Count": "many"}])
    def test_empty_page_without_contradiction_is_accepted(self, headers: dict[str, str]) -> None:
        assert decode([], headers) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("120", 120),
        ("9" * 12, 999_999_999_999),
        ("9" * 13, None),
        ("9" * 5000, None),
        ("-1", None),
        ("many", None),
        ("", None),
    ],
)
def test_total_count_is_used_only_if_plausible(text: str, count: int | None) -> None:
    assert total_count(make_response({"X-Total-Count": text})) == count


class TestNewFields:
    def test_new_fields_are_found_at_every_level(self) -> None:
        call: dict[str, Any] = make_call(1)
        call["topic"] = {"name": "Lounge"}
        call["call_participations"][0]["role"] = "host"
        call["call_participations"][1]["user"]["name"] = "canary"

        assert sorted(find_new_fields([call])) == [
            "call.topic",
            "call_participations.role",
            "user.name",
        ]

    def test_names_that_may_be_data_are_not_printed(self) -> None:
        call = make_call(1) | {"canary@lumen.example": 1, "a" * 41: 1}

        assert list(find_new_fields([call])) == ["call.<unnamed>", f"call.{'a' * 40}"]

    def test_at_most_ten_fields_are_reported(self, caplog: pytest.LogCaptureFixture) -> None:
        call = make_call(1) | {f"new_{number}": 1 for number in range(11)}

        warn_about_new_fields(json.dumps([call, call]).encode(), logging.getLogger("test"))

        assert len(caplog.records) == MAX_REPORTED_FIELDS


def test_null_and_missing_values_are_accepted(tap: TapCommand, serve: SandboxFactory) -> None:
    calls = make_calls(4)
    calls[0]["call_participations"][0]["user"] = None
    calls[0]["call_participations"][1]["user"] = {"email": None}
    calls[1]["call_participations"][0] |= {"joined_at": None, "left_at": None}
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


def test_new_field_logs_one_warning_per_run(tap: TapCommand, serve: SandboxFactory) -> None:
    calls = make_calls(30)
    for call in calls:
        call["topic"] = {"name": "Lounge"}
        for participation in call["call_participations"]:
            participation["role"] = "host"
            participation["user"]["name"] = "canary"
            participation["user"]["canary@lumen.example"] = 1

    run = tap(config=config_for(serve(calls), page_size=10))

    assert run.ids("calls") == list(range(1, 31))
    for name in ("call.topic", "call_participations.role", "user.name"):
        assert run.stderr.count(f"has a new field, '{name}'") == 1
    assert "canary" not in run.stdout
    assert run.stderr.count("WARNING") == 4


@pytest.mark.parametrize(
    "value",
    [b"1e999", b"1" * 5000, b'"\xff"', b"[" * 500 + b"]" * 500],
    ids=["too large", "too long", "not UTF-8", "too deep"],
)
def test_new_field_may_have_any_value(tap: TapCommand, serve: SandboxFactory, value: bytes) -> None:
    calls = make_calls(3)
    sandbox = serve(calls)
    body = (
        json.dumps(calls)
        .encode()
        .replace(b'"duration_seconds"', b'"topic": %b, "duration_seconds"' % value)
    )
    sandbox.faults.append(faults.body(body))

    run = tap(config=config_for(sandbox))

    assert run.returncode == 0
    assert run.ids("calls") == [1, 2, 3]


def test_invalid_value_is_reported_before_its_page_is_written(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    sandbox = serve(make_calls(30))

    def make_invalid(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls[2]["started_at"] = "canary@lumen.example"
        return calls

    sandbox.faults.extend([None, faults.edited(make_invalid)])
    run = tap(config=config_for(sandbox, page_size=10))

    assert run.ids("calls") == list(range(1, 11))
    assert len(run.ids("call_participations")) == 20
    assert bookmarks(run.state) == (minute(10), minute(10))
    assert "Invalid RFC3339 encoded datetime in 'started_at' of call 12" in run.only_error
