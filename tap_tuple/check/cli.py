"""The command line of ``tap-tuple-check``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from singer_sdk.exceptions import FatalAPIError

from tap_tuple.api.rejections import TOKEN_PREFIX
from tap_tuple.check import output
from tap_tuple.check.months import count_calls_per_month
from tap_tuple.check.outcomes import Verdict
from tap_tuple.check.probe import Probe
from tap_tuple.check.responses import Responses
from tap_tuple.check.statements import NO_RESPONSE, TOO_MANY_REQUESTS, check_all
from tap_tuple.singer.command import run
from tap_tuple.streams import Calls
from tap_tuple.sync import time_range_of_run
from tap_tuple.tap import TapTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import PurePath

    from tap_tuple.check.months import MonthCount

NAME = "tap-tuple-check"
MAX_REQUESTS = 30
EXIT_DIFFERS = 1
EXIT_FAILED = 2

PRINT_MONTHS: dict[str, Callable[[Iterable[MonthCount]], None]] = {
    "text": output.print_months,
    "csv": output.print_months_as_csv,
    "json": output.print_months_as_json,
}

HELP = """Check whether Tuple's API behaves as its documentation says.

Prints one line per statement in the documentation. The output contains no emails, tokens, IDs,
names or call times, so it's safe to paste into a public issue.

Uses tap-tuple's settings, read from TAP_TUPLE_... variables, .env and --config. The exit code is 0
if nothing differs, 1 if something does, and 2 if the check couldn't run.
"""


@click.command(NAME, help=HELP)
@click.option(
    "--config",
    "config_files",
    multiple=True,
    metavar="FILE",
    help="A JSON file with settings. May be repeated. 'ENV' has no effect, because the environment "
    "is always read.",
)
@click.option(
    "--months",
    is_flag=True,
    help="Don't check the API. Print the number of calls per month, from start_date to end_date, "
    "so that you can compare it with your database. Sends one request per month.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(PRINT_MONTHS)),
    default="text",
    show_default=True,
    help="The output format. csv works only with --months.",
)
@click.version_option(TapTuple.plugin_version, prog_name=NAME)
@click.pass_context
def check_command(
    context: click.Context, config_files: tuple[str, ...], *, months: bool, output_format: str
) -> int:
    """Check the API, or count calls per month. Return the exit code."""
    if output_format == "csv" and not months:
        msg = "--format csv works only with --months. Use text or json."
        raise click.UsageError(msg, context)

    files: list[PurePath | str] = [path for path in config_files if path != "ENV"]
    tap = TapTuple(config=files, parse_env_config=True)
    stream = Calls(tap)
    if months:
        started_at = datetime.now(UTC)
        time_range = time_range_of_run(tap.config, bookmarks=(), started_at=started_at)
        # Count all months before printing any. In a partial list, calls would seem to be deleted.
        counts = list(count_calls_per_month(Probe(stream, tap.logger), time_range))
        PRINT_MONTHS[output_format](counts)
        return 0
    return check_statements(Probe(stream, tap.logger, MAX_REQUESTS), output_format)


def check_statements(probe: Probe, output_format: str) -> int:
    """Check all statements, print the results, and return the exit code.

    Raises:
        FatalAPIError: If the API can't be reached, or rejects the token.
    """
    responses = Responses(probe)
    if not responses.all_calls.is_ok:
        raise FatalAPIError(probe.explain_rejection(responses.all_calls))
    if responses.all_calls.is_web_page:
        msg = "Got a web page instead of a response from Tuple. Check api_url and your network."
        raise FatalAPIError(msg)

    results = list(check_all(responses))
    host = describe_host(probe.stream.url_base)
    if output_format == "json":
        output.print_results_as_json(results, TapTuple.plugin_version, host)
    else:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        output.print_results(results, f"{NAME} {TapTuple.plugin_version}, {host}, {today}")
        output.print_summary(results, probe.requests_sent)

    if any(result.outcome.verdict is Verdict.DIFFERS for result in results):
        return EXIT_DIFFERS
    if any(result.outcome in {NO_RESPONSE, TOO_MANY_REQUESTS} for result in results):
        msg = "Some statements couldn't be checked, because requests failed. Run the check again."
        raise FatalAPIError(msg)
    return 0


def describe_host(url: str) -> str:
    """Return the API's host if it is Tuple's. Another host may be private."""
    host = urlsplit(url).hostname or ""
    is_tuple = host == "tuple.app" or host.endswith(".tuple.app")
    return host if is_tuple else "custom api_url"


def main() -> None:
    """Run ``tap-tuple-check``."""
    run(
        TapTuple,
        TOKEN_PREFIX,
        command=check_command,
        failure_exit_code=EXIT_FAILED,
        advice_when_stopped="",
    )
