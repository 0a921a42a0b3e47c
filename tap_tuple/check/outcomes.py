"""The possible results of checking a statement."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """Whether a statement is true."""

    HOLDS = "holds"
    DIFFERS = "differs"
    NOT_CHECKED = "not checked"
    OBSERVED = "observed"
    """The documentation doesn't say which result is right."""


class Outcome(NamedTuple):
    """A verdict, with a detail that never quotes a value from a call."""

    verdict: Verdict
    detail: str = ""


HOLDS = Outcome(Verdict.HOLDS)


def differs(how: str) -> Outcome:
    """Return the outcome for a statement that the API contradicts."""
    return Outcome(Verdict.DIFFERS, how)


def not_checked(why: str) -> Outcome:
    """Return the outcome for a statement that couldn't be checked."""
    return Outcome(Verdict.NOT_CHECKED, why)


def observed(what: str) -> Outcome:
    """Return the outcome for behavior that the documentation leaves open."""
    return Outcome(Verdict.OBSERVED, what)


def holds_if(condition: bool, otherwise: str) -> Outcome:  # noqa: FBT001 - reads like a sentence
    """Return `HOLDS` if the condition is true, and otherwise how the API differs."""
    return HOLDS if condition else differs(otherwise)


NO_CALLS = not_checked("there are no calls")
TOO_FEW_CALLS = not_checked("there are too few calls")
"""This doesn't reveal the number of calls."""
