"""What a file of events says of itself, and the walk that proves it: docs/reference/export-format.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from adapters.postgres.hash_chain import ChainWalk
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput, LogCorrupt

FORMAT: Final = "daybook-events-1"
"""The first word of every file: another layout gets another number."""

Linked = tuple[StoredEvent, bytes | None]
"""A row, and the hash before it where the row before it is not in the file."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The claims of a file.

    Attributes:
        first_position, last_position: of its first and last row; 0 where it has none.
        rows: how many it holds.
        first_prev_hash: the hash before its first row.
        last_hash: the hash of its last row.
    """

    first_position: int
    last_position: int
    rows: int
    first_prev_hash: bytes
    last_hash: bytes

    @property
    def contiguous(self) -> bool:
        """Whether it leaves no position out: a piece of the log, not a selection."""
        return self.rows == self.last_position - self.first_position + 1

    def as_json(self) -> dict[str, Any]:
        """The claims as they are printed and stored: hashes in hex."""
        return {
            "first_position": self.first_position,
            "last_position": self.last_position,
            "rows": self.rows,
            "first_prev_hash": self.first_prev_hash.hex(),
            "last_hash": self.last_hash.hex(),
        }


def summary_of(claims: Any, path: Path) -> Summary:  # noqa: ANN401 - whatever a file holds
    """The claims back from `Summary.as_json`.

    Raises:
        InvalidInput: they are not claims of ours.
    """
    try:
        first, last, rows = (_count(claims[name]) for name in ("first_position", "last_position", "rows"))
        before, after = (bytes.fromhex(claims[name]) for name in ("first_prev_hash", "last_hash"))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{path} does not say which events it holds ({error!r}): it was not written by daybook"
        ) from error
    return Summary(first, last, rows, before, after)


def _count(claim: Any) -> int:  # noqa: ANN401 - whatever a file holds
    if not isinstance(claim, int) or not 0 <= claim < 2**63:
        raise ValueError(f"{claim!r} is no position and no number of rows")
    return claim


class EventReader(Protocol):
    """A file of events, open for reading; a context manager."""

    path: Path
    summary: Summary

    def batches(self) -> Iterator[list[Linked]]:
        """Its rows as they stand, a bounded number at a time.

        Raises:
            InvalidInput: a part of the file cannot be read.
        """
        ...

    def place(self, number: int) -> str:
        """Where a person finds the row of that number, from 0, such as `line 7`."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


class EventWriter(Protocol):
    """A file of events, being written."""

    def write(self, rows: Sequence[Linked]) -> None:
        """Some more rows, in position order."""
        ...

    def close(self, summary: Summary | None) -> None:
        """End the file with its claims; without them it is given up."""
        ...


def verified(reader: EventReader) -> Iterator[list[StoredEvent]]:
    """The rows of a file, each proven by the hash before it; bounded memory.

    Raises:
        InvalidInput: naming the file and the first line or row that is altered, missing or out of order, or
            cannot be read.
    """
    walk, rows = ChainWalk(), 0
    for batch in reader.batches():
        for row, before in batch:
            if before is not None:
                _jump(walk, row, before, reader, rows)
            _step(walk, row, reader, rows)
            rows += 1
        yield [row for row, _ in batch]
    _check_end(walk, rows, reader)


def _jump(walk: ChainWalk, row: StoredEvent, before: bytes, reader: EventReader, number: int) -> None:
    """Go over positions that the file leaves out, where it may."""
    claims = reader.summary
    if number == 0:
        if (row.position, before) != (claims.first_position, claims.first_prev_hash):
            raise InvalidInput(
                f"{reader.path}, {reader.place(0)}: the file says that it begins at position "
                f"{claims.first_position}, and its first event is another"
            )
    elif row.position <= walk.position + 1 or claims.contiguous:
        raise _out_of_order(walk, row, reader, number)
    walk.position, walk.hash = row.position - 1, before


def _step(walk: ChainWalk, row: StoredEvent, reader: EventReader, number: int) -> None:
    if row.position != walk.position + 1:
        raise _out_of_order(walk, row, reader, number)
    try:
        walk.step(row)
    except (LogCorrupt, struct.error) as error:  # a number that no column holds cannot even be hashed
        raise InvalidInput(
            f"{reader.path}, {reader.place(number)}: the event of position {row.position} is not as it was "
            "written: its content does not give its hash"
        ) from error


def _out_of_order(walk: ChainWalk, row: StoredEvent, reader: EventReader, number: int) -> InvalidInput:
    return InvalidInput(
        f"{reader.path}, {reader.place(number)}: position {row.position} stands where position "
        f"{walk.position + 1} should"
    )


def _check_end(walk: ChainWalk, rows: int, reader: EventReader) -> None:
    """Compare what was read with what the file says of itself."""
    claims = reader.summary
    if (rows, walk.position) != (claims.rows, claims.last_position):
        raise InvalidInput(
            f"{reader.path} holds {rows:,} events up to position {walk.position}, and says that they are "
            f"{claims.rows:,} up to position {claims.last_position}"
        )
    if rows and walk.hash != claims.last_hash:
        raise InvalidInput(
            f"{reader.path} says that its last hash is {claims.last_hash.hex()}, and its last event has "
            f"{walk.hash.hex()}"
        )
