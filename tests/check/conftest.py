"""Runs ``tap-tuple-check`` as a separate process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Run, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.fork_server import ForkServer


class CheckCommand:
    """The command line of ``tap-tuple-check``."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        """Store the folder to run it in."""
        self._folder = folder
        self._server = server

    def __call__(
        self,
        *arguments: str,
        sandbox: Sandbox | None = None,
        skip_waits: bool = False,
        **environment: str,
    ) -> Run:
        """Run the command, with the settings of a sandbox in the environment."""
        settings = {}
        if sandbox:
            settings = {"TAP_TUPLE_API_URL": sandbox.url, "TAP_TUPLE_API_TOKEN": sandbox.token}
        done = self._server.run(
            list(arguments),
            folder=self._folder,
            environment=clean_environment() | settings | environment,
            skip_waits=skip_waits,
            program="tap-tuple-check",
        )
        run = Run(*done)
        assert "Please report this" not in run.stderr, run.stderr
        return run


@pytest.fixture
def check_command(tmp_path: Path, fork_server: ForkServer) -> CheckCommand:
    """The command line of ``tap-tuple-check``, in an empty folder."""
    return CheckCommand(tmp_path, fork_server)
