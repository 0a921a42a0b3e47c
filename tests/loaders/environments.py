"""Installs each loader into a separate environment, and keeps it for the next run."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

CACHE = ROOT / ".cache" / "loaders"
UV = Path(sys.executable).with_name("uv")


def install(requirements: Sequence[str]) -> Path:
    """Install packages for the Python that runs the tests, unless that is done already.

    Several workers or threads may ask for the same one simultaneously.

    Args:
        requirements: As pip takes them.

    Returns:
        The folder of the environment's commands.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = CACHE / f"{python}-{digest[:16]}"
    # Written last: without it, an installation was cut short.
    complete = environment / "complete"
    with _lock(CACHE / f"{environment.name}.lock"):
        if not (complete.exists() and (environment / "bin" / "python").exists()):
            shutil.rmtree(environment, ignore_errors=True)
            _run("venv", "--no-project", "--python", sys.executable, environment)
            _run("pip", "install", "--python", environment, *requirements)
            complete.touch()
    return environment / "bin"


def _run(*arguments: str | Path) -> None:
    done = subprocess.run(
        [UV, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def _lock(path: Path) -> Generator[None]:
    with path.open("w") as file:
        # Closing the file unlocks it, as the end of the process does.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
