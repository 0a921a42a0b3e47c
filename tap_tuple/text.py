"""Numbers in messages."""

from __future__ import annotations


def count(number: float, noun: str) -> str:
    """Return a rounded number with its noun, such as "1 call" or "1,200 calls"."""
    rounded = round(number)
    plural = "" if rounded == 1 else "s"
    return f"{rounded:,} {noun}{plural}"
