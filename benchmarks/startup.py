"""Compares tap-tuple's start-up time with the time it takes to import the SDK."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.contestants import module, tap_tuple
from benchmarks.measure import Command, Measurement, measure
from benchmarks.server import serve

IMPORT = "python -c 'import singer_sdk'"


def compare(rounds: int) -> None:
    """Print a table of commands that do nothing but start.

    Args:
        rounds: How many times each one runs.
    """
    runs: dict[str, list[Measurement]] = {}
    with serve(0) as url, tempfile.TemporaryDirectory() as folder:
        commands = {
            IMPORT: Command([sys.executable, "-c", "import singer_sdk"]),
            "tap-tuple --version": Command(module("tap_tuple", "--version")),
            "tap-tuple, no calls": tap_tuple(url, Path(folder)),
        }
        for _ in range(rounds):
            for title, command in commands.items():
                runs.setdefault(title, []).append(measure(command))
    base = report.cpu(runs[IMPORT])
    rows = [
        (
            title,
            report.seconds(report.cpu(command_runs)),
            report.ratio(report.cpu(command_runs), base),
            report.seconds(report.wall(command_runs)),
            report.peak(command_runs),
        )
        for title, command_runs in runs.items()
    ]
    report.print_table(
        f"Start-up, medians of {rounds} interleaved rounds.",
        ("command", "CPU s", "vs. import", "wall s", "peak MB"),
        rows,
    )
