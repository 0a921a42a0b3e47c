"""Runs the real tap against a sandbox of its own: ``tap-tuple-sandbox``."""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from tap_tuple.sandbox.company import Company
from tap_tuple.sandbox.server import Sandbox
from tap_tuple.singer.command import run
from tap_tuple.tap import PRIVATE, TapTuple


class TapTupleSandbox(TapTuple):
    """tap-tuple against a local Tuple with believable calls; no token is needed."""

    name = "tap-tuple-sandbox"
    package_name = "tap-tuple"
    sandbox: ClassVar[Sandbox]

    @override
    def __init__(self, *, config: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Send the tap to the sandbox, wherever its settings point.

        Args:
            config: The settings.
            **kwargs: As `singer_sdk.Tap` takes them.
        """
        sandboxed = {"api_url": self.sandbox.url, "api_token": self.sandbox.token}
        super().__init__(config={**(config or {}), **sandboxed}, **kwargs)


def main() -> None:
    """Run tap-tuple's command line while a sandbox serves the company's calls."""
    with Sandbox(Company()) as TapTupleSandbox.sandbox:
        run(TapTupleSandbox, PRIVATE)
