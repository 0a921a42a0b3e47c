"""Simulates someone with a clone, Python and pip who follows the documents exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, clean_environment
from tests.postgres_server import postgres_binaries

REPOSITORY = "git+https://github.com/tap-tuple/tap-tuple"


class Newcomer:
    """A person with a fresh clone and an empty home directory.

    To save downloads, they share this machine's cache of packages.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        """Create the home directory, the clone, and a Python with pip."""
        self.clone = folder / "tap-tuple"
        self.home = folder / "home"
        self.home.mkdir()
        _copy_checkout(self.clone)
        python = folder / "python"
        _uv("venv", "--quiet", "--no-project", "--seed", "--python", sys.executable, str(python))
        # Newcomers don't have the environment that runs these tests.
        test_environment = str(ROOT / ".venv")
        path = [
            each
            for each in os.environ["PATH"].split(os.pathsep)
            if not each.startswith(test_environment)
        ]
        # uv installs tools in `.local/bin`, so its users have that on their PATH.
        # psql comes with PostgreSQL.
        path_entries = [
            str(python / "bin"),
            str(self.home / ".local/bin"),
            *path,
            postgres_binaries(),
        ]
        # They don't have a developer's Python settings, either.
        theirs = {
            name: value
            for name, value in clean_environment().items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV", "XDG_"))
        }
        self.environment = theirs | {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(path_entries),
            "UV_CACHE_DIR": _uv("cache", "dir"),
            "NO_COLOR": "1",
            **environment,
        }

    def run(self, commands: str, folder: Path | None = None) -> str:
        """Run shell commands, all of which must succeed.

        Returns:
            Their combined output.
        """
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
            cwd=folder or self.clone,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout


def _copy_checkout(clone: Path) -> None:
    """Copy the files that a clone would have, but no ignored files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)


def _uv(*arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
