"""What the log says: nothing private, no value of a row, and per-request metrics at DEBUG alone."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from singer_sdk.metrics import Metric, Point

if TYPE_CHECKING:
    import re

QUOTING_LOGGERS = ("urllib3", "singer_sdk.mapper")  # they quote emails, tokens and salts
REDACTED = "[redacted]"
HIDDEN = -1  # below the level of every handler


def guard_logs(private: re.Pattern[str]) -> None:
    """Redact what is private in every log line of this process, whatever configures the log."""
    make_record = logging.getLogRecordFactory()

    def make_guarded_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        if record.name.startswith(QUOTING_LOGGERS):
            record.levelno = HIDDEN
        point = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if isinstance(point, Point) and point.metric == Metric.HTTP_REQUEST_DURATION:
            # A long run has hundreds.
            is_debug = logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
            record.levelno, record.levelname = logging.DEBUG if is_debug else HIDDEN, "DEBUG"
        if private.search(record.getMessage()):
            record.msg, record.args = private.sub(REDACTED, record.getMessage()), ()
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if private.search(text):
                record.exc_info, record.exc_text = None, private.sub(REDACTED, text)
        return record

    logging.setLogRecordFactory(make_guarded_record)
