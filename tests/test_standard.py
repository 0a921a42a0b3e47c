"""The SDK's standard tests for taps, run against the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_tuple.sandbox import Sandbox
from tap_tuple.sandbox.company import Company
from tap_tuple.tap import TapTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SANDBOX = Sandbox(Company())


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> Iterator[None]:
    """Run the sandbox while the SDK's tests run."""
    with SANDBOX:
        yield


TestTapTuple = get_tap_test_class(
    TapTuple,
    config={"api_url": SANDBOX.url, "api_token": SANDBOX.token},
    suite_config=SuiteConfig(max_records_limit=500),
)
