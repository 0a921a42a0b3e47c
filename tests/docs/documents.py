"""Reads the code blocks of the project's documents, and the mark of each block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = (
    "settings",
    "columns",
    "loaders",
    "privacy",
    "questions",
    "running",
    "checking",
    "github-actions",
    "troubleshooting",
)
DOCUMENTS = (
    ROOT / "README.md",
    *(ROOT / "docs" / f"{page}.md" for page in PAGES),
    *(ROOT / "docs" / f"{page}.md" for page in ("benchmark", "design", "hub")),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
)
"""In the order in which a newcomer reads them."""

_BLOCK = re.compile(
    r"(?:^(?P<indent> *)<!-- (?P<mark>[^\n]+) -->\n)?^(?P<fence> *)```(?P<language>\w+)\n"
    r"(?P<text>.*?)^(?P=fence)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    language: str
    mark: str
    """The comment on the line above: ``run: name``, ``not run: reason`` or ``file: name``."""
    text: str

    @property
    def name(self) -> str:
        """The part of the mark after the colon."""
        return self.mark.partition(": ")[2]


@cache
def text_of(document: Path) -> str:
    """Return the text of a document."""
    return document.read_text(encoding="utf-8")


@cache
def blocks() -> tuple[Block, ...]:
    """Return the blocks of all documents, in order."""
    return tuple(
        Block(
            document.name,
            found["language"],
            found["mark"] or "",
            re.sub(rf"^{found['fence']}", "", found["text"], flags=re.MULTILINE),
        )
        for document in DOCUMENTS
        for found in _BLOCK.finditer(text_of(document))
    )


def block(mark: str) -> Block:
    """Return the block with this mark. There must be exactly one."""
    (found,) = (each for each in blocks() if each.mark == mark)
    return found


def commands_to_run() -> list[Block]:
    """Return the shell blocks that are marked to be run."""
    return [each for each in blocks() if each.mark.startswith("run: ")]


def between(name: str, document: Path) -> str:
    """Return the part of a document between two markers."""
    (part,) = re.findall(f"<!-- {name} -->(.*?)<!-- /{name} -->", text_of(document), re.DOTALL)
    return str(part)
