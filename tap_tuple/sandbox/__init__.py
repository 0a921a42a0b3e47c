"""A mock of Tuple's API with believable calls, for tests and for trying the tap without a token."""

from __future__ import annotations

from tap_tuple.sandbox.server import CallLog, ReceivedRequest, Sandbox

__all__ = ["CallLog", "ReceivedRequest", "Sandbox"]
