"""Run the tap against its own sandbox: ``tap-tuple-sandbox``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_tuple.api.rejections import TOKEN_PREFIX
from tap_tuple.sandbox.company import Company
from tap_tuple.sandbox.server import Sandbox
from tap_tuple.singer.command import run
from tap_tuple.tap import TapTuple, load_config

if TYPE_CHECKING:
    from tap_tuple.tap import Config


class TapTupleSandbox(TapTuple):
    """Singer tap for a mock of Tuple's API, which serves a fictional company's calls."""

    name = "tap-tuple-sandbox"
    package_name = "tap-tuple"
    help_text = (
        "Run tap-tuple against a mock of Tuple's API, which serves a year of calls from a "
        "fictional company. You don't need a token."
    )
    sandbox: ClassVar[Sandbox]

    @override
    def __init__(self, *, config: Config = None, **kwargs: Any) -> None:
        """Send the tap to the sandbox, wherever its settings point."""
        sandboxed = {"api_url": self.sandbox.url, "api_token": self.sandbox.token}
        super().__init__(config=load_config(config) | sandboxed, **kwargs)


def main() -> None:
    """Run tap-tuple's command line while a sandbox serves the company's calls."""
    with Sandbox(Company()) as TapTupleSandbox.sandbox:
        run(TapTupleSandbox, TOKEN_PREFIX)
