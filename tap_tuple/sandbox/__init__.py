"""A local Tuple with believable calls, for trying the tap without a token, and for its tests."""

from __future__ import annotations

from tap_tuple.sandbox.server import CallLog, ReceivedRequest, Sandbox

__all__ = ["CallLog", "ReceivedRequest", "Sandbox"]
