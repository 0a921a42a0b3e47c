"""Each statement holds for the sandbox, and its verdict is `differs` for a deviating server."""

from __future__ import annotations

import time
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tap_tuple.check.outcomes import Verdict
from tap_tuple.check.probe import Probe
from tap_tuple.check.responses import Responses
from tap_tuple.check.statements import STATEMENTS, check_all, order_of_magnitude
from tap_tuple.sandbox import CallLog, Sandbox, faults
from tap_tuple.sandbox.server import Response
from tap_tuple.streams import Calls
from tap_tuple.tap import TapTuple
from tests.check.deviations import DEVIATIONS, DeviatingSandbox, with_header
from tests.conftest import FIRST_END, config_for, make_call, make_calls

if TYPE_CHECKING:
    from tap_tuple.check.outcomes import Outcome
    from tap_tuple.sandbox.company import Call
    from tests.check.deviations import Deviation, Documented, Headers, Query
    from tests.conftest import SandboxFactory

    Outcomes = dict[str, Outcome]

TIE_ORDER = "Order of calls with the same ended_at"
CONTRADICTIONS = [
    pytest.param(statement, deviation, id=f"{statement}: {name}")
    for statement, deviations in DEVIATIONS.items()
    for name, deviation in deviations.items()
]


def probe_of(sandbox: Sandbox, max_requests: int | None = 30) -> Probe:
    tap = TapTuple(config=config_for(sandbox, requests_per_minute=10_000))
    return Probe(Calls(tap), tap.logger, max_requests)


def check(sandbox: Sandbox) -> Outcomes:
    """Check all statements."""
    results = check_all(Responses(probe_of(sandbox)))
    return {result.statement.text: result.outcome for result in results}


def statements_with(verdict: Verdict, outcomes: Outcomes) -> set[str]:
    return {text for text, outcome in outcomes.items() if outcome.verdict is verdict}


def calls_with_milliseconds(count: int) -> list[Call]:
    """Return calls whose end times have nonzero milliseconds."""
    return [
        make_call(number, ended_at=FIRST_END + timedelta(minutes=number, milliseconds=564))
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [250, 2345])
def test_everything_holds_for_the_sandbox(serve: SandboxFactory, count: int) -> None:
    sandbox = serve(make_calls(count))

    outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == set()
    assert statements_with(Verdict.NOT_CHECKED, outcomes) <= {TIE_ORDER, "Time for a page of 1000"}
    assert len(sandbox.requests) <= 20


@pytest.mark.parametrize(("statement", "deviation"), CONTRADICTIONS)
def test_only_the_contradicted_statement_differs(statement: str, deviation: Deviation) -> None:
    with DeviatingSandbox(CallLog(calls_with_milliseconds(250)), deviation) as sandbox:
        outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == {statement}
    assert outcomes[statement].detail


@pytest.mark.parametrize(
    "statement",
    [
        "since is inclusive",
        "since is as precise as ended_at",
        "until is exclusive",
        "until is as precise as ended_at",
    ],
)
def test_limits_are_checked_with_whole_seconds(statement: str) -> None:
    (deviation,) = DEVIATIONS[statement].values()

    with DeviatingSandbox(CallLog(make_calls(250)), deviation) as sandbox:
        outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == {statement}


def test_every_statement_that_can_differ_has_a_deviating_server(serve: SandboxFactory) -> None:
    outcomes = check(serve(make_calls(1001)))

    # A rejected token ends the check.
    can_differ = statements_with(Verdict.HOLDS, outcomes) - {"The token is accepted"}
    assert can_differ == set(DEVIATIONS)


def test_statement_texts_are_unique() -> None:
    assert len({statement.text for statement in STATEMENTS}) == len(STATEMENTS)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 101, 999, 1000, 1001])
def test_small_teams_cause_no_false_alarms(serve: SandboxFactory, count: int) -> None:
    outcomes = check(serve(make_calls(count)))

    assert statements_with(Verdict.DIFFERS, outcomes) == set()


@pytest.mark.parametrize("seed", range(5))
def test_calls_with_the_same_end_cause_no_false_alarms(serve: SandboxFactory, seed: int) -> None:
    ends = [FIRST_END + timedelta(minutes=(number + seed) // 4) for number in range(1500)]
    calls = [make_call(number, ended_at=end) for number, end in enumerate(ends, start=1)]

    outcomes = check(serve(calls))

    assert statements_with(Verdict.DIFFERS, outcomes) == set()
    assert outcomes["Calls with the same ended_at"].detail == "some"
    assert outcomes[TIE_ORDER].detail == "stable"


def test_changing_order_of_calls_with_the_same_end_is_observed(serve: SandboxFactory) -> None:
    early = make_calls(10)
    ties = [make_call(number, ended_at=FIRST_END + timedelta(days=1)) for number in range(20, 40)]
    log = CallLog([*early, *ties, make_call(99, ended_at=FIRST_END + timedelta(days=2))])
    log.shuffle_ties = Random(1)  # noqa: S311 - a random order

    assert check(serve(log))[TIE_ORDER].detail == "changes from request to request"


def test_deletion_during_the_check_is_not_a_difference(serve: SandboxFactory) -> None:
    log = CallLog(make_calls(250))

    def delete_first_call(request_number: int) -> None:
        if request_number == 2:
            log.delete(1)

    outcomes = check(serve(log, on_request=delete_first_call))

    assert statements_with(Verdict.DIFFERS, outcomes) == set()
    assert "Run the check again" in outcomes["Page 2 continues page 1"].detail


@pytest.mark.parametrize("seed", range(6))
def test_reordered_ties_on_a_small_page_cause_no_false_alarms(
    serve: SandboxFactory, seed: int
) -> None:
    ties = [make_call(number, ended_at=FIRST_END) for number in range(1, 7)]
    random = Random(seed)  # noqa: S311 - a random order

    outcomes = check(serve(CallLog(ties, shuffle_ties=random)))

    assert statements_with(Verdict.DIFFERS, outcomes) == set()


@pytest.mark.parametrize("cap", [1000, 2000])
def test_capped_count_differs(cap: int) -> None:
    capped = with_header("X-Total-Count", lambda count: str(min(int(count), cap)))

    with DeviatingSandbox(CallLog(make_calls(cap + 500)), capped) as sandbox:
        outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == {"X-Total-Count is the number of calls"}


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_implausible_end_does_not_stop_the_check(serve: SandboxFactory, end: str) -> None:
    def replace_ends(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [call | {"ended_at": end} for call in calls]

    outcomes = check(serve(make_calls(1), every_response=faults.edited(replace_ends)))

    assert outcomes["since is inclusive"].verdict is Verdict.NOT_CHECKED


@pytest.mark.parametrize("call_id", [[918], {"id": 1}, None])
def test_ids_of_other_types_do_not_stop_the_check(serve: SandboxFactory, call_id: Any) -> None:
    def replace_ids(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [call | {"id": call_id} for call in calls]

    outcomes = check(serve(make_calls(1), every_response=faults.edited(replace_ids)))

    expected = Verdict.DIFFERS if call_id else Verdict.HOLDS
    assert outcomes["Fields have the documented types"].verdict is expected


def test_failed_repeat_does_not_hide_a_difference() -> None:
    exclusive = DEVIATIONS["since is inclusive"]["exclusive"]
    repeated = []

    def deviate(documented: Documented, query: Query, headers: Headers) -> Response:
        is_request_for_all = query.get("per_page") == "1000" and query["since"].startswith("1970")
        if is_request_for_all and "page" not in query and query["until"][:4] != "1970":
            repeated.append(query)
        if len(repeated) > 2:
            return Response(500, b"")
        return exclusive(documented, query, headers)

    with patch.object(time, "sleep"), DeviatingSandbox(CallLog(make_calls(9)), deviate) as sandbox:
        outcomes = check(sandbox)

    assert outcomes["since is inclusive"].verdict is Verdict.DIFFERS


def test_cookies_are_not_sent(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(3), every_response=faults.with_headers(Set_Cookie="session=1"))

    check(sandbox)

    assert not any("Cookie" in request.headers for request in sandbox.requests)


def test_server_error_is_reported_as_a_status(serve: SandboxFactory) -> None:
    failing = faults.status(500)
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([None, failing, failing])

    with patch.object(time, "sleep"):
        outcomes = check(sandbox)

    assert outcomes["Without a token, the status is 401"].detail == "it is 500"
    assert len(statements_with(Verdict.DIFFERS, outcomes)) == 1


def test_requests_are_limited(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(250))
    sandbox.faults.extend([None] + [faults.status(500)] * 60)

    with patch.object(time, "sleep"):
        outcomes = check(sandbox)

    assert len(sandbox.requests) == 30
    assert "too many requests" in outcomes["Page 2 continues page 1"].detail


@pytest.mark.parametrize("fault", [faults.reset, faults.status(503)], ids=["reset", "503"])
def test_outage_is_not_a_difference(serve: SandboxFactory, fault: Any) -> None:
    sandbox = serve(make_calls(250))
    sandbox.faults.extend([None, fault, fault])

    with patch.object(time, "sleep"):
        outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == set()
    assert outcomes["Without a token, the status is 401"].detail == "there was no response"


def test_check_waits_for_the_rate_limit(serve: SandboxFactory) -> None:
    sandbox = serve(make_calls(250))
    sandbox.faults.extend([None, faults.rate_limited("30")])

    with patch.object(time, "sleep") as sleep:
        outcomes = check(sandbox)

    assert statements_with(Verdict.DIFFERS, outcomes) == set()
    assert [call.args for call in sleep.call_args_list] == [(30,)]


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, "no headers"),
        (
            {"X_RateLimit_Remaining": "59", "X_Ratelimit_Limit": "60"},
            "x-ratelimit-limit, x-ratelimit-remaining",
        ),
        ({"X_RateLimit_Alice": "1"}, "no headers"),
    ],
    ids=["none", "known", "unknown"],
)
def test_rate_limit_headers_are_named(
    serve: SandboxFactory, headers: dict[str, Any], shown: str
) -> None:
    sandbox = serve(make_calls(3), every_response=faults.with_headers(**headers))

    assert check(sandbox)["Rate limit"].detail == shown


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ('</api?page=2>; rel="next"', "relative"),
        ('<https://canary.example/api?page=2>; rel="next"', "https, another host"),
        ('<ftp://canary.example/api?page=2>; rel="next"', "another scheme, another host"),
        ('<http://[/api>; rel="next"', "not a URL"),
    ],
)
def test_form_of_links_is_described(serve: SandboxFactory, link: str, shown: str) -> None:
    sandbox = serve(make_calls(3), every_response=faults.with_headers(Link=link))

    assert check(sandbox)["Format of the links"].detail == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "none"), (1, "1 to 9"), (9, "1 to 9"), (12_345, "10,000 to 99,999")]
)
def test_order_of_magnitude(count: int, shown: str) -> None:
    assert order_of_magnitude(count) == shown
