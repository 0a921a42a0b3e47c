"""Runs Meltano in this repository, with a state and a plugin folder that the tests own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, clean_environment


class MeltanoProject:
    """The command ``meltano`` for a project."""

    def __init__(self, folder: Path, *, project: Path = ROOT) -> None:
        """Keep everything that Meltano writes in a folder.

        Args:
            folder: Where plugins and state go.
            project: Where meltano.yml is.
        """
        self._project = project
        self.environment = clean_environment() | {
            "MELTANO_SYS_DIR_ROOT": str(folder / ".meltano"),
            "MELTANO_DATABASE_URI": f"sqlite:///{folder / 'meltano.db'}",
            "MELTANO_CLI_LOG_CONFIG": str(folder / "no-logging.yml"),
            "NO_COLOR": "1",
        }

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a command of Meltano.

        Returns:
            All that it printed.
        """
        done = self.try_to(*arguments, env=env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def try_to(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of Meltano that may fail."""
        return subprocess.run(
            [Path(sys.executable).with_name("meltano"), *arguments],
            cwd=self._project,
            env=self.environment | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
