"""A mock of Tuple's API with believable calls, to try the tap without a token, and for tests."""

from __future__ import annotations

from tap_tuple.sandbox.server import CallLog, ReceivedRequest, Sandbox

__all__ = ["CallLog", "ReceivedRequest", "Sandbox"]
