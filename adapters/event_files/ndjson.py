"""Events as lines of JSON, for people and other programs: one line an event, claims in the last line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from uuid import UUID

import msgspec

from adapters.event_files.summary import FORMAT, Linked, Summary, summary_of
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput

BATCH: Final = 1_000
"""Lines read at a time."""

MAX_LINE_BYTES: Final = 4_000_000
"""An event of the largest size in base64 and its envelope, twice over: a longer line is none of ours."""

_TAIL_BYTES: Final = 4_096
"""The last line is found within them."""

_BLANK: Final = b" \t\r\n"


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An event's line; the order of the log's columns."""

    position: int
    stream: str
    version: int
    type: str
    schema_version: int
    recorded_at: int
    event_id: UUID
    causation_id: UUID | None
    correlation_id: UUID
    actor: str
    slot: int | None
    hash: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None
    previous_hash: str | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode


class NdjsonWriter:
    """Writes a line for each event."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(_encode({"format": FORMAT}) + b"\n")

    def write(self, rows: Sequence[Linked]) -> None:
        """Some more lines."""
        self._file.write(b"".join(_encode(_line(row, before)) + b"\n" for row, before in rows))

    def close(self, summary: Summary | None) -> None:
        """Write the line of claims."""
        try:
            if summary is not None:
                self._file.write(_encode(summary.as_json()) + b"\n")
        finally:
            self._file.close()


class NdjsonReader:
    """A file of lines, open.

    Raises:
        InvalidInput: it is none of ours, or is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        try:
            if self._file.readline(MAX_LINE_BYTES) != _encode({"format": FORMAT}) + b"\n":
                raise InvalidInput(f"{path} is not of format {FORMAT!r}: its first line does not say so")
            self._begin = self._file.tell()
            self.summary = self._claims()
        except BaseException:
            self._file.close()
            raise

    def _claims(self) -> Summary:
        """From the last line."""
        size = self._file.seek(0, 2)
        self._file.seek(max(self._begin, size - _TAIL_BYTES))
        tail = self._file.read()
        last = tail[tail.rstrip(b"\n").rfind(b"\n") + 1 :]
        self._end = size - len(last)
        try:
            claims = msgspec.json.decode(last) if last.endswith(b"\n") else None
        except msgspec.MsgspecError:
            claims = None
        if not isinstance(claims, dict) or "rows" not in claims:
            raise InvalidInput(f"{self.path} is cut off: its last line is not whole; get a complete copy")
        return summary_of(claims, self.path)

    def batches(self) -> Iterator[list[Linked]]:
        """See `EventReader.batches`."""
        self._file.seek(self._begin)
        lines = self._lines()
        while batch := list(islice(lines, BATCH)):
            yield batch

    def _lines(self) -> Iterator[Linked]:
        number = 0
        while self._file.tell() < self._end:
            line = self._file.readline(MAX_LINE_BYTES)
            try:
                yield _linked(_decode(line))
            except (msgspec.MsgspecError, ValueError, binascii.Error) as error:
                raise InvalidInput(f"{self.path}, {self.place(number)}: it is no event: {error}") from error
            number += 1

    def place(self, number: int) -> str:
        """See `EventReader.place`: the first line names the format."""
        return f"line {number + 2}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()


def line_of(row: StoredEvent) -> bytes:
    """One event as a line, without the newline."""
    return _encode(_line(row, None))


def _line(row: StoredEvent, before: bytes | None) -> _Line:
    """Data that is one line of JSON stands as it is, byte by byte, for the hash covers the bytes."""
    plain = _is_json(row.data)
    return _Line(
        *row[:11],
        row.hash.hex(),
        msgspec.Raw(row.data if plain else b"null"),
        None if plain else base64.b64encode(row.data).decode(),
        None if before is None else before.hex(),
    )


def _is_json(data: bytes) -> bool:
    if not data or b"\n" in data or b"\r" in data or data[:1] in _BLANK or data[-1:] in _BLANK:
        return False
    try:
        msgspec.json.decode(data)
        data.decode()
    except (msgspec.MsgspecError, ValueError):
        return False
    return True


def _linked(line: _Line) -> Linked:
    data = bytes(line.data) if line.data_base64 is None else base64.b64decode(line.data_base64, validate=True)
    row = StoredEvent(
        line.position, line.stream, line.version, line.type, line.schema_version, line.recorded_at,
        line.event_id, line.causation_id, line.correlation_id, line.actor, line.slot, data,
        bytes.fromhex(line.hash),
    )  # fmt: skip
    return row, None if line.previous_hash is None else bytes.fromhex(line.previous_hash)
