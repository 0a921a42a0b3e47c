"""What the tap overrides of the SDK in private: a new SDK that differs fails here."""
# ruff: noqa: SLF001 - the private methods are what is compared

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest
from singer_sdk import Stream, Tap

from tap_tuple.singer import pagewise
from tap_tuple.singer.pagewise import PagewiseStream
from tap_tuple.streams import CallParticipations, Calls
from tap_tuple.tap import TapTuple

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(PagewiseStream._write_starting_replication_value, Stream._write_starting_replication_value)],
)
def test_private_methods_that_are_replaced_have_the_parameters_of_the_sdk(
    ours: Callable[..., object], theirs: Callable[..., object]
) -> None:
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_every_private_method_that_is_replaced_is_listed_with_its_reason() -> None:
    replaced = {
        name
        for ours, theirs in ((Calls, Stream), (CallParticipations, Stream), (TapTuple, Tap))
        for each in ours.__mro__
        if each.__module__.startswith("tap_tuple")
        for name in vars(each)
        if name.startswith("_") and not name.startswith("__") and hasattr(theirs, name)
    } - {"_abc_impl"}
    listed = set(re.findall(r"`Stream\.(\w+)`", pagewise.__doc__ or ""))

    assert replaced == listed - {"_tap", "_write_record_message", "_write_schema_message"}
