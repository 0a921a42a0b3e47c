"""The check against Tuple itself. It needs a token, and network access."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.check.conftest import CheckCommand

TOKEN = os.environ.get("TAP_TUPLE_API_TOKEN", "")


@pytest.mark.live
@pytest.mark.skipif(not TOKEN, reason="Set TAP_TUPLE_API_TOKEN to check Tuple's API itself.")
def test_api_behaves_as_documented(check_command: CheckCommand) -> None:
    done = check_command(TAP_TUPLE_API_TOKEN=TOKEN)

    assert done.returncode == 0, done.stdout + done.stderr
