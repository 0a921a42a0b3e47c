"""What the log says: nothing private, no value of a row, and per-request metrics at DEBUG alone."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from singer_sdk.metrics import METRICS_LOGGER_NAME, Metric, Point

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

QUOTING_LOGGERS = ("urllib3", "singer_sdk.mapper")
"""They quote what they read or compute, which may be an email, a token or a salt."""

REDACTED = "[redacted]"


def guard_logs(private: re.Pattern[str]) -> None:
    """Redact what is private in every log line of this process, whatever configures the log."""
    logging.getLogger(METRICS_LOGGER_NAME).addFilter(_demote_request_metrics)
    logging.setLogRecordFactory(_guarded(logging.getLogRecordFactory(), private))


def _demote_request_metrics(record: logging.LogRecord) -> bool:
    """Log the duration of a request at DEBUG: a long run has hundreds."""
    point = record.args[0] if isinstance(record.args, tuple) and record.args else None
    if isinstance(point, Point) and point.metric == Metric.HTTP_REQUEST_DURATION:
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return logging.getLogger(record.name).isEnabledFor(record.levelno)


def _guarded(
    make_record: Callable[..., logging.LogRecord], private: re.Pattern[str]
) -> Callable[..., logging.LogRecord]:
    def make_guarded_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        if record.name.startswith(QUOTING_LOGGERS):
            # Below the level of every handler.
            record.levelno = -1
        if private.search(record.getMessage()):
            record.msg, record.args = private.sub(REDACTED, record.getMessage()), ()
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if private.search(text):
                record.exc_info, record.exc_text = None, private.sub(REDACTED, text)
        return record

    return make_guarded_record
