"""Runs the tap with ``python -m tap_tuple``."""

from __future__ import annotations

from tap_tuple.tap import TapTuple

TapTuple.cli()
