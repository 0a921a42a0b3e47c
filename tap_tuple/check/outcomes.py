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
    """The documentation leaves it open."""


class Outcome(NamedTuple):
    """A verdict, and what there is to say about it. It never quotes a value of a call."""

    verdict: Verdict
    detail: str = ""


HOLDS = Outcome(Verdict.HOLDS)


def differs(how: str) -> Outcome:
    """Return that the API does something else."""
    return Outcome(Verdict.DIFFERS, how)


def not_checked(why: str) -> Outcome:
    """Return that the statement couldn't be checked."""
    return Outcome(Verdict.NOT_CHECKED, why)


def observed(what: str) -> Outcome:
    """Return what the API does where its documentation says nothing."""
    return Outcome(Verdict.OBSERVED, what)


def holds_if(condition: bool, otherwise: str) -> Outcome:  # noqa: FBT001 - reads like a sentence
    """Return that a statement holds under a condition, and how it differs otherwise."""
    return HOLDS if condition else differs(otherwise)


NO_CALLS = not_checked("there are no calls")
TOO_FEW_CALLS = not_checked("there are too few calls")
"""Neither says how many there are."""
