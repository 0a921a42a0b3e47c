"""What the tap overrides of the SDK in private, or relies on: a new SDK that differs fails here."""
# ruff: noqa: SLF001 - the private methods are what is compared

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from singer_sdk import Stream, Tap
from singer_sdk.plugin_base import PluginBase

from tap_tuple.bookmarks import BookmarkedStream
from tap_tuple.streams import CallParticipations, Calls, PagewiseStream
from tap_tuple.tap import TapTuple

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (BookmarkedStream._increment_stream_state, Stream._increment_stream_state),
        (
            BookmarkedStream._write_starting_replication_value,
            Stream._write_starting_replication_value,
        ),
        (PagewiseStream._write_record_message, Stream._write_record_message),
        (TapTuple._handle_termination, Tap._handle_termination),
    ],
)
def test_private_methods_that_are_replaced_have_the_parameters_of_the_sdk(
    ours: Callable[..., object],
    theirs: Callable[..., object],
) -> None:
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_no_other_private_method_of_the_sdk_is_replaced() -> None:
    replaced = {
        name
        for ours, theirs in ((Calls, Stream), (CallParticipations, Stream), (TapTuple, Tap))
        for each in ours.__mro__
        if each.__module__.startswith("tap_tuple")
        for name in vars(each)
        if name.startswith("_") and not name.startswith("__") and hasattr(theirs, name)
    } - {"_abc_impl"}

    assert replaced == {
        "_handle_termination",
        "_increment_stream_state",
        "_write_record_message",
        "_write_starting_replication_value",
    }


def test_the_mapper_is_set_up_in_the_two_steps_that_the_tap_takes_apart() -> None:
    steps = inspect.getsource(Tap.setup_mapper)

    assert "super().setup_mapper()" in steps
    assert "self.mapper.register_raw_streams_from_catalog(self.catalog)" in steps
    assert "setup_mapper" in vars(PluginBase)


def test_the_sdk_reads_what_the_streams_set() -> None:
    """Attributes that the SDK no longer reads would have no effect, in silence."""
    source = inspect.getsource(Stream)

    for name in (
        "TYPE_CONFORMANCE_LEVEL",
        "emit_activate_version_messages",
        "get_batch_config(",
        "get_replication_key_signpost(",
        "preprocess_context(",
        "generate_child_contexts(",
        "get_record_counter(",
        "get_sync_timer(",
        "log_sync_costs(",
    ):
        assert f"self.{name}" in source or name in inspect.getsource(Tap), name
