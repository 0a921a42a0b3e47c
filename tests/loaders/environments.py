"""Installs each loader into a separate environment, which is kept for later test runs."""

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
    """Install packages for the Python that runs the tests, unless they're already installed.

    Several workers or threads may request the same packages at the same time.

    Args:
        requirements: Requirements in pip's syntax.

    Returns:
        The folder with the environment's executables.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = CACHE / f"{python}-{digest[:16]}"
    # Written last. If it's missing, an installation was interrupted.
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
        # The lock is released when the file is closed or the process ends.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
