"""Runs Meltano in a copy of this project, with separate state for each test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment

TARGET_DUCKDB_WORKS = sys.version_info < (3, 14)
needs_target_duckdb = pytest.mark.skipif(
    not TARGET_DUCKDB_WORKS,
    reason="expected: target-duckdb needs DuckDB 1.2, which has no wheel for Python 3.14",
)


class MeltanoProject:
    """The ``meltano`` command, run in a project."""

    def __init__(self, folder: Path, *, system: Path | None = None) -> None:
        """Prepare to run Meltano.

        Args:
            folder: The project's folder, which also contains its state.
            system: The folder to install plugins in. Defaults to the project's folder.
        """
        self.folder = folder
        self.environment = clean_environment() | {
            "MELTANO_SYS_DIR_ROOT": str((system or folder) / ".meltano"),
            "MELTANO_DATABASE_URI": f"sqlite:///{folder / 'meltano.db'}",
            "NO_COLOR": "1",
        }

    @classmethod
    def copy_project(cls, folder: Path, *, system: Path) -> MeltanoProject:
        """Copy meltano.yml to a folder, where a test can change it."""
        text = (ROOT / "meltano.yml").read_text(encoding="utf-8")
        folder.mkdir(parents=True)
        (folder / "output").mkdir()
        (folder / "meltano.yml").write_text(
            text.replace("pip_url: -e .\n", f"pip_url: -e {ROOT}\n"), encoding="utf-8"
        )
        return cls(folder, system=system)

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a Meltano command, which must succeed.

        Returns:
            Its combined output.
        """
        done = self.run_unchecked(*arguments, env=env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run_shell(self, commands: str, env: dict[str, str]) -> None:
        """Run shell commands, like someone who pastes them. All of them must succeed."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
            cwd=self.folder,
            env=self.environment | env | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"

    def run_unchecked(
        self, *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Meltano command that may fail."""
        return subprocess.run(
            [Path(sys.executable).with_name("meltano"), *arguments],
            cwd=self.folder,
            env=self.environment | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
