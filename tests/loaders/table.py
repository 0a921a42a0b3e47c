"""Renders the table of tested loaders in docs/loaders.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.loaders.known_loaders import Loader

HEADINGS = ("Loader", "Packages", "Python", "Rows", "Repeated rows", "Timestamps", "Setup")


def render_table(loaders: Iterable[type[Loader]]) -> str:
    """Render the table in Markdown."""
    rows = [_cells(loader) for loader in loaders]
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(loader: type[Loader]) -> tuple[str, ...]:
    return (
        loader.name,
        " ".join(f"`{requirement}`" for requirement in loader.requirements),
        ", ".join(loader.pythons),
        "all",
        "appended again" if loader.appends else "updated",
        "exact",
        loader.advice,
    )
