"""Runs the tap's command line quickly, by forking a process that has already imported it.

Importing the SDK takes most of a second, and the tests run the command line hundreds of times. Each
run is still a separate process, with its own arguments, environment and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch

from tap_tuple import __main__
from tap_tuple.check import cli as check

if TYPE_CHECKING:
    from pathlib import Path


PROGRAMS = {"tap-tuple": __main__.main, "tap-tuple-check": check.main}


class ForkServer:
    """A process that forks itself for each run."""

    def __init__(self) -> None:
        """Start the process, which imports the tap once."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        arguments: list[str],
        *,
        folder: Path,
        environment: dict[str, str],
        skip_waits: bool = False,
        program: str = "tap-tuple",
    ) -> tuple[int, str, str]:
        """Run the command line of a program until it exits.

        Returns:
            The exit code, standard output and standard error.
        """
        stdout, stderr = folder / "stdout.txt", folder / "stderr.txt"
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "stdout": str(stdout),
            "stderr": str(stderr),
            "skip_waits": skip_waits,
            "program": program,
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        returncode = int(self._process.stdout.readline())
        return returncode, stdout.read_text("utf-8"), stderr.read_text("utf-8")

    def stop(self) -> None:
        """End the process."""
        with self._process as process:
            assert process.stdin
            process.stdin.close()


def serve() -> None:
    """Fork for each request on standard input, and print the exit code."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(request)
        _, status = os.waitpid(child, 0)
        os.write(sys.stdout.fileno(), f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(request: dict[str, Any]) -> NoReturn:
    """Run the command line in this process."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags), number)
    if request["skip_waits"]:
        _skip_waits()
    returncode = 1
    try:
        sys.argv[1:] = request["arguments"]
        PROGRAMS[request["program"]]()
    except SystemExit as ended:
        returncode = ended.code if isinstance(ended.code, int) else bool(ended.code)
    except BaseException:  # noqa: BLE001 - like the interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(returncode)


def _skip_waits() -> None:
    """Make sleep() advance the clock instead of waiting."""
    monotonic, waited = time.monotonic, [0.0]
    patch.multiple(time, sleep=waited.append, monotonic=lambda: monotonic() + sum(waited)).start()


if __name__ == "__main__":
    serve()
