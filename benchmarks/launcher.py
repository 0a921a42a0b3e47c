"""Runs one command, and records its cost: ``python launcher.py REPORT COMMAND...``.

It is a separate, small process, because a process's peak memory starts at that of its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BYTES_PER_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main(report: Path, command: list[str]) -> int:
    """Run a command to completion.

    Args:
        report: A file for the figures.
        command: The program's path, and its arguments.

    Returns:
        The command's exit code.
    """
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    figures = {
        "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * BYTES_PER_MAXRSS_UNIT,
    }
    report.write_text(json.dumps(figures))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
