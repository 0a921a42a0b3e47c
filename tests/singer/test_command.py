"""The tap's command line: signals, log settings and help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import clean_environment, config_for, make_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory, TapCommand


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_reading_config_exits_cleanly(
    tap: TapCommand, tmp_path: Path, number: signal.Signals
) -> None:
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    command = tap.command("--config", str(pipe))

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, pipe.open("w"):
        # pipe.open() blocks until the tap opens the other end, so the tap is reading by now.
        process.send_signal(number)
        _, stderr = process.communicate()

    assert process.returncode == 128 + number
    assert f"Stopped by {number.name}." in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("level", ["nonsense", "5x"])
def test_invalid_log_level_is_reported_on_one_line(tap: TapCommand, level: str) -> None:
    command = tap.command("--version")

    done = subprocess.run(
        command,
        capture_output=True,
        env=clean_environment() | {"LOGLEVEL": level},
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        "Can't set up logging (ValueError). Check LOGLEVEL and SINGER_SDK_LOG_CONFIG.\n"
    )


@pytest.mark.parametrize("name", ["LOGLEVEL", "TAP_TUPLE_LOGLEVEL", "SINGER_SDK_LOG_CONFIG"])
def test_empty_log_settings_are_ignored(tap: TapCommand, serve: SandboxFactory, name: str) -> None:
    config = config_for(serve(make_calls(3)))

    run = tap(config=config, env={name: ""})

    assert run.ids("calls") == [1, 2, 3]


def test_help_describes_the_command(tap: TapCommand) -> None:
    run = tap("--help")

    assert "Read a team's completed calls and their participants from Tuple" in run.stdout


def test_about_and_version_work_without_settings(tap: TapCommand) -> None:
    about = json.loads(tap("--about", "--format=json").stdout)
    assert list(about["settings"]["properties"])[:8] == [
        "api_token",
        "start_date",
        "end_date",
        "lookback_window",
        "page_size",
        "requests_per_minute",
        "api_url",
        "user_agent",
    ]
    assert "| api_token |" in tap("--about", "--format=markdown").stdout
    assert tap("--version").stdout.startswith("tap-tuple v")


def test_package_imports_without_posix_features() -> None:
    """Windows lacks `select.PIPE_BUF` and `signal.SIGALRM`."""
    script = (
        "import select, signal; del select.PIPE_BUF, signal.SIGALRM, signal.setitimer; "
        "import tap_tuple.tap"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
