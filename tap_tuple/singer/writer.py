"""Singer messages go to standard output in whole lines."""

from __future__ import annotations

import select
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib import Message, RecordMessage, SchemaMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Record

ATOMIC_BYTES = select.PIPE_BUF  # what a pipe takes in whole or not at all (POSIX ``write``)


class OutputError(FatalSyncError):
    """Standard output takes no more: the target is gone, or the disk is full."""


class LineWriter(GenericSingerWriter[bytes, Message]):
    """Buffers records, writes every other message at once, and whole lines only.

    The SDK's writers flush for each record; where ``PYTHONUNBUFFERED`` is set, the file under
    them may take a part of a line. This one hands a pipe no more than it takes in one piece, so
    that a run leaves whole lines, up to `ATOMIC_BYTES` each, however it is killed.
    """

    def __init__(self) -> None:
        """Start with an empty buffer."""
        self._lines: list[bytes] = []
        self._length = 0
        self.rows: Counter[str] = Counter()
        """RECORD messages so far, by the stream that they name."""

    @override
    def serialize_message(self, message: Message) -> bytes:
        return encoder.encode(message.to_dict()) + b"\n"

    @override
    def write_message(self, message: Message) -> None:
        if isinstance(message, SchemaMessage) and (keys := message.bookmark_properties):
            # A stream map may have taken the column of the bookmark away.
            columns = message.schema["properties"]
            message.bookmark_properties = type(keys)(key for key in keys if key in columns)
        self._append(self.format_message(message))
        if isinstance(message, RecordMessage):
            self.rows[message.stream] += 1
        else:
            self.flush()

    def write_row(self, stream: str, row: Record) -> None:
        """Write a row as a RECORD, without a message object in between."""
        now = datetime.now(UTC)
        record = {"type": "RECORD", "stream": stream, "record": row, "time_extracted": now}
        self._append(encoder.encode(record) + b"\n")
        self.rows[stream] += 1

    def _append(self, line: bytes) -> None:
        if self._length + len(line) > ATOMIC_BYTES:
            self.flush()
        self._lines.append(line)
        self._length += len(line)

    def flush(self) -> None:
        """Write what is buffered, or raise an OutputError."""
        lines = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._length = 0
        try:
            # Past Python's own buffer, which would cut lines where it is full.
            out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
            while lines:
                written = out.write(lines)
                if written is None:
                    # A pipe that does not block, and is full.
                    select.select([], [out], [])
                else:
                    lines = lines[written:]
        except (AttributeError, OSError) as error:
            msg = "The target stopped reading. Look for its own error; the next run continues."
            if not isinstance(error, BrokenPipeError):
                reason = getattr(error, "strerror", "it is closed")
                msg = f"Standard output cannot be written: {reason}."
            raise OutputError(msg) from None
