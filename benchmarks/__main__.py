"""Measures tap-tuple: ``uv run --group bench python -m benchmarks``."""

from __future__ import annotations

from argparse import ArgumentParser

from benchmarks import extraction, pipelines, report, startup
from benchmarks.contestants import CONTESTANTS

EXTRACTION_CALLS = (25_000, 50_000, 100_000)
MEMORY_CALLS = (10_000, 500_000)
PIPELINE_CALLS = (25_000,)


def main() -> None:
    """Print the requested tables. By default, print the extraction benchmark."""
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description="Compare tap-tuple with other ways to read the same calls.",
    )
    parser.add_argument("--calls", nargs="+", type=int, help="how many calls to read")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how many times each program runs (default: 3)"
    )
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--memory", action="store_true", help="measure the tap's memory instead")
    parser.add_argument(
        "--startup", action="store_true", help="measure the tap's start-up time instead"
    )
    parser.add_argument(
        "--pipelines", action="store_true", help="measure loading into databases instead"
    )
    options = parser.parse_args()

    report.print_machine()
    if options.startup:
        startup.compare(options.rounds)
    if options.memory:
        extraction.compare_memory(options.calls or MEMORY_CALLS, options.rounds)
    if options.pipelines:
        pipelines.compare(options.calls or PIPELINE_CALLS, options.rounds)
    if not (options.startup or options.memory or options.pipelines):
        extraction.compare(options.calls or EXTRACTION_CALLS, options.only, options.rounds)


if __name__ == "__main__":
    main()
