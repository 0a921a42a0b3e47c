"""Compares the cost of reading calls and writing them out, and how it grows."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.contestants import BARE, CONTESTANTS, TAP_TUPLE
from benchmarks.measure import Measurement, measure
from benchmarks.server import participations_in, serve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NO_CALLS = 0
"""A run without calls measures only the start-up."""

SINGER_TYPES = ("RECORD", "SCHEMA", "STATE")

Runs = dict[tuple[str, int], list[Measurement]]
"""Runs by contestant and number of calls."""


def compare(calls: Sequence[int], names: Sequence[str], rounds: int) -> None:
    """Print a table of all contestants.

    Args:
        calls: The numbers of calls to read, each for a separate comparison.
        names: The contestants.
        rounds: How many times each one runs.
    """
    runs = _run_interleaved([NO_CALLS, *calls], names, rounds)
    rows = [_row(runs, name, count) for count in calls for name in names]
    header = (
        "calls",
        "program",
        "CPU s",
        "vs. bare loop",
        "without start-up",
        "vs. bare loop",
        "wall s",
        "peak MB",
        *SINGER_TYPES,
        "log lines",
    )
    report.print_table(
        f"Medians of {rounds} interleaved rounds. CPU is the process's user and system time. "
        "The time without start-up is the CPU time minus that of a run with 0 calls.",
        header,
        rows,
    )


def compare_memory(calls: Sequence[int], rounds: int) -> None:
    """Print how much memory tap-tuple uses.

    Args:
        calls: The numbers of calls to read, each for a separate row.
        rounds: How many times it runs. The highest figure is printed.
    """
    runs = _run_interleaved(calls, [TAP_TUPLE], rounds)
    rows = [
        (
            f"{count:,}",
            report.peak(runs[TAP_TUPLE, count]),
            f"{runs[TAP_TUPLE, count][0].messages['RECORD']:,}",
            report.seconds(report.cpu(runs[TAP_TUPLE, count])),
        )
        for count in calls
    ]
    report.print_table("Memory of tap-tuple.", ("calls", "peak MB", "RECORD", "CPU s"), rows)


def _run_interleaved(calls: Iterable[int], names: Sequence[str], rounds: int) -> Runs:
    runs: Runs = {}
    with ExitStack() as servers:
        urls = {count: servers.enter_context(serve(count)) for count in calls}
        for number in range(1, rounds + 1):
            for count, url in urls.items():
                for name in names:
                    report.progress(f"round {number} of {rounds}: {name}, {count:,} calls")
                    with tempfile.TemporaryDirectory() as folder:
                        command = CONTESTANTS[name].command(url, Path(folder))
                        runs.setdefault((name, count), []).append(measure(command))
    return runs


def _row(runs: Runs, name: str, count: int) -> tuple[str, ...]:
    program_runs, bare_runs = runs[name, count], runs.get((BARE, count))
    return (
        f"{count:,}",
        CONTESTANTS[name].title,
        report.seconds(report.cpu(program_runs)),
        report.ratio(report.cpu(program_runs), report.cpu(bare_runs) if bare_runs else None),
        report.seconds(_cpu_without_start_up(runs, name, count)),
        report.ratio(
            _cpu_without_start_up(runs, name, count),
            _cpu_without_start_up(runs, BARE, count) if bare_runs else None,
        ),
        report.seconds(report.wall(program_runs)),
        report.peak(program_runs),
        *_messages(name, count, program_runs[-1]),
        f"{program_runs[-1].log_lines:,}",
    )


def _cpu_without_start_up(runs: Runs, name: str, count: int) -> float:
    return report.cpu(runs[name, count]) - report.cpu(runs[name, NO_CALLS])


def _messages(name: str, count: int, run: Measurement) -> list[str]:
    if not CONTESTANTS[name].writes_messages:
        return ["-" for _ in SINGER_TYPES]
    written = {kind: f"{run.messages[kind]:,}" for kind in SINGER_TYPES}
    expected = count + participations_in(count)
    if run.messages["RECORD"] != expected:
        written["RECORD"] += f" of {expected:,}"
    return list(written.values())
