"""The command line of ``tap-tuple-check``: settings, formats, exit codes and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tap_tuple.check.cli import describe_host
from tap_tuple.sandbox import CallLog, faults
from tests.check.deviations import DEVIATIONS, DeviatingSandbox
from tests.conftest import config_for, make_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.check.conftest import CheckCommand
    from tests.conftest import SandboxFactory

MISTYPED = "sk-tuple-mistyped"


def test_output_has_a_line_per_statement(
    serve: SandboxFactory, check_command: CheckCommand
) -> None:
    done = check_command(sandbox=serve(make_calls(250)))

    assert done.returncode == 0
    assert "\n  holds        since is inclusive\n" in done.stdout
    assert "\n  observed     Decimal places in ended_at: 3\n" in done.stdout
    assert "holds: 25, " in done.stdout
    assert "template=api-check.yml" in done.stdout
    assert "\x1b" not in done.stdout


def test_difference_sets_the_exit_code(check_command: CheckCommand) -> None:
    deviation = DEVIATIONS["since is inclusive"]["exclusive"]

    with DeviatingSandbox(CallLog(make_calls(250)), deviation) as sandbox:
        done = check_command(sandbox=sandbox)

    assert done.returncode == 1
    assert "differs      since is inclusive: a call inside the range is missing" in done.stdout


def test_json_has_an_object_per_statement(
    serve: SandboxFactory, check_command: CheckCommand
) -> None:
    done = check_command("--format", "json", sandbox=serve(make_calls(250)))

    statements = json.loads(done.stdout)["statements"]
    assert done.returncode == 0
    assert {
        "area": "Time range",
        "statement": "since is inclusive",
        "verdict": "holds",
        "detail": "",
    } in statements


def test_settings_may_come_from_a_file(
    serve: SandboxFactory, tmp_path: Path, check_command: CheckCommand
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(config_for(serve(make_calls(3)))))

    done = check_command("--config", str(settings))

    assert done.returncode == 0


def test_settings_may_come_from_dotenv(
    serve: SandboxFactory, tmp_path: Path, check_command: CheckCommand
) -> None:
    sandbox = serve(make_calls(3))
    (tmp_path / ".env").write_text(
        f"TAP_TUPLE_API_URL={sandbox.url}\nTAP_TUPLE_API_TOKEN={sandbox.token}\n"
    )

    assert check_command("--config", "ENV").returncode == 0


def test_server_outage_is_an_error(serve: SandboxFactory, check_command: CheckCommand) -> None:
    sandbox = serve(make_calls(3))
    sandbox.faults.extend([None] + [faults.status(503)] * 60)

    done = check_command(sandbox=sandbox, skip_waits=True)

    assert done.returncode == 2
    assert "requests failed. Run the check again." in done.stderr.splitlines()[-1]


def test_exhausted_rate_limit_is_an_error(
    serve: SandboxFactory, check_command: CheckCommand
) -> None:
    sandbox = serve(make_calls(3), every_response=faults.rate_limited())

    done = check_command(sandbox=sandbox, skip_waits=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(sandbox.requests) <= 30
    assert len(done.errors) == 1


def test_web_page_is_an_error(serve: SandboxFactory, check_command: CheckCommand) -> None:
    sandbox = serve(make_calls(3), every_response=faults.body(b"<html>login</html>"))

    for option in ([], ["--months"]):
        done = check_command(*option, sandbox=sandbox)

        assert (done.returncode, done.stdout) == (2, "")
        assert "Check api_url and your network." in done.stderr.splitlines()[-1]


def test_invalid_log_level_is_an_error(check_command: CheckCommand) -> None:
    """Exit code 1 would mean that the API differs from its documentation."""
    done = check_command(LOGLEVEL="nonsense")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Can't set up logging")


def test_missing_token_is_an_error(check_command: CheckCommand) -> None:
    done = check_command()

    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "api_token is missing. Set it, or the environment variable" in done.stderr.splitlines()[-1]
    )


def test_rejected_token_is_an_error(serve: SandboxFactory, check_command: CheckCommand) -> None:
    sandbox = serve(make_calls(3))

    done = check_command(sandbox=sandbox, TAP_TUPLE_API_TOKEN=MISTYPED)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Tuple rejected the token (HTTP 401)." in done.stderr.splitlines()[-1]
    assert len(sandbox.requests) == 1


def test_unreachable_server_is_an_error(check_command: CheckCommand) -> None:
    done = check_command(TAP_TUPLE_API_URL="http://127.0.0.1:1", TAP_TUPLE_API_TOKEN=MISTYPED)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Can't reach http://127.0.0.1:1 after 2 attempts" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", [["--format", "csv"], ["--format", "xml"], ["--config", "x"]])
def test_invalid_option_is_an_error(option: list[str], check_command: CheckCommand) -> None:
    done = check_command(*option)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_months_are_printed_as_csv(serve: SandboxFactory, check_command: CheckCommand) -> None:
    done = check_command("--months", "--format", "csv", sandbox=serve(make_calls(250)))

    assert (done.returncode, done.stdout) == (0, "month,calls\n2026-03,250\n")


def test_months_are_printed_as_json(serve: SandboxFactory, check_command: CheckCommand) -> None:
    done = check_command("--months", "--format", "json", sandbox=serve(make_calls(250)))

    assert json.loads(done.stdout) == [{"month": "2026-03", "calls": 250}]


def test_months_table_warns_that_it_is_private(
    serve: SandboxFactory, check_command: CheckCommand
) -> None:
    done = check_command("--months", sandbox=serve(make_calls(1250)))

    assert "2026-03      1,250\n" in done.stdout
    assert "aren't meant for a public issue" in done.stdout


def test_months_require_x_total_count(serve: SandboxFactory, check_command: CheckCommand) -> None:
    sandbox = serve(make_calls(3), every_response=faults.without_headers("X-Total-Count"))

    done = check_command("--months", "--format", "csv", sandbox=sandbox)

    assert done.returncode == 2
    assert "Tuple sent no valid X-Total-Count" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://production.tuple.app", "production.tuple.app"),
        ("https://tuple.app/", "tuple.app"),
        ("https://nottuple.app", "custom api_url"),
        ("https://tuple.app.example", "custom api_url"),
        ("http://127.0.0.1:1", "custom api_url"),
    ],
)
def test_only_tuple_hosts_are_named(url: str, shown: str) -> None:
    assert describe_host(url) == shown
