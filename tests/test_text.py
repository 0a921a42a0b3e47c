"""Numbers in messages."""

from __future__ import annotations

import pytest

from tap_tuple.text import count


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 calls"), (1, "1 call"), (1.2, "1 call"), (1.6, "2 calls"), (1200, "1,200 calls")],
)
def test_noun_agrees_with_the_rounded_number(number: float, text: str) -> None:
    assert count(number, "call") == text
