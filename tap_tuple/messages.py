"""Writes Singer messages to standard output in whole lines."""

from __future__ import annotations

import select
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib import Message, RecordMessage, SchemaMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

from tap_tuple.errors import TargetGoneError

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Record

ATOMIC_BYTES = select.PIPE_BUF
"""What a pipe takes in whole or not at all (POSIX ``write``)."""


class LineWriter(GenericSingerWriter[bytes, Message]):
    """Writes records some at a time, every other message at once, and no line in part.

    The SDK's writers flush for each record, and write to a file without a buffer of its own
    where ``PYTHONUNBUFFERED`` is set, which may take a part of a line only. This one hands a
    pipe no more than it takes in one piece, so that a run that is killed, however it is, leaves
    whole lines. It does the same whatever ``PYTHONUNBUFFERED`` says.
    """

    def __init__(self) -> None:
        """Start with nothing to write."""
        self._lines: list[bytes] = []
        self._length = 0
        self._schemas: dict[str, SchemaMessage] = {}
        self.rows: Counter[str] = Counter()
        """RECORD messages so far, by the stream that they name."""

    @override
    def serialize_message(self, message: Message) -> bytes:
        return encoder.encode(message.to_dict()) + b"\n"

    @override
    def write_message(self, message: Message) -> None:
        """Write a message; a SCHEMA that says nothing new is left out.

        A child stream writes its SCHEMA once per page, and some loaders drop rows on that.

        Args:
            message: Any Singer message.

        Raises:
            TargetGoneError: If nobody reads any more.
        """
        if isinstance(message, SchemaMessage):
            # A stream map may have taken the column of the bookmark away.
            columns = message.schema["properties"]
            known = [name for name in message.bookmark_properties or () if name in columns]
            message.bookmark_properties = known or None
            if self._schemas.get(message.stream) == message:
                return
            self._schemas[message.stream] = message
        self._append(self.format_message(message))
        if isinstance(message, RecordMessage):
            self.rows[message.stream] += 1
        else:
            self.flush()

    def write_row(self, stream: str, row: Record) -> None:
        """Write a row as a RECORD, without a message object in between.

        Args:
            stream: The stream's name.
            row: The row.

        Raises:
            TargetGoneError: If nobody reads any more.
        """
        record = {
            "type": "RECORD",
            "stream": stream,
            "record": row,
            "time_extracted": datetime.now(UTC),
        }
        self._append(encoder.encode(record) + b"\n")
        self.rows[stream] += 1

    def _append(self, line: bytes) -> None:
        self._length += len(line)
        if self._length > ATOMIC_BYTES:
            self.flush()
            self._length = len(line)
        self._lines.append(line)

    def flush(self) -> None:
        """Write what is left.

        Raises:
            TargetGoneError: If nobody reads any more.
        """
        lines = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._length = 0
        # Past Python's own buffer, which would cut lines where it is full.
        out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        try:
            while lines:
                written = out.write(lines)
                if written is None:
                    # A pipe that does not block, and is full.
                    select.select([], [out], [])
                else:
                    lines = lines[written:]
        except BrokenPipeError:
            msg = "The target stopped reading. Look for its own error; the next run goes on here."
            raise TargetGoneError(msg) from None
