"""The tap's command line: a failure takes one line, and never a value of a row."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from singer_sdk.exceptions import SingerSDKError
from singer_sdk.plugin_base import SingerCommand
from typing_extensions import override


class OneLineErrorsCommand(SingerCommand):
    """Says what failed in one line; where it failed, without messages, is for DEBUG."""

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; ``--discover`` and ``--test`` run while its options are read."""
        try:
            return super().main(*args, **kwargs)
        except (SingerSDKError, OSError) as error:
            self._fail(str(error), error)
        except Exception as error:  # noqa: BLE001 - the next line says why
            # Python quotes values in its messages, and a value may be an email.
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            self._fail(
                f"Stopped by {type(error).__name__} in {last.name} ({where}). If a stream map "
                "computes with columns or settings, check it; otherwise please report this, with "
                "the log of a run with TAP_TUPLE_LOGLEVEL=DEBUG in the environment.",
                error,
            )

    def _fail(self, message: str, error: Exception) -> NoReturn:
        frames = "".join(traceback.format_tb(error.__traceback__))
        self.logger.debug("%s came from:\n%s", type(error).__name__, frames)
        for line in message.splitlines():
            self.logger.error("%s", line)
        sys.exit(1)
