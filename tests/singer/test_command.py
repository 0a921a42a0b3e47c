"""Files of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox
    from tests.conftest import TapCommand

    Serve = Callable[..., Sandbox]


def test_a_state_that_is_no_state_is_refused(tap: TapCommand, tmp_path: Path) -> None:
    for text in ("[]", '{"bookmarks": []}', '{"bookmarks": {"calls": 1}}', "{"):
        path = tmp_path / "odd.json"
        path.write_text(text)
        run = tap("--state", str(path), config={"api_token": "sk-tuple-x"})

        assert run.returncode == 1
        (error,) = run.errors
        assert error.startswith("--state ")
        assert "Traceback" not in run.stderr
