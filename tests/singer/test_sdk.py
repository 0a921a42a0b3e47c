"""Private members of the SDK that the tap relies on. A version that changes them fails here."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from singer_sdk import RESTStream, Stream, Tap
from singer_sdk.pagination import HeaderLinkPaginator
from singer_sdk.singerlib.encoding.base import GenericSingerWriter

import tap_tuple
from tap_tuple.api import client
from tap_tuple.api.client import TupleStream
from tap_tuple.api.pagination import CallPages
from tap_tuple.singer import pagewise
from tap_tuple.singer.pagewise import PagewiseStream
from tap_tuple.singer.writer import LineWriter
from tap_tuple.streams import CallParticipations, Calls
from tap_tuple.tap import TapTuple

SUBCLASSES: list[tuple[type, type]] = [
    (Calls, RESTStream),
    (CallParticipations, Stream),
    (TapTuple, Tap),
    (CallPages, HeaderLinkPaginator),
    (LineWriter, GenericSingerWriter),
]
DOCUMENTED = set(re.findall(r"`Stream\.(_\w+)`", f"{pagewise.__doc__} {client.__doc__}"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_abc_impl"


def defined_in_our_code(ours: type) -> set[str]:
    """Return the members of a class that our own code defines."""
    own_classes = [each for each in ours.__mro__ if each.__module__.startswith("tap_tuple")]
    return {name for each in own_classes for name in vars(each)}


@pytest.mark.parametrize("name", ["_generate_schema_messages", "_write_starting_replication_value"])
def test_overridden_methods_keep_the_parameters_of_the_sdk(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(each, name)) for each in (PagewiseStream, Stream))

    assert list(ours.parameters) == list(theirs.parameters)


def test_overridden_private_members_are_documented() -> None:
    overridden = {
        name
        for ours, theirs in SUBCLASSES
        for name in defined_in_our_code(ours)
        if is_private(name) and hasattr(theirs, name)
    }

    assert overridden == {
        "_LOG_REQUEST_METRICS",
        "_generate_schema_messages",
        "_write_starting_replication_value",
    }
    assert overridden <= DOCUMENTED


def test_used_private_members_are_documented() -> None:
    """A name with a leading underscore that we don't define belongs to the SDK."""
    own_names: set[str] = set()
    used_names: set[str] = set()
    for path in Path(tap_tuple.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                own_names.add(node.name)
            elif isinstance(node, ast.Attribute):
                names = own_names if isinstance(node.ctx, ast.Store) else used_names
                names.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own_names.add(node.target.id)
    # An override may call the SDK's method of the same name through super().
    overridden = {"_generate_schema_messages", "_write_starting_replication_value"}
    foreign = {name for name in used_names if is_private(name)} - (own_names - overridden)
    foreign -= {"_asdict", "_replace"}  # methods of NamedTuple

    assert foreign | {"_LOG_REQUEST_METRICS", *overridden} == DOCUMENTED


def test_documented_members_exist_in_the_sdk() -> None:
    instance_attributes = {"_tap"}

    assert all(hasattr(RESTStream, name) for name in DOCUMENTED - instance_attributes)
    assert all(hasattr(TupleStream, name) for name in DOCUMENTED - instance_attributes)
