"""The tap's command line: malformed state files, and signals during startup."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def test_malformed_state_is_rejected(tap: TapCommand, tmp_path: Path) -> None:
    for text in ("[]", '{"bookmarks": []}', '{"bookmarks": {"calls": 1}}', "{"):
        path = tmp_path / "odd.json"
        path.write_text(text)
        run = tap("--state", str(path), config={"api_token": "sk-tuple-x"})

        assert run.returncode == 1
        (error,) = run.errors
        assert error.startswith("--state ")
        assert "Traceback" not in run.stderr


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
        _, said = process.communicate()

    assert process.returncode == 128 + number
    assert f"Stopped by {number.name}." in said
    assert "Traceback" not in said
