"""Prints the figures as tables."""

from __future__ import annotations

import os
import platform
from statistics import median
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Measurement

MEGABYTE = 1_000_000


def print_machine() -> None:
    """Print a general description of this machine."""
    click.echo(
        f"{platform.system()}, {os.cpu_count()} cores, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table with the numeric columns right-aligned."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    are_numbers = [
        all(cell[:1] in "-0123456789" for cell in column) for column in zip(*cells[1:], strict=True)
    ]
    dashes = [
        "-" * (width - 1) + (":" if is_number else "-")
        for width, is_number in zip(widths, are_numbers, strict=True)
    ]
    click.echo(f"\n{title}\n")
    for row in (cells[0], dashes, *cells[1:]):
        padded = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, are_numbers, strict=True)
        ]
        click.echo(f"| {' | '.join(padded)} |")


def progress(message: str) -> None:
    """Print to standard error what is being measured, because measuring takes minutes."""
    click.echo(message, err=True)


def cpu(runs: Sequence[Measurement]) -> float:
    """Return the median CPU time in seconds."""
    return median(run.cpu_seconds for run in runs)


def wall(runs: Sequence[Measurement]) -> float:
    """Return the median wall time in seconds."""
    return median(run.wall_seconds for run in runs)


def peak(runs: Sequence[Measurement]) -> str:
    """Format the highest peak memory in megabytes."""
    return f"{max(run.peak_bytes for run in runs) / MEGABYTE:.0f}"


def seconds(value: float) -> str:
    return f"{value:.2f}"


def ratio(value: float, base: float | None) -> str:
    """Format a value as a multiple of the base."""
    return f"{value / base:.2f}" if base else "-"
