"""Run the tap: ``python -m tap_tuple`` or ``tap-tuple``."""

from __future__ import annotations

from tap_tuple.api.rejections import TOKEN_PREFIX
from tap_tuple.singer.command import run
from tap_tuple.tap import TapTuple


def main() -> None:
    """Run the tap's command line."""
    run(TapTuple, TOKEN_PREFIX)


if __name__ == "__main__":
    main()
