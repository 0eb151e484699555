"""Opens a file of events by its name's ending, and writes one whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from errno import ENOENT
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from adapters.event_files.ndjson import NdjsonReader, NdjsonWriter
from adapters.event_files.parquet import ParquetReader, ParquetWriter
from adapters.event_files.summary import EventReader, EventWriter, Linked, Summary
from adapters.postgres.hash_chain import GENESIS
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput, SetupError

GROUP_ROWS: Final = 8_192
"""Rows of one row group: a page of 500 is read from it without reading much else."""

GROUP_BYTES: Final = 8_000_000
"""Of event data in one row group, so that eight thousand events of a megabyte never stand in memory."""

_WRITERS: Final[dict[str, Callable[[Path], EventWriter]]] = {
    ".parquet": ParquetWriter,
    ".ndjson": NdjsonWriter,
}
_READERS: Final[dict[str, Callable[[Path], EventReader]]] = {
    ".parquet": ParquetReader,
    ".ndjson": NdjsonReader,
}


def open_events(path: Path) -> EventReader:
    """A file of events for reading, its claims read, its rows not yet verified.

    Raises:
        InvalidInput: there is none, or it is not of a known format, or cut off.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise InvalidInput(f"{path} is neither .parquet nor .ndjson: give a file that daybook exported")
    if not path.is_file():
        raise InvalidInput(f"{path} is not there: look at the name")
    return reader(path)


class EventFile:
    """A file of events being written: it appears under its name when it is complete and on the disk.

    Args:
        path: its name; the ending tells the format, for whoever reads it too.
        overwrite: whether a file of that name may be replaced.

    Raises:
        InvalidInput: an unknown ending, or the file is there.
        SetupError: the folder cannot be written to, or the disk is full.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        kind = path.suffix
        if kind not in _WRITERS:
            raise InvalidInput(f"{path} ends in neither .parquet nor .ndjson: choose one of them")
        if path.exists() and not (overwrite and path.is_file()):
            raise InvalidInput(f"{path} is there already: choose another name, or say --force to replace it")
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex}{kind}")
        self._rows: list[Linked] = []
        self._bytes = 0
        self._count = 0
        self._first: tuple[int, bytes] = (0, GENESIS)
        self._last: tuple[int, bytes] = (0, GENESIS)
        with self._room():
            self._writer: EventWriter = _WRITERS[kind](self._temporary)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Tell what is wrong with the folder as a sentence."""
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            mend = "Make that folder" if error.errno == ENOENT else "Make room there"
            raise SetupError(
                f"writing {self.path} failed: {reason}; nothing was left behind. {mend} or choose another, "
                "then run it again"
            ) from error

    @property
    def summary(self) -> Summary:
        """Of what was added so far."""
        return Summary(self._first[0], self._last[0], self._count, self._first[1], self._last[1])

    def add(self, row: StoredEvent, before: bytes) -> None:
        """The next row, and the hash before it."""
        follows = self._count > 0 and row.position == self._last[0] + 1
        if self._count == 0:
            self._first = (row.position, before)
        self._rows.append((row, None if follows else before))
        self._last = (row.position, row.hash)
        self._count += 1
        self._bytes += len(row.data)
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        with self._room():
            self._writer.write(self._rows)
        self._rows, self._bytes = [], 0

    def finish(self) -> Summary:
        """Bring everything to the disk and give the file its name."""
        if self._rows:
            self._flush()
        summary = self.summary
        with self._room():
            self._writer.close(summary)
            _sync(self._temporary)
            self._temporary.replace(self.path)
            _sync(self.path.parent)
        return summary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave nothing half-written."""
        if self._temporary.exists():
            with contextlib.suppress(OSError, ValueError):  # a full disk refuses the footer too
                self._writer.close(None)
            self._temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> bytes:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _sync(path: Path) -> None:
    """A file or folder, so that a power cut takes nothing back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
