"""Redaction of log lines, whatever logger they come from and however logging is configured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from tap_tuple.singer.logs import DEBUG_LINE_PREFIXES, REDACTED, private_text, redact_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_PREFIX = "sk-tuple-"  # noqa: S105 - how a token starts
TOKEN = "sk-tuple-Canary0123"  # noqa: S105 - not a real token
EMAIL = "canary@lumen.example"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (EMAIL, REDACTED),
        (f"<{EMAIL}>", f"<{REDACTED}>"),
        (f"'{EMAIL}'", f"'{REDACTED}'"),
        (f"({EMAIL})", f"({REDACTED})"),
        (f"{EMAIL}, {TOKEN}", f"{REDACTED} {REDACTED}"),
        (f"token {TOKEN}.", f"token {REDACTED}"),
        (f"{{'token': '{TOKEN}'}}", f"{{'token': '{REDACTED}'}}"),
        (TOKEN.upper(), REDACTED),
        ("It must start with 'sk-tuple-'.", "It must start with 'sk-tuple-'."),
        ("an @ alone", "an @ alone"),
    ],
)
def test_emails_and_tokens_are_redacted(text: str, redacted: str) -> None:
    assert private_text(TOKEN_PREFIX).sub(REDACTED, text) == redacted


def test_long_words_are_searched_in_linear_time() -> None:
    """With an unbounded pattern, this would take minutes."""
    assert not private_text(TOKEN_PREFIX).search("a" * 1_000_000)


class CapturingHandler(logging.Handler):
    """Captures formatted records of all levels."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[CapturingHandler]:
    """A handler of the root logger, after redaction is set up."""
    handler = CapturingHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root, make_record = logging.getLogger(), logging.getLogRecordFactory()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    redact_logs(private_text(TOKEN_PREFIX))
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    logging.setLogRecordFactory(make_record)


def test_private_text_in_a_message_is_redacted(log: CapturingHandler) -> None:
    logging.getLogger("any").info("Sent %s to %s", TOKEN, EMAIL)

    assert log.lines == [f"INFO Sent {REDACTED} to {REDACTED}"]


def test_other_messages_keep_their_arguments(log: CapturingHandler) -> None:
    logging.getLogger("any").info("Read %d calls", 3)

    assert log.lines == ["INFO Read 3 calls"]


def log_failure(text: str) -> None:
    try:
        int(text)
    except ValueError:
        logging.getLogger("any").exception("It failed")


def test_private_text_in_a_traceback_is_redacted(log: CapturingHandler) -> None:
    log_failure(EMAIL)

    (line,) = log.lines
    assert line.startswith("ERROR It failed\nTraceback ")
    assert line.endswith(f"with base 10: '{REDACTED}'")


def test_other_tracebacks_are_kept(log: CapturingHandler) -> None:
    log_failure("three")

    assert log.lines[0].endswith("with base 10: 'three'")


@pytest.mark.parametrize("name", ["urllib3", "urllib3.connectionpool", "singer_sdk.mapper"])
def test_loggers_that_quote_values_are_hidden(log: CapturingHandler, name: str) -> None:
    logging.getLogger(name).error("anything")

    assert log.lines == []


@pytest.mark.parametrize("line", DEBUG_LINE_PREFIXES)
def test_sdk_details_are_logged_at_debug(log: CapturingHandler, line: str) -> None:
    logging.getLogger("any").info(f"{line} and more")  # noqa: G004 - the text is what matters

    assert [shown.split()[0] for shown in log.lines] == ["DEBUG"]


@pytest.mark.parametrize(
    ("level", "shown"), [(logging.DEBUG, ["DEBUG METRIC"]), (logging.INFO, [])]
)
def test_metrics_are_shown_only_with_debug(
    log: CapturingHandler, level: int, shown: list[str]
) -> None:
    metrics = logging.getLogger("singer_sdk.metrics.test")
    metrics.setLevel(level)
    # Another test may have configured the parent loggers.
    metrics.propagate = False
    metrics.addHandler(log)

    metrics.info("METRIC")

    assert log.lines == shown
