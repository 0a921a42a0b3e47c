"""Write Singer messages to standard output, always in whole lines."""

from __future__ import annotations

import select
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib import Message, RecordMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.helpers.types import Record

ATOMIC_BYTES = getattr(select, "PIPE_BUF", 512)
"""The largest write that a pipe accepts either as a whole or not at all (POSIX ``write``). Windows
doesn't define it, so the smallest value that POSIX allows is used there."""


class OutputError(FatalSyncError):
    """Standard output can't be written to: the target is gone, or the disk is full."""


class LineWriter(GenericSingerWriter[bytes, Message]):
    """Write messages to standard output, always in whole lines.

    The SDK's writers flush after each record. If ``PYTHONUNBUFFERED`` is set, the system may accept
    only part of a line. This writer gives a pipe no more bytes than it accepts in a single write.
    Even a killed run leaves only whole lines, unless a line is longer than `ATOMIC_BYTES`.
    """

    def __init__(self) -> None:
        """Start counting rows."""
        self.rows: Counter[str] = Counter()
        """Number of RECORD messages, by the name of their stream."""

    @override
    def serialize_message(self, message: Message) -> bytes:
        return encoder.encode(message.to_dict()) + b"\n"

    @override
    def write_message(self, message: Message) -> None:
        if isinstance(message, RecordMessage):
            self.rows[message.stream] += 1
        _write_lines(self.format_message(message))

    def write_rows(self, stream: str, rows: Sequence[Record]) -> None:
        """Write RECORD messages for rows that have just been extracted."""
        now = datetime.now(UTC)
        records = [
            {"type": "RECORD", "stream": stream, "record": row, "time_extracted": now}
            for row in rows
        ]
        self.rows[stream] += len(rows)
        _write_lines(encoder.encode_lines(records))


def _write_lines(lines: bytes) -> None:
    """Write lines in chunks that end at a line break and fit into a single write to a pipe.

    Raises:
        OutputError: If standard output can't be written to.
    """
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + ATOMIC_BYTES) + 1
        is_long_line = end == 0
        if is_long_line:
            end = lines.index(b"\n", start) + 1
        _write(memoryview(lines)[start:end])
        start = end


def _write(data: memoryview) -> None:
    try:
        # Bypass Python's buffer, which splits lines when it is full.
        out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        while data:
            written = out.write(data)
            is_full_nonblocking_pipe = written is None
            if is_full_nonblocking_pipe:
                select.select([], [out], [])
            else:
                data = data[written:]
    except BrokenPipeError:
        msg = (
            "The target stopped reading. Look for its error. The next run resumes from the last "
            "saved bookmark."
        )
        raise OutputError(msg) from None
    except (AttributeError, OSError) as error:
        reason = getattr(error, "strerror", "it is closed")
        msg = f"Can't write to standard output: {reason}."
        raise OutputError(msg) from None
