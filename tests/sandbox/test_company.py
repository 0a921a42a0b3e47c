"""The fictional company whose calls the sandbox serves: consistent and realistic."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.sandbox.company import FIRST_NAMES, LAST_NAMES, ONE_YEAR, Company

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_tuple.sandbox.company import Call

NOW = datetime(2026, 3, 18, 14, 0, tzinfo=UTC)  # a Wednesday afternoon in Europe
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ONE_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def company() -> Company:
    return Company()


@pytest.fixture(scope="module")
def year(company: Company) -> list[Call]:
    return company.calls(NOW)


def participations(calls: list[Call]) -> Iterator[tuple[Call, dict[str, Any]]]:
    for call in calls:
        for participation in call["call_participations"]:
            yield call, participation


def email(participation: dict[str, Any]) -> str | None:
    user = participation["user"]
    return user["email"] if user else None


def pairing_days(calls: list[Call]) -> dict[str, list[datetime]]:
    """Return the days, in order, on which each person was in a call with someone else."""
    days = defaultdict(set)
    for call, participation in participations(calls):
        if len(call["call_participations"]) > 1 and (person := email(participation)):
            days[person].add(call["started_at"][:10])
    return {
        person: [parse_time(f"{day}T00:00Z") for day in sorted(days[person])] for person in days
    }


def parse_time(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


def digest(calls: list[Call]) -> str:
    return hashlib.sha256(json.dumps(calls).encode()).hexdigest()[:16]


def test_calls_are_the_same_in_every_python_version() -> None:
    midnight = datetime(2026, 3, 17, tzinfo=UTC)
    monday = Company(history=ONE_DAY).calls(midnight)
    assert len(monday) == 50
    assert digest(monday) == "feeb0dd304c57474"


def test_seed_determines_the_calls() -> None:
    week = timedelta(days=7)
    assert Company(1, history=week).calls(NOW) == Company(1, history=week).calls(NOW)
    assert Company(1, history=week).calls(NOW) != Company(2, history=week).calls(NOW)


def test_new_day_replaces_the_oldest_day() -> None:
    midnight = datetime(2026, 3, 18, tzinfo=UTC)
    company = Company(history=timedelta(days=30))
    today = company.calls(midnight)
    tomorrow = company.calls(midnight + ONE_DAY)

    first_day, second_day = "2026-02-16", "2026-02-17"
    assert today[0]["started_at"].startswith(first_day)
    assert tomorrow[0]["started_at"].startswith(second_day)
    kept = [call for call in today if call["started_at"] >= second_day]
    assert tomorrow[: len(kept)] == kept
    assert {call["started_at"][:10] for call in tomorrow[len(kept) :]} == {"2026-03-18"}


def test_calls_do_not_depend_on_earlier_requests(company: Company, year: list[Call]) -> None:
    company.calls(NOW + timedelta(days=100))
    assert company.calls(NOW) == year


def test_days_outside_the_history_are_forgotten() -> None:
    company = Company(history=timedelta(days=2))
    for days in range(20):
        company.calls(NOW + timedelta(days=days))
    assert len(company._days) == 3  # noqa: SLF001 - the bound is not visible from outside


def test_each_day_is_generated_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    company = Company(history=ONE_DAY)
    before = company.calls(NOW)
    monkeypatch.setattr(
        Company, "_calls_of", lambda _company, day: pytest.fail(f"{day} was generated again")
    )
    assert company.calls(NOW) == before


def test_calls_appear_only_after_they_end() -> None:
    company = Company(history=timedelta(0))
    whole_day = company.calls(NOW.replace(hour=23, minute=59, second=59, microsecond=999_999))
    under_way = [
        c for c in whole_day if parse_time(c["started_at"]) <= NOW <= parse_time(c["ended_at"])
    ]
    assert under_way

    for call in under_way:
        ended_at = parse_time(call["ended_at"])
        assert call not in company.calls(NOW)
        assert call not in company.calls(ended_at)
        assert call in company.calls(ended_at + timedelta(microseconds=1))


def test_clock_can_use_any_time_zone(company: Company, year: list[Call]) -> None:
    assert company.calls(NOW.astimezone(timezone(timedelta(hours=14)))) == year


def test_calls_are_sorted_as_in_the_api(year: list[Call]) -> None:
    assert year == sorted(year, key=lambda call: (call["ended_at"], call["id"]))


def test_calls_are_formatted_as_in_the_api(year: list[Call]) -> None:
    for call in year:
        assert list(call) == [
            "id",
            "started_at",
            "ended_at",
            "duration_seconds",
            "call_participations",
        ]
        assert TIMESTAMP.fullmatch(call["started_at"])
        assert TIMESTAMP.fullmatch(call["ended_at"])
        duration = parse_time(call["ended_at"]) - parse_time(call["started_at"])
        assert call["duration_seconds"] == duration // timedelta(seconds=1)
    for _, participation in participations(year):
        assert list(participation) == ["id", "joined_at", "left_at", "user"]
        assert TIMESTAMP.fullmatch(participation["joined_at"])
        assert participation["left_at"] is None or TIMESTAMP.fullmatch(participation["left_at"])
        assert re.fullmatch(
            r"[a-z]+\.[a-z]+@lumen\.example", email(participation) or "a.b@lumen.example"
        )


def test_ids_are_unique_ascending_and_fit_into_32_bits(year: list[Call]) -> None:
    by_id = sorted(year, key=lambda call: call["id"])
    assert all(a["id"] < b["id"] for a, b in pairwise(by_id))
    assert all(a["started_at"] <= b["started_at"] for a, b in pairwise(by_id))

    ids = [participation["id"] for _, participation in participations(year)]
    assert len(set(ids)) == len(ids)
    assert 0 < min(ids) < max(ids) < 2**31
    assert 0 < by_id[0]["id"] < by_id[-1]["id"] < 2**31


def test_call_lasts_from_first_to_last_participant(year: list[Call]) -> None:
    for call in year:
        joined = [p["joined_at"] for p in call["call_participations"]]
        left = [p["left_at"] for p in call["call_participations"]]
        if left:
            assert min(joined) == call["started_at"]
        if left and None not in left:
            assert max(left) == call["ended_at"]


def test_nobody_is_in_two_calls_at_the_same_time(year: list[Call]) -> None:
    stays = defaultdict(list)
    for call, participation in participations(year):
        # Without left_at, only the time of joining is certain.
        left_at = participation["left_at"] or participation["joined_at"]
        assert participation["joined_at"] <= left_at <= call["ended_at"]
        if person := email(participation):
            stays[person].append((participation["joined_at"], left_at))
    for person, times in stays.items():
        for (_, left_at), (joined_at, _) in pairwise(sorted(times)):
            assert left_at <= joined_at, person


def test_people_rejoin_a_few_percent_of_calls(year: list[Call]) -> None:
    rejoined = 0
    for call in year:
        people = [p for p in map(email, call["call_participations"]) if p]
        rejoined += len(set(people)) < len(people)
    assert 0.01 < rejoined / len(year) < 0.1


def test_volume_matches_a_company_of_sixty_people(year: list[Call]) -> None:
    assert 9_000 < len(year) < 13_000
    assert 25_000 < sum(1 for _ in participations(year)) < 30_000
    month = [call for call in year if call["started_at"] >= "2026-02-18"]
    assert 55 <= len({email(participation) for _, participation in participations(month)}) <= 65


def test_weekends_holidays_and_lunch_are_quieter(year: list[Call]) -> None:
    starts = [parse_time(call["started_at"]) for call in year]
    weekend = sum(start.weekday() >= 5 for start in starts)
    assert 0 < weekend < len(starts) / 50

    monthly = {month: sum(start.month == month for start in starts) for month in range(1, 13)}
    assert max(monthly[8], monthly[12]) < 0.9 * mean(monthly.values())

    hourly = {hour: sum(start.hour == hour for start in starts) for hour in range(24)}
    # Lunchtime in the teams at UTC+2, before the others start work
    assert hourly[10] < hourly[9] / 2
    assert hourly[3] == 0


def test_calls_vary_in_size_and_length(year: list[Call]) -> None:
    sizes = [len({email(p) for p in call["call_participations"]}) for call in year]
    assert sizes.count(2) > len(sizes) / 2
    assert all(sizes.count(size) > 20 for size in (1, 3, 4, 5, 6))

    minutes = [call["duration_seconds"] / 60 for call in year]
    assert sum(m < 1 for m in minutes) > 100
    assert sum(m > 120 for m in minutes) > 100
    assert max(minutes) <= 180


def test_people_have_favorite_partners(year: list[Call]) -> None:
    partners: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for call in year:
        people = {person for p in call["call_participations"] if (person := email(p))}
        if len(people) == 2:
            a, b = people
            partners[a][b] += 1
            partners[b][a] += 1
    favorites = [
        sum(sorted(times.values())[-2:]) / sum(times.values()) for times in partners.values()
    ]
    assert mean(favorites) > 0.5
    assert mean(len(times) for times in partners.values()) > 8


def test_people_join_and_leave_the_company(year: list[Call]) -> None:
    regulars = {person: days for person, days in pairing_days(year).items() if len(days) > 25}
    two_months = timedelta(days=60)
    newcomers = [
        days
        for days in regulars.values()
        if days[0] > parse_time(year[0]["started_at"]) + two_months
    ]
    leavers = [days for days in regulars.values() if days[-1] < NOW - two_months]
    assert 2 < len(newcomers) < 25
    assert 2 < len(leavers) < 25


def test_some_newcomers_have_solo_calls_before_they_pair(year: list[Call]) -> None:
    seen: dict[str, datetime] = {}
    for call, participation in participations(year):
        if person := email(participation):
            seen.setdefault(person, parse_time(f"{call['started_at'][:10]}T00:00Z"))
    paired = {person: days[0] for person, days in pairing_days(year).items() if len(days) > 25}
    two_months = timedelta(days=60)
    newcomers = [person for person in paired if seen[person] > NOW - ONE_YEAR + two_months]

    waits = sorted((paired[person] - seen[person]).days for person in newcomers)
    assert waits[0] == 0
    assert sum(wait > 0 for wait in waits) > len(waits) / 3
    assert 3 < waits[-1] < 30


def test_some_people_rarely_pair(year: list[Call]) -> None:
    three_months = timedelta(days=90)
    stayed = [days for days in pairing_days(year).values() if days[-1] - days[0] > three_months]
    assert 2 < sum(len(days) < (days[-1] - days[0]).days / 7 for days in stayed) < 10


def test_people_go_on_vacation(year: list[Call]) -> None:
    autumn = [call for call in year if "2025-09-01" <= call["started_at"] < "2025-12-01"]
    breaks = [
        max(b - a for a, b in pairwise(days))
        for days in pairing_days(autumn).values()
        if len(days) > 25
    ]
    assert sum(pause > timedelta(days=9) for pause in breaks) > len(breaks) / 4


def test_undocumented_cases_occur_but_are_rare(year: list[Call]) -> None:
    everybody = [participation for _, participation in participations(year)]
    assert 5 < sum(p["user"] is None for p in everybody) < 100
    assert 5 < sum(p["user"] == {"email": None} for p in everybody) < 100
    assert 30 < sum(p["left_at"] is None for p in everybody) < 200
    assert 1 < sum(not call["call_participations"] for call in year) < 30


def test_names_are_unique() -> None:
    people = {
        (FIRST_NAMES[n % len(FIRST_NAMES)], LAST_NAMES[n % len(LAST_NAMES)])
        for n in range(len(FIRST_NAMES) * len(LAST_NAMES))
    }
    assert len(people) == len(FIRST_NAMES) * len(LAST_NAMES)
