#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11,<3.14"  # DuckDB 1.2 has no wheel for 3.14
# dependencies = [
#   "altair>=6,<7",
#   "click>=8.2,<9",
#   "duckdb>=1.2,<1.3",  # the version that target-duckdb uses
#   "jinja2>=3.1,<4",
#   "polars>=2,<3",
#   "psycopg[binary]>=3.2,<4",
#   "scipy>=1.14,<2",
#   "vl-convert-python>=1.9,<2",
# ]
# ///
"""Create a report on how a team pairs, from the queries in this folder."""

from __future__ import annotations

import random
import re
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from math import log1p
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, NoReturn, TypeAlias

import altair as alt
import click
import duckdb
import polars as pl
import psycopg
import vl_convert
from jinja2 import Environment, FileSystemLoader
from polars import selectors as cs
from scipy.cluster.hierarchy import leaves_list, linkage  # type: ignore[import-untyped]

Results: TypeAlias = dict[str, pl.DataFrame]

FOLDER = Path(__file__).parent
# Stricter than PostgreSQL, which may mistake a password for a host, and quote it.
URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?(://(?:(?:[^@/?\s%]|%[0-9A-Fa-f]{2})*@)?[^@\s]*)")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
HOURS = alt.Tooltip("hours:Q", title="person-hours", format=",.1f")
DAY = "%-d %B %Y"
FEW_PEOPLE = 2
"""Up to this number, a sentence says more than a matrix."""
MIN_GROUP = 5
"""With --no-people, the report omits smaller groups, whose members could be recognized."""
QUARTER = timedelta(days=90)
"""People who haven't been in a call for this long may have left."""
WEEKS_PER_PERIOD = 4
"""The trend compares the last four whole weeks with the four before."""
QUERIES = (
    "calls_and_people",
    "first_pairing_of_newcomers",
    "hours_paired_per_person_and_week",
    "last_time_together",
    "length_of_calls",
    "not_paired_for_two_weeks",
    "people_with_few_partners",
    "share_of_calls_by_size",
    "who_pairs_with_whom",
)
"""The files in this folder whose results the report shows."""


def fail(message: str) -> NoReturn:
    """Exit with a one-line error."""
    raise click.ClickException(message) from None


def connect(database: str) -> Any:  # noqa: ANN401 - no type is common to both
    """Open a DuckDB file or a PostgreSQL URL, read-only."""
    if url := URL.fullmatch(database):
        connection = psycopg.connect(f"postgresql{url[1]}", connect_timeout=10)
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection
    is_missing = not Path(database).exists()
    looks_like_an_address = re.search("://|:.*@", database) or (is_missing and "=" in database)
    if looks_like_an_address:
        fail(
            "DATABASE isn't a valid postgresql:// URL. In a password, write %40 for @ and %2F for "
            "/."
        )
    if is_missing:
        fail(
            f"Can't open {database}: it doesn't exist. Load calls first, or name another DATABASE."
        )
    return duckdb.connect(database, read_only=True)


def read(database: str, schema: str) -> Results:
    """Run the queries in this folder on one snapshot of the data."""
    name, results = schema.replace('"', '""'), {}
    with closing(connect(database)) as connection:
        for query in QUERIES:
            text = (FOLDER / f"{query}.sql").read_text("utf-8")
            cursor = connection.execute(text.replace('"tuple".', f'"{name}".'))
            columns = [column[0] for column in cursor.description]
            rows = pl.DataFrame(cursor.fetchall(), columns, orient="row", infer_schema_length=None)
            results[query] = rows.with_columns(cs.decimal().cast(pl.Float64))
    return results


def order_people(pairs: pl.DataFrame) -> list[str]:
    """Put people who often pair with each other side by side."""
    minutes = {frozenset((a, b)): time for a, b, _, time in pairs.iter_rows()}
    people = sorted(frozenset[str]().union(*minutes))
    if len(people) <= FEW_PEOPLE:
        return people
    most = log1p(max(minutes.values())) or 1
    apart = [1 - log1p(minutes.get(frozenset(two), 0)) / most for two in combinations(people, 2)]
    return [people[n] for n in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def name_people(emails: list[str], *, pseudonyms: bool) -> dict[str, str]:
    """Give each person a short name that nobody else has.

    Pseudonyms are numbers in random order, so two reports can't be matched by them.
    """
    if pseudonyms:
        numbers = list(range(1, len(emails) + 1))
        random.SystemRandom().shuffle(numbers)
        return {email: f"Person {number}" for email, number in zip(emails, numbers, strict=True)}
    # Without an @, it's a hash.
    names = {email: email.split("@")[0][: 24 if "@" in email else 8] for email in emails}
    times = Counter(names.values())
    return {email: name if times[name] == 1 else email for email, name in names.items()}


def add_up_weeks(results: Results) -> pl.DataFrame:
    """Add up everybody's hours per week, including weeks in which nobody paired.

    The first and the last week are whole if the data covers Monday to Friday.
    """
    hours, week = results["hours_paired_per_person_and_week"], pl.col("week")
    if hours.is_empty():
        return hours
    first_day, last_day = results["calls_and_people"].row(0)[:2]
    weeks = hours.group_by("week").agg(pl.sum("hours"), people=pl.len()).sort("week")
    return weeks.upsample("week", every="1w").with_columns(
        cs.numeric().fill_null(0),
        is_whole=(week >= first_day) & (week.dt.offset_by("4d") <= last_day),
    )


class Period(NamedTuple):
    """Consecutive whole weeks."""

    weeks: list[dict[str, Any]]

    @property
    def hours(self) -> float:
        """The person-hours of all weeks."""
        return float(sum(week["hours"] for week in self.weeks))


def split_periods(weeks: pl.DataFrame) -> tuple[Period, Period | None]:
    """Return the last whole weeks, and as many before them if the data goes back that far."""
    whole = [week for week in weeks.to_dicts() if week["is_whole"]]
    recent = Period(whole[-WEEKS_PER_PERIOD:])
    before = Period(whole[-2 * WEEKS_PER_PERIOD : -WEEKS_PER_PERIOD])
    return recent, before if len(before.weeks) == WEEKS_PER_PERIOD else None


def hours_per_person(results: Results, period: Period) -> dict[str, float]:
    """Add up each person's hours in a period, sorted from most to fewest."""
    hours: Counter[str] = Counter()
    mondays = {week["week"] for week in period.weeks}
    for email, week, number in results["hours_paired_per_person_and_week"].iter_rows():
        if week in mondays:
            hours[email] += number
    return dict(hours.most_common())


def draw_weeks(weeks: pl.DataFrame) -> alt.Chart:
    """Draw the hours of each week. Incomplete weeks are paler."""
    hours = [float(number) for number in weeks["hours"].drop_nulls()]
    description = (
        f"Bar chart of person-hours per week. {weeks.height} weeks, from {min(hours):,.0f} to "
        f"{max(hours):,.0f} person-hours. The table below has the numbers."
    )
    return alt.Chart(
        weeks, mark="bar", width="container", height=200, description=description
    ).encode(
        x=alt.X("yearmonthdate(week):O").axis(format="%-d %b %Y"),
        y=alt.Y("hours:Q").title("person-hours"),
        fillOpacity=alt.when("datum.is_whole").then(alt.value(1)).otherwise(alt.value(0.4)),
        tooltip=[alt.Tooltip("week:T", title="week of", format=DAY), HOURS, "people:Q"],
    )


def draw_sizes(sizes: pl.DataFrame) -> alt.Chart:
    """Draw the share of calls by size."""
    sizes = sizes.with_columns(size=pl.format("{}: {}%", "participants", pl.col.percent.round(1)))
    description = f"Bar chart of calls by number of participants. {'. '.join(sizes['size'])}."
    return alt.Chart(
        sizes, mark="bar", width="container", height=28 * sizes.height, description=description
    ).encode(
        x=alt.X("percent:Q", axis=None).scale(domain=[0, 100]),
        y=alt.Y("size:N").title(None),
        tooltip=["participants:N", "calls:Q", "percent:Q"],
    )


def fill_matrix(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """Return each pair's hours, calls and last day together, in both directions."""
    both = ["person_a", "person_b"]
    pairs = results["who_pairs_with_whom"].join(results["last_time_together"], on=both)
    longest = pairs["minutes"].max()
    matrix: dict[str, dict[str, dict[str, Any]]] = {}
    for pair in pairs.iter_rows(named=True):
        cell = pair | {"hours": pair["minutes"] / 60, "share": pair["minutes"] / longest}
        matrix.setdefault(pair["person_a"], {})[pair["person_b"]] = cell
        matrix.setdefault(pair["person_b"], {})[pair["person_a"]] = cell
    return matrix


def leave_out_small_groups(weeks: pl.DataFrame) -> pl.DataFrame:
    """Leave out the figures for weeks in which only a few people paired."""
    is_small = pl.col("people").is_between(1, MIN_GROUP - 1)
    hours = pl.when(is_small).then(None).otherwise(pl.col("hours"))
    people = pl.when(is_small).then(None).otherwise(pl.col("people"))
    return weeks.with_columns(
        hours=hours, people=people, is_whole=pl.col("is_whole") & is_small.not_()
    )


def make_page(results: Results, *, pseudonyms: bool = False, no_people: bool = False) -> str:
    """Render the page, with charts where a sentence isn't enough."""
    pairs, sizes = results["who_pairs_with_whom"], results["share_of_calls_by_size"]
    order, weeks = order_people(pairs), add_up_weeks(results)
    if no_people and not weeks.is_empty():
        weeks = leave_out_small_groups(weeks)
    recent, before = split_periods(weeks)
    listed = (result["user_email"] for result in results.values() if "user_email" in result.columns)
    names = name_people(list(dict.fromkeys(chain(order, *listed))), pseudonyms=pseudonyms)
    is_hidden = no_people and results["calls_and_people"]["people"].sum() < MIN_GROUP
    charts = {}
    if weeks.height > 1 and weeks["hours"].count() and not is_hidden:
        charts["weeks"] = draw_weeks(weeks).to_dict()
    if sizes.height > 1 and not is_hidden:
        charts["sizes"] = draw_sizes(sizes).to_dict()
    has_matrix = len(order) > FEW_PEOPLE and not no_people
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True)
    environment.filters["median"] = median
    return environment.get_template("report.html.jinja").render(
        {query: result.to_dicts() for query, result in results.items()},
        weeks=weeks.to_dicts(),
        recent=recent,
        before=before,
        person_hours=hours_per_person(results, recent),
        order=order,
        matrix=fill_matrix(results) if has_matrix else None,
        names=names,
        partners=Counter(chain(*pairs.select("person_a", "person_b").iter_rows())),
        min_group=MIN_GROUP if no_people else 0,
        no_people=no_people,
        is_hidden=is_hidden,
        quarter=QUARTER,
        made_at=datetime.now(UTC),
        charts=charts,
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", vl_version=VEGA_LITE),
    )


@click.command(context_settings={"auto_envvar_prefix": "REPORT"})
@click.argument("database", envvar="REPORT_DATABASE")
@click.option("--schema", default="tuple", show_default=True, help="The schema of the tables.")
@click.option("--output", default="report.html", show_default=True, help="The file to write.")
@click.option(
    "--pseudonyms",
    is_flag=True,
    help="Replace names with numbers, which are different in each report.",
)
@click.option(
    "--no-people",
    is_flag=True,
    help=f"Leave out everything about individuals, and about groups of fewer than {MIN_GROUP}.",
)
def main(database: str, schema: str, output: str, *, pseudonyms: bool, no_people: bool) -> None:
    """Create a report on how a team pairs, from DATABASE: a DuckDB file or a postgresql:// URL."""
    part = Path(f"{output}.part")
    try:
        results = read(database, schema)
        part.write_text(make_page(results, pseudonyms=pseudonyms, no_people=no_people), "utf-8")
        part.replace(output)
    except (duckdb.CatalogException, psycopg.errors.UndefinedTable):
        fail(
            f"Schema {schema} is missing calls or call_participations. Load both streams, or use "
            "another --schema."
        )
    except (duckdb.Error, psycopg.Error) as error:
        fail(" ".join(str(error).partition("\n\n")[0].split()))
    except OSError as error:
        fail(f"Can't write {output}: {error.strerror}.")
    finally:
        with suppress(OSError):
            part.unlink()
    click.echo(f"Wrote {output}.")


if __name__ == "__main__":
    main()
