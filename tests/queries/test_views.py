"""The dashboard views in ``queries/views.sql``."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.queries.warehouse import DELETED, MONDAY, A, B, C, call, monday_call

if TYPE_CHECKING:
    from tests.queries.warehouse import Warehouse

NEXT_MONDAY = MONDAY + timedelta(weeks=1)


def load(warehouse: Warehouse) -> None:
    """Load two calls in one week, with B rejoining the first, and one call in the next week."""
    warehouse.load(
        monday_call(60, (A, 0, 60), (B, 0, 20), (B, 10, 30), (B, 40, None)),
        call("2026-03-08 23:30", 60, (A, 0, 60), (B, 15, 60), (C, 30, 60), (DELETED, 0, 15)),
        call(f"{NEXT_MONDAY} 09:00", 30, (A, 0, 30), (DELETED, 0, 30)),
    )
    warehouse.install_views()


def test_stay_without_left_at_ends_with_the_call(warehouse: Warehouse) -> None:
    warehouse.load(monday_call(60, (A, 0, None), (B, 10, 10)))
    warehouse.install_views()

    ((email, _, stayed_until),) = warehouse.rows_of("stays", "user_email, id, stayed_until")

    assert (email, f"{stayed_until}") == (A, f"{MONDAY} 10:00:00")


def test_pair_calls_count_overlapping_minutes_once(warehouse: Warehouse) -> None:
    load(warehouse)

    rows = warehouse.rows_of("pair_calls", "person_a, person_b, minutes")

    assert rows == [
        (A, B, Decimal("45.00")),
        (A, B, Decimal("50.00")),
        (A, C, Decimal("30.00")),
        (B, C, Decimal("30.00")),
    ]


def test_pair_weeks_sum_the_calls_of_each_week(warehouse: Warehouse) -> None:
    load(warehouse)

    rows = warehouse.rows_of("pair_weeks", "person_a, person_b, week, calls, minutes")

    assert rows == [
        (A, B, MONDAY, 2, Decimal("95.00")),
        (A, C, NEXT_MONDAY, 1, Decimal("30.00")),
        (B, C, NEXT_MONDAY, 1, Decimal("30.00")),
    ]


def test_person_weeks_count_time_in_a_group_once(warehouse: Warehouse) -> None:
    load(warehouse)

    rows = warehouse.rows_of("person_weeks", "user_email, week, hours")

    assert rows == [
        (A, MONDAY, Decimal("1.83")),
        (A, NEXT_MONDAY, Decimal("0.50")),
        (B, MONDAY, Decimal("1.58")),
        (C, NEXT_MONDAY, Decimal("0.50")),
    ]


def test_person_weeks_match_the_query(warehouse: Warehouse) -> None:
    load(warehouse)

    rows = warehouse.rows_of("person_weeks", "user_email, week, hours")

    assert rows == sorted(warehouse.run_query("hours_paired_per_person_and_week"))
