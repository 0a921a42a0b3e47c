"""Runs ``tap-tuple-check`` as a separate process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox

COMMAND = (sys.executable, "-c", "from tap_tuple.check.cli import main; main()")


def run_check(
    *arguments: str, folder: Path, sandbox: Sandbox | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with the settings of a sandbox in the environment."""
    settings = {}
    if sandbox:
        settings = {"TAP_TUPLE_API_URL": sandbox.url, "TAP_TUPLE_API_TOKEN": sandbox.token}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=clean_environment() | settings | environment,
        capture_output=True,
        text=True,
        check=False,
    )
