"""Redaction: no log line shows a token, an email, or data from a row."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

QUOTING_LOGGERS = ("urllib3", "singer_sdk.mapper")
"""Loggers that quote emails, tokens and salts."""
DEBUG_LOGGERS = ("singer_sdk.metrics",)
"""Loggers moved to DEBUG, because Meltano doesn't show which stream a metric belongs to."""
DEBUG_LINE_PREFIXES = (
    "Skipping parse of env var settings",
    "Parsing env var for settings config",
    "Added '%s' as child stream",
    "Config validation failed",
)
"""Prefixes of SDK lines that are moved to DEBUG. The tap reports invalid settings itself."""
HIDDEN = -1
"""A level below that of every handler."""
REDACTED = "[redacted]"

# Bounded, because matching a long word would otherwise take quadratic time.
EMAIL = r"[^\s'\"<>(@]{1,64}@[^\s'\"<>)]{1,255}"


def private_text(token_prefix: str) -> re.Pattern[str]:
    """Return a pattern for emails and tokens."""
    token = re.escape(token_prefix) + r"[^\s'\",;)\]}]+"
    return re.compile(f"{token}|{EMAIL}", re.IGNORECASE)


def redact_logs(private: re.Pattern[str]) -> None:
    """Redact private text in every log line of this process, however logging is configured."""
    make_record = logging.getLogRecordFactory()

    def make_redacted_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        if record.name.startswith(QUOTING_LOGGERS):
            record.levelno = HIDDEN
        elif _belongs_to_debug(record):
            is_shown = logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
            record.levelno = logging.DEBUG if is_shown else HIDDEN
            record.levelname = "DEBUG"

        message = record.getMessage()
        if private.search(message):
            record.msg, record.args = private.sub(REDACTED, message), ()

        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if private.search(text):
                record.exc_info, record.exc_text = None, private.sub(REDACTED, text)
        return record

    logging.setLogRecordFactory(make_redacted_record)


def _belongs_to_debug(record: logging.LogRecord) -> bool:
    is_from_debug_logger = record.name.startswith(DEBUG_LOGGERS)
    return is_from_debug_logger or str(record.msg).startswith(DEBUG_LINE_PREFIXES)
