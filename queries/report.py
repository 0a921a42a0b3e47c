#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11,<3.14"  # DuckDB 1.2 has no wheel for 3.14
# dependencies = [
#   "altair>=6,<7",
#   "click>=8.2,<9",
#   "duckdb>=1.2,<1.3",  # what target-duckdb writes with
#   "jinja2>=3.1,<4",
#   "polars>=2,<3",
#   "psycopg[binary]>=3.2,<4",
#   "scipy>=1.14,<2",
#   "vl-convert-python>=1.9,<2",
# ]
# ///
"""Draws how a team pairs, from what the queries beside this file answer."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing, suppress
from itertools import chain, combinations
from math import log1p
from pathlib import Path
from statistics import median
from typing import Any, NoReturn, TypeAlias

import altair as alt
import click
import duckdb
import polars as pl
import psycopg
import vl_convert
from jinja2 import Environment, FileSystemLoader
from polars import selectors as cs
from scipy.cluster.hierarchy import leaves_list, linkage  # type: ignore[import-untyped]

Answers: TypeAlias = dict[str, pl.DataFrame]

FOLDER = Path(__file__).parent
# Stricter than PostgreSQL, which takes a password for a host and quotes it.
URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?(://(?:(?:[^@/?\s%]|%[0-9A-Fa-f]{2})*@)?[^@\s]*)")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
HOURS = alt.Tooltip("hours:Q", format=",.1f")
DAY = "%-d %B %Y"
FEW = 2  # of these, words say more than a chart

alt.data_transformers.disable_max_rows()


def fail(message: str) -> NoReturn:
    """End with one line."""
    raise click.ClickException(message) from None


def connect(database: str) -> Any:  # noqa: ANN401 - no type is common to both
    """Open a DuckDB file or a PostgreSQL URL, to read only."""
    if url := URL.fullmatch(database):
        connection = psycopg.connect(f"postgresql{url[1]}", connect_timeout=10)
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection
    if re.search("://|:.*@", database):
        fail("This is no postgresql:// URL; in a password, write %40 for @ and %2F for /.")
    return duckdb.connect(database, read_only=True)


def read(database: str, schema: str) -> Answers:
    """Answer every query in this folder, all at the same moment."""
    name, answers = schema.replace('"', '""'), {}
    with closing(connect(database)) as connection:
        for path in sorted(FOLDER.glob("*.sql")):
            cursor = connection.execute(path.read_text("utf-8").replace('"tuple".', f'"{name}".'))
            columns = [column[0] for column in cursor.description]
            rows = pl.DataFrame(cursor.fetchall(), columns, orient="row", infer_schema_length=None)
            answers[path.stem] = rows.with_columns(cs.decimal().cast(pl.Float64))
    return answers


def order_people(pairs: pl.DataFrame) -> list[str]:
    """Put people who pair often beside each other."""
    minutes = {frozenset((a, b)): time for a, b, _, time in pairs.iter_rows()}
    people = sorted(frozenset[str]().union(*minutes))
    if len(people) <= FEW:
        return people
    most = log1p(max(minutes.values())) or 1
    apart = [1 - log1p(minutes.get(frozenset(two), 0)) / most for two in combinations(people, 2)]
    return [people[n] for n in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def name_people(emails: list[str], *, pseudonyms: bool) -> dict[str, str]:
    """Give each person a short name that nobody else has."""
    if pseudonyms:
        return {email: f"Person {number}" for number, email in enumerate(emails, 1)}
    # Without an @ it is a hash.
    names = {email: email.split("@")[0][: 24 if "@" in email else 8] for email in emails}
    times = Counter(names.values())
    return {email: name if times[name] == 1 else email for email, name in names.items()}


def add_up_weeks(answers: Answers) -> pl.DataFrame:
    """Add up the hours of everybody, also of weeks in which nobody paired."""
    hours, week = answers["hours_paired_per_person_and_week"], pl.col("week")
    if hours.is_empty():
        return hours
    weeks = hours.group_by("week").agg(pl.sum("hours"), people=pl.len()).sort("week")
    return weeks.upsample("week", every="1w").with_columns(
        cs.numeric().fill_null(0),
        is_over=week.dt.offset_by("4d") <= answers["calls_and_people"]["last_call_on"][0],
    )


def draw_weeks(weeks: pl.DataFrame) -> alt.Chart:
    """Draw the hours of each week, and one that is not over paler."""
    return alt.Chart(weeks, mark="bar", width="container", height=200).encode(
        x=alt.X("yearmonthdate(week):O").axis(format="%-d %b %Y"),
        y="hours:Q",
        fillOpacity=alt.when("datum.is_over").then(alt.value(1)).otherwise(alt.value(0.4)),
        tooltip=[alt.Tooltip("week:T", title="week of", format=DAY), HOURS, "people:Q"],
    )


def draw_matrix(answers: Answers, order: list[str], names: dict[str, str]) -> alt.Chart:
    """Draw two squares for every two people, one on each side of the diagonal."""
    two, step = ["person_a", "person_b"], max(9, min(36, 900 // len(order)))
    pairs = answers["who_pairs_with_whom"].join(answers["last_time_together"], on=two)
    pairs = pairs.with_columns(pl.col(two).replace(names), hours=pl.col("minutes") / 60)
    pairs = pairs.with_columns(title=pl.format("{} and {}", *two))
    swapped = pairs.rename({"person_a": "person_b", "person_b": "person_a"})
    people = alt.Scale(domain=[names[email] for email in order])
    last = alt.Tooltip("last_paired_on:T", title="last time", format=DAY)
    labels = alt.Config(axis=alt.AxisConfig(labelFontSize=min(12, step - 1)))
    squares, size = pl.concat([pairs, swapped], how="diagonal"), alt.Step(step)
    return alt.Chart(squares, mark="rect", width=size, height=size, config=labels).encode(
        x=alt.X("person_a:N", scale=people).axis(orient="top", labelAngle=-90),
        y=alt.Y("person_b:N", scale=people),
        opacity=alt.Opacity("hours:Q").scale(type="sqrt", domainMin=0, range=[0.1, 1]),
        tooltip=["title:N", HOURS, "calls:Q", last],
    )


def draw_sizes(sizes: pl.DataFrame) -> alt.Chart:
    """Draw the share of calls by size."""
    sizes = sizes.with_columns(size=pl.format("{}: {} %", "participants", pl.col.percent.round(1)))
    return alt.Chart(sizes, mark="bar", width="container", height=28 * sizes.height).encode(
        x=alt.X("percent:Q", axis=None).scale(domain=[0, 100]),
        y="size:N",
        tooltip=["participants:N", "calls:Q", "percent:Q"],
    )


def make_page(answers: Answers, *, pseudonyms: bool) -> str:
    """Render the page, with charts where words would not do."""
    pairs, sizes = answers["who_pairs_with_whom"], answers["share_of_calls_by_size"]
    order, weeks = order_people(pairs), add_up_weeks(answers)
    asked = (answer["user_email"] for answer in answers.values() if "user_email" in answer.columns)
    names = name_people(list(dict.fromkeys(chain(order, *asked))), pseudonyms=pseudonyms)
    charts = {
        "weeks": draw_weeks(weeks) if weeks.height > 1 else None,
        "matrix": draw_matrix(answers, order, names) if len(order) > FEW else None,
        "sizes": draw_sizes(sizes) if sizes.height > 1 else None,
    }
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True)
    environment.filters["median"] = median
    return environment.get_template("report.html.jinja").render(
        {query: answer.to_dicts() for query, answer in answers.items()},
        weeks=weeks.to_dicts(),
        names=names,
        partners=Counter(chain(*pairs.select("person_a", "person_b").iter_rows())),
        charts={name: chart.to_dict() for name, chart in charts.items() if chart},
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", vl_version=VEGA_LITE),
    )


@click.command(context_settings={"auto_envvar_prefix": "REPORT"})
@click.argument("database", envvar="REPORT_DATABASE")
@click.option("--schema", default="tuple", show_default=True, help="Where the tables are.")
@click.option("--output", default="report.html", show_default=True, help="Where the page goes.")
@click.option("--pseudonyms", is_flag=True, help="Put numbers in the place of names.")
def main(database: str, schema: str, output: str, *, pseudonyms: bool) -> None:
    """Draw how a team pairs, from DATABASE: a DuckDB file or a postgresql:// URL."""
    part = Path(f"{output}.part")
    try:
        part.write_text(make_page(read(database, schema), pseudonyms=pseudonyms), "utf-8")
        part.replace(output)
    except (duckdb.CatalogException, psycopg.errors.UndefinedTable):
        fail(f"Schema {schema} lacks a table: load both, or name another with --schema.")
    except (duckdb.Error, psycopg.Error) as error:
        fail(" ".join(str(error).partition("\n\n")[0].split()))
    except OSError as error:
        fail(f"Cannot write {output}: {error.strerror}.")
    finally:
        with suppress(OSError):
            part.unlink()
    click.echo(f"Wrote {output}.")


if __name__ == "__main__":
    main()
