"""Prints results as text, CSV or JSON. In a terminal, text has colors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tap_tuple.check.outcomes import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_tuple.check.months import MonthCount
    from tap_tuple.check.statements import Result

COLORS = {
    Verdict.HOLDS: "green",
    Verdict.DIFFERS: "red",
    Verdict.NOT_CHECKED: "yellow",
    Verdict.OBSERVED: "cyan",
}
VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)

REPORT_HINT = (
    "This output contains no private data. Please paste it into an issue:\n"
    "https://github.com/tap-tuple/tap-tuple/issues/new?template=api-check.yml"
)
MONTHS_HINT = "These are your team's exact numbers. They aren't meant for a public issue."


def print_results(results: Iterable[Result], heading: str) -> None:
    """Print a line per statement, grouped by area."""
    click.echo(heading)
    area = ""
    for statement, outcome in results:
        if statement.area != area:
            area = statement.area
            click.echo(f"\n{click.style(area, bold=True)}")
        verdict = click.style(f"{outcome.verdict:{VERDICT_WIDTH}}", fg=COLORS[outcome.verdict])
        detail = f": {outcome.detail}" if outcome.detail else ""
        click.echo(f"  {verdict}  {statement.text}{detail}")


def print_summary(results: list[Result], requests: int) -> None:
    """Print how many statements hold, and what to do with the output."""
    verdicts = [result.outcome.verdict for result in results]
    counts = ", ".join(
        f"{verdict}: {verdicts.count(verdict)}" for verdict in Verdict if verdict in verdicts
    )
    click.echo(f"\n{counts} ({requests} requests)")
    click.echo(f"\n{REPORT_HINT}")


def print_results_as_json(results: Iterable[Result], version: str, host: str) -> None:
    """Print an object with a list of statements."""
    statements = [
        {
            "area": statement.area,
            "statement": statement.text,
            "verdict": outcome.verdict,
            "detail": outcome.detail,
        }
        for statement, outcome in results
    ]
    document = {"version": version, "api": host, "statements": statements}
    click.echo(json.dumps(document, indent=2))


def print_months(months: Iterable[MonthCount]) -> None:
    """Print a table."""
    click.echo(f"{'month':8} {'calls':>9}")
    for month, calls in months:
        click.echo(f"{month:8} {calls:>9,}")
    click.echo(f"\n{MONTHS_HINT}")


def print_months_as_csv(months: Iterable[MonthCount]) -> None:
    """Print CSV in the same format as the result of ``queries/calls_per_month.sql``."""
    click.echo("month,calls")
    for month, calls in months:
        click.echo(f"{month},{calls}")


def print_months_as_json(months: Iterable[MonthCount]) -> None:
    """Print a list of objects."""
    click.echo(json.dumps([month._asdict() for month in months], indent=2))
