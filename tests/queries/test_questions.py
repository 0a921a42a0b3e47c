"""The queries in ``queries/``, run unchanged on databases like those that loaders fill."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.queries.warehouse import (
    DELETED,
    MONDAY,
    QUERIES,
    A,
    B,
    C,
    D,
    Warehouse,
    call,
    monday_call,
)

if TYPE_CHECKING:
    from tests.queries.warehouse import Call

COLUMNS = {
    "calls_and_people": ["first_call_on", "last_call_on", "calls", "people"],
    "calls_per_month": ["month", "calls"],
    "first_pairing_of_newcomers": [
        "user_email",
        "first_seen_on",
        "first_paired_on",
        "first_paired_with",
        "days_between",
    ],
    "hours_paired_per_person_and_week": ["user_email", "week", "hours"],
    "last_time_together": ["person_a", "person_b", "last_paired_on"],
    "length_of_calls": ["calls", "median_minutes", "ninetieth_percentile_minutes"],
    "not_paired_for_two_weeks": ["user_email", "last_paired_on", "last_seen_on"],
    "people_with_few_partners": ["user_email", "partners"],
    "share_of_calls_by_size": ["participants", "calls", "percent"],
    "who_pairs_with_whom": ["person_a", "person_b", "calls", "minutes"],
}

MINUTES_A_DAY = 24 * 60
MILLISECOND = 1 / 60_000  # in minutes

calls_without_pairing = pytest.mark.parametrize(
    "calls",
    [
        pytest.param((monday_call(60),), id="empty call"),
        pytest.param((monday_call(60, (A, 0, 60)),), id="solo call"),
        pytest.param((monday_call(60, (A, 0, 60), (A, 10, 50)),), id="one person on two devices"),
        pytest.param((monday_call(60, (A, 0, 30), (B, 30, 60)),), id="B joins as A leaves"),
        pytest.param((monday_call(60, (A, 30, 60), (B, 0, 30)),), id="A joins as B leaves"),
        pytest.param((monday_call(60, (A, 0, 20), (B, 40, 60)),), id="B joins after A left"),
        pytest.param((monday_call(60, (A, 40, 60), (B, 0, 20)),), id="A joins after B left"),
        pytest.param((monday_call(60, (A, 0, 60), (B, 30, 30)),), id="zero-length stay"),
        pytest.param(
            (monday_call(60, (A, 0, 60)), monday_call(60, (B, 0, 60))), id="two simultaneous calls"
        ),
    ],
)


def test_every_query_is_tested() -> None:
    names = {path.stem for path in QUERIES.glob("*.sql")}

    assert names - {"delete_unrefreshed", "views", "views_of_files"} == set(COLUMNS)


@pytest.mark.parametrize("query", COLUMNS)
def test_empty_tables_return_columns_without_rows(warehouse: Warehouse, query: str) -> None:
    assert warehouse.run_query(query) == []
    assert warehouse.columns(query) == COLUMNS[query]


class TestCallsPerMonth:
    query = "calls_per_month"

    def test_calls_count_in_the_month_they_ended(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-03-31 23:30", 60),
            call("2026-03-31 23:30", 29),
            call("2026-01-01 00:00", 0),
            call("2025-12-31 23:59", 0.5),
        )

        assert warehouse.run_query(self.query) == [
            ("2025-12", 1),
            ("2026-01", 1),
            ("2026-03", 1),
            ("2026-04", 1),
        ]


class TestCallsAndPeople:
    query = "calls_and_people"

    def test_range_spans_the_first_start_to_the_last_end(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-03-03 09:00", 60),
            call("2026-03-09 22:00", 150, (B, 0, 60), (DELETED, 0, 60)),
            call("2026-03-09 23:30", 15, (A, 0, 15)),
            monday_call(60, (A, 0, 30), (A, 40, None), (B, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [(MONDAY, date(2026, 3, 10), 4, 2)]

    def test_calls_without_participations_are_counted(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60), monday_call(60))

        assert warehouse.run_query(self.query) == [(MONDAY, MONDAY, 2, 0)]


class TestHoursPaired:
    query = "hours_paired_per_person_and_week"

    def test_only_time_with_others_counts(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(90, (A, 0, 60), (B, 30, 90)))

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("0.50")),
            (B, MONDAY, Decimal("0.50")),
        ]

    def test_time_between_leaving_and_rejoining_is_left_out(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(120, (A, 0, 30), (A, 60, 120), (B, 0, 120)))

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("1.50")),
            (B, MONDAY, Decimal("1.50")),
        ]

    def test_overlapping_stays_of_a_person_count_once(self, warehouse: Warehouse) -> None:
        stays = ((A, 0, 60), (A, 10, 20), (A, 30, 90), (A, 30, 90), (B, 0, 120), (B, 45, 90))
        warehouse.load(monday_call(120, *stays))

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("1.50")),
            (B, MONDAY, Decimal("1.50")),
        ]

    def test_time_with_two_others_counts_once(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(180, (A, 0, 180), (B, 0, 60), (C, 30, 120)))

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("2.00")),
            (C, MONDAY, Decimal("1.50")),
            (B, MONDAY, Decimal("1.00")),
        ]

    def test_time_in_two_simultaneous_calls_counts_once(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 0, 60)), monday_call(90, (A, 30, 90), (C, 30, 90))
        )

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("1.50")),
            (B, MONDAY, Decimal("1.00")),
            (C, MONDAY, Decimal("1.00")),
        ]

    def test_missing_left_at_means_the_end_of_the_call(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, None), (B, 15, None)))

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, Decimal("0.75")),
            (B, MONDAY, Decimal("0.75")),
        ]

    def test_deleted_account_counts_only_as_a_partner(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (DELETED, 0, 45)),
            monday_call(60, (DELETED, 0, 60), (DELETED, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [(A, MONDAY, Decimal("0.75"))]

    @calls_without_pairing
    def test_week_without_pairing_is_left_out(
        self, warehouse: Warehouse, calls: tuple[Call, ...]
    ) -> None:
        warehouse.load(call("2026-02-23 09:00", 15, (A, 0, 15), (B, 0, 15)), *calls)

        assert warehouse.run_query(self.query) == [
            (A, date(2026, 2, 23), Decimal("0.25")),
            (B, date(2026, 2, 23), Decimal("0.25")),
        ]

    def test_time_counts_in_the_week_it_began(self, warehouse: Warehouse) -> None:
        sunday, next_monday = date(2026, 3, 8), date(2026, 3, 9)
        warehouse.load(
            call(f"{MONDAY} 00:00", 30, (A, 0, 30), (B, 0, 30)),
            call(f"{sunday} 23:00", 120, (A, 30, 120), (B, 0, 120), (C, 75, 120)),
        )

        assert warehouse.run_query(self.query) == [
            (C, next_monday, Decimal("0.75")),
            (A, MONDAY, Decimal("2.00")),
            (B, MONDAY, Decimal("2.00")),
        ]


class TestWhoPairsWithWhom:
    query = "who_pairs_with_whom"

    def test_pairs_with_under_a_minute_are_left_out(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, 60), (B, 0, 1), (C, 0, 1 - MILLISECOND)))

        assert warehouse.run_query(self.query) == [(A, B, 1, Decimal("1.0"))]

    def test_minutes_and_calls_of_a_pair_add_up(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 15, 60)),
            call("2026-03-03 09:00", 30, (B, 0, 30), (A, 0.5, 30)),
            call("2026-03-04 09:00", 30, (C, 0, 30), (A, 0, 10)),
        )

        assert warehouse.run_query(self.query) == [
            (A, B, 2, Decimal("74.5")),
            (A, C, 1, Decimal("10.0")),
        ]

    def test_rejoined_call_counts_once_without_the_gap(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, 20), (A, 30, 60), (B, 0, 60)))

        assert warehouse.run_query(self.query) == [(A, B, 1, Decimal("50.0"))]

    def test_overlapping_stays_of_a_person_count_once(self, warehouse: Warehouse) -> None:
        stays = ((A, 0, 60), (A, 10, 20), (A, 30, 60), (B, 0, 40), (B, 30, 50))
        warehouse.load(monday_call(60, *stays))

        assert warehouse.run_query(self.query) == [(A, B, 1, Decimal("50.0"))]

    def test_overlapping_minutes_of_two_calls_count_once(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 0, 60)), monday_call(60, (A, 20, 40), (B, 20, 40))
        )

        assert warehouse.run_query(self.query) == [(A, B, 2, Decimal("60.0"))]

    def test_group_call_counts_for_every_pair(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (C, 0, 60), (A, 0, 40), (B, 10, 60)))

        assert warehouse.run_query(self.query) == [
            (B, C, 1, Decimal("50.0")),
            (A, C, 1, Decimal("40.0")),
            (A, B, 1, Decimal("30.0")),
        ]

    def test_missing_left_at_means_the_end_of_the_call(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, None), (B, 15, None)))

        assert warehouse.run_query(self.query) == [(A, B, 1, Decimal("45.0"))]

    def test_deleted_accounts_are_left_out(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, 60), (DELETED, 0, 60), (DELETED, 0, 60)))

        assert warehouse.run_query(self.query) == []

    @calls_without_pairing
    def test_calls_without_pairing_return_no_rows(
        self, warehouse: Warehouse, calls: tuple[Call, ...]
    ) -> None:
        warehouse.load(*calls)

        assert warehouse.run_query(self.query) == []


class TestLastTimeTogether:
    query = "last_time_together"

    def test_pair_gets_its_most_recent_day_together(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-03-01 09:00", 60, (A, 0, 60), (C, 0, 60)),
            monday_call(60, (B, 0, 60), (A, 0, 30), (A, 50, 60)),
            call("2026-03-04 23:30", 60, (A, 0, 60), (C, 0, None), (D, 0, 20)),
            call("2026-03-10 09:00", 60, (A, 0, 30), (B, 30, 60)),
        )

        assert warehouse.run_query(self.query) == [
            (A, C, date(2026, 3, 5)),
            (A, D, date(2026, 3, 4)),
            (C, D, date(2026, 3, 4)),
            (A, B, MONDAY),
        ]

    def test_deleted_accounts_are_left_out(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, 60), (DELETED, 0, 60)))

        assert warehouse.run_query(self.query) == []

    @calls_without_pairing
    def test_calls_without_pairing_return_no_rows(
        self, warehouse: Warehouse, calls: tuple[Call, ...]
    ) -> None:
        warehouse.load(*calls)

        assert warehouse.run_query(self.query) == []


class TestLengthOfCalls:
    query = "length_of_calls"

    def test_query_returns_median_and_90th_percentile(self, warehouse: Warehouse) -> None:
        warehouse.load(*(monday_call(minutes) for minutes in (10, 20, 30, 40, 50)))

        # The percentile is interpolated: 46 is 90% of the way from the shortest to the longest.
        assert warehouse.run_query(self.query) == [(5, Decimal("30.0"), Decimal("46.0"))]


class TestPeopleWithFewPartners:
    query = "people_with_few_partners"

    def test_people_with_one_or_two_partners_are_listed(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 0, 60), (DELETED, 0, 60)),
            monday_call(60, (A, 0, 60), (C, 0, 60)),
            monday_call(60, (A, 0, 60), (D, 0, 30), (C, 30, 60)),
            monday_call(60, ("e@lumen.example", 0, 60)),
        )

        assert warehouse.run_query(self.query) == [(B, 1), (C, 1), (D, 1)]

    def test_calls_older_than_90_days_are_ignored(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-03-02 09:00", 60, (A, 0, 60), (B, 0, 60)),
            call("2026-05-31 10:00", 60, (A, 0, 60), (C, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [(A, 1), (C, 1)]


class TestNotPairedForTwoWeeks:
    query = "not_paired_for_two_weeks"

    newest_call = call("2026-03-16 09:30", 30)
    """It has no participations, and ends exactly two weeks after Monday at 10:00."""

    def last_pairings(self, warehouse: Warehouse) -> list[tuple[object, ...]]:
        """Return the rows without the last column."""
        return [row[:2] for row in warehouse.run_query(self.query)]

    def test_last_seen_includes_solo_calls(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 0, 60)),
            call("2026-03-05 09:00", 60, (A, 0, None)),
            call("2026-04-01 09:00", 60),
        )

        assert warehouse.run_query(self.query) == [
            (A, MONDAY, date(2026, 3, 5)),
            (B, MONDAY, MONDAY),
        ]

    def test_people_are_listed_after_more_than_14_days(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (A, 0, 60), (B, 0, 60)),
            monday_call(60, (C, 0, 60 - MILLISECOND), (D, 0, 60)),
            self.newest_call,
        )

        assert self.last_pairings(warehouse) == [(C, MONDAY), (D, MONDAY)]

    def test_people_are_sorted_by_their_most_recent_pairing(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-02-09 09:00", 60, (C, 0, 60), (D, 0, 60)),
            call("2026-02-16 09:00", 60, (A, 0, 60), (B, 0, 60), (C, 0, 60)),
            call("2026-03-13 09:00", 60, (A, 0, 60), (DELETED, 0, 60)),
            self.newest_call,
        )

        assert self.last_pairings(warehouse) == [
            (B, date(2026, 2, 16)),
            (C, date(2026, 2, 16)),
            (D, date(2026, 2, 9)),
        ]

    @calls_without_pairing
    def test_calls_without_pairing_are_ignored(
        self, warehouse: Warehouse, calls: tuple[Call, ...]
    ) -> None:
        warehouse.load(
            call("2026-02-09 09:00", 60, (A, 0, 60), (B, 0, 60)),
            call("2026-02-16 09:00", 60, (DELETED, 0, 60)),
            *calls,
            call("2026-03-18 09:00", 60),
        )

        assert self.last_pairings(warehouse) == [(A, date(2026, 2, 9)), (B, date(2026, 2, 9))]

    def test_time_after_the_partner_left_is_ignored(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-02-09 09:00", 30 * MINUTES_A_DAY, (A, 0, None), (B, 0, 60), (B, 30, 90)),
            self.newest_call,
        )

        assert self.last_pairings(warehouse) == [(A, date(2026, 2, 9)), (B, date(2026, 2, 9))]

    def test_missing_left_at_means_the_end_of_the_call(self, warehouse: Warehouse) -> None:
        warehouse.load(monday_call(60, (A, 0, None), (B, 0, None)), self.newest_call)

        assert self.last_pairings(warehouse) == []

    def test_person_who_never_paired_has_no_date(self, warehouse: Warehouse) -> None:
        warehouse.load(
            call("2026-03-02 09:59", 60, (A, 0, 60)),
            call("2026-03-14 09:59", 60, (A, 0, 60)),
            call("2026-03-02 10:00", 60, (B, 0, 60)),
            call("2026-02-02 10:00", 60, (C, 0, 60), (D, 0, 60)),
            self.newest_call,
        )

        assert self.last_pairings(warehouse) == [
            (C, date(2026, 2, 2)),
            (D, date(2026, 2, 2)),
            (A, None),
        ]


class TestShareOfCallsBySize:
    query = "share_of_calls_by_size"

    def test_size_counts_each_person_once(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60),
            monday_call(60, (A, 0, 60)),
            monday_call(60, (A, 0, 30), (A, 20, 60)),
            monday_call(60, (A, 0, 60), (B, 0, None)),
            monday_call(60, (A, 0, 30), (A, 20, 60), (B, 0, 60)),
            monday_call(60, (A, 0, 60), (B, 0, 60), (C, 0, 60)),
            monday_call(60, (A, 0, 60), (B, 0, 60), (C, 0, 60), (D, 0, 60), (D, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [
            ("0 (unknown)", 1, Decimal("14.29")),
            ("1 (solo)", 2, Decimal("28.57")),
            ("2 (pair)", 2, Decimal("28.57")),
            ("3+ (group)", 2, Decimal("28.57")),
        ]

    def test_deleted_accounts_in_a_call_count_as_one_person(self, warehouse: Warehouse) -> None:
        warehouse.load(
            monday_call(60, (DELETED, 0, 60)),
            monday_call(60, (DELETED, 0, 60), (DELETED, 0, 60), (A, 0, 60)),
            monday_call(60, (DELETED, 0, 60), (A, 0, 60), (B, 0, 60)),
            monday_call(60, (DELETED, 0, 60), (DELETED, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [
            ("1 (solo)", 2, Decimal("50.00")),
            ("2 (pair)", 1, Decimal("25.00")),
            ("3+ (group)", 1, Decimal("25.00")),
        ]


class TestFirstPairingOfNewcomers:
    query = "first_pairing_of_newcomers"

    first_call = monday_call(60, (A, 0, 60), (B, 0, 60))

    def test_newcomers_join_over_30_days_after_the_first_call(self, warehouse: Warehouse) -> None:
        warehouse.load(
            self.first_call, call("2026-04-01 09:00", 60, (C, 0, 60), (D, MILLISECOND, 60))
        )

        april = date(2026, 4, 1)
        assert warehouse.run_query(self.query) == [(D, april, april, C, 0)]

    def test_first_call_counts_even_without_participations(self, warehouse: Warehouse) -> None:
        warehouse.load(call("2026-02-16 09:00", 60), monday_call(60, (A, 0, 60), (B, 0, 60)))
        assert warehouse.run_query(self.query) == []

        warehouse.load(call("2026-01-16 09:00", 60))
        assert [row[0] for row in warehouse.run_query(self.query)] == [A, B]

    def test_solo_calls_are_not_the_first_pairing(self, warehouse: Warehouse) -> None:
        warehouse.load(
            self.first_call,
            call("2026-05-04 09:00", 60, (C, 0, 60)),
            call("2026-05-05 09:00", 60, (C, 0, 30), (C, 20, 40), (A, 40, 60)),
            call("2026-05-09 09:00", 60, (C, 0, 60), (A, 0, 60)),
            call("2026-05-08 09:00", 60, (C, 0, 60), (B, 0, 60)),
            call("2026-05-08 09:00", 60, (C, 0, 60), (D, 0, 60)),
            call("2026-04-01 09:00", 60, (D, 0, 60)),
        )

        assert warehouse.run_query(self.query) == [(C, date(2026, 5, 4), date(2026, 5, 8), B, 4)]

    def test_first_partners_are_each_named_once(self, warehouse: Warehouse) -> None:
        group = ((C, 0, 50), (B, 20, 30), (B, 40, None), (A, 10, 60), (DELETED, 4, 60), (D, 50, 60))
        warehouse.load(self.first_call, call("2026-05-04 23:55", 60, *group))

        day, next_day = date(2026, 5, 4), date(2026, 5, 5)
        assert warehouse.run_query(self.query) == [
            (C, day, day, f"(deleted account), {A}, {B}", 0),
            (D, next_day, next_day, f"(deleted account), {A}, {B}", 0),
        ]

    def test_missing_left_at_means_the_end_of_the_call(self, warehouse: Warehouse) -> None:
        warehouse.load(self.first_call, call("2026-05-04 23:30", 60, (C, 0, None), (A, 59, 60)))

        assert warehouse.run_query(self.query) == [(C, date(2026, 5, 4), date(2026, 5, 5), A, 1)]

    def test_newcomer_without_pairing_has_no_date(self, warehouse: Warehouse) -> None:
        warehouse.load(
            self.first_call,
            call("2026-05-05 09:00", 60, (DELETED, 0, 60), (DELETED, 0, 60)),
            call("2026-05-06 09:00", 60, (D, 0, 60), (A, 30, 30)),
            call("2026-05-06 09:00", 60, (B, 0, 60)),
            call("2026-05-07 09:00", 60, (C, 20, 40), (A, 0, 20), (B, 40, 60)),
        )

        assert warehouse.run_query(self.query) == [
            (D, date(2026, 5, 6), None, None, None),
            (C, date(2026, 5, 7), None, None, None),
        ]
