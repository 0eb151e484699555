"""The hash chain: each event's hash covers its bytes, its place and the hash before it.

`hash = sha256(previous hash || header || data)`. The layout of the header is written down in
docs/reference/hash-chain.md, so that anyone can verify the log without this code.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

from adapters.postgres.rows import Row, StoredEvent
from domain.errors import LogCorrupt
from domain.events import event_id

GENESIS: Final = bytes(32)
"""The hash before the first event."""

LAYOUT: Final = 1
NO_SLOT: Final = -1
pack_header: Final = Struct(">BQQIqq16s16sB16sHHH").pack
NIL: Final = bytes(16)


def link(before: bytes, row: Row) -> bytes:
    """The hash of one event, 32 bytes, from the hash before it and its row. About 2 microseconds."""
    return sha256(b"".join((before, *body(row)))).digest()


def body(row: Row) -> tuple[bytes, ...]:
    """What is hashed of a row, in pieces, behind the hash before it: header, names and data."""
    position, stream, version, topic, class_version, recorded_at, id_, cause, story, actor, slot, data = row
    names = stream.encode(), topic.encode(), actor.encode()
    header = pack_header(
        LAYOUT, position, version, class_version, recorded_at, NO_SLOT if slot is None else slot,
        id_.bytes, story.bytes, cause is not None, NIL if cause is None else cause.bytes,
        len(names[0]), len(names[1]), len(names[2]),
    )  # fmt: skip
    return (header, *names, data)


class ChainWalk:
    """Walks the chain from the beginning and stops at the first row that is not as it was written.

    Attributes:
        position: the last position that verified.
        hash: its hash.
    """

    def __init__(self, position: int = 0, hash_: bytes = GENESIS) -> None:
        self.position = position
        self.hash = hash_

    def step(self, row: StoredEvent) -> None:
        """Verify the next row.

        Raises:
            LogCorrupt: naming the first position that is missing or altered.
        """
        expected = self.position + 1
        if row.position != expected:
            raise LogCorrupt(expected, f"it is missing; the next row is position {row.position}")
        if row.event_id != event_id(row.stream, row.version):
            raise LogCorrupt(expected, "its event id does not follow from its stream and version")
        found = link(self.hash, row[:-1])
        if found != row.hash:
            raise LogCorrupt(expected, f"its hash is {row.hash.hex()} but its content gives {found.hex()}")
        self.position, self.hash = expected, found

    def finish(self, head: int, head_hash: bytes) -> None:
        """Compare the end of the chain with the head as it was read before the walk.

        Raises:
            LogCorrupt: when rows are missing at the end, or the last hash is another.
        """
        if self.position < head:
            raise LogCorrupt(self.position + 1, f"it is missing, and so is the rest up to the head at {head}")
        if self.position == head and self.hash != head_hash:
            raise LogCorrupt(head, "the head holds another hash than the last event")
