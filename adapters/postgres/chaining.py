"""Chains a planned batch to the log in one pass: the id and the hash of every event.

The same ids as `domain.events.event_id` and the same hashes as `hash_chain.link`, at half the cost: what an
append's events share is made ready once, and an id is never an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha1, sha256
from typing import Final, TypeAlias

from asyncpg.pgproto.pgproto import UUID as PgUUID  # noqa: N811 - it is one of uuid's UUIDs, kept as bytes

from adapters.postgres.batch import Placed, Plan
from adapters.postgres.hash_chain import LAYOUT, NIL, NO_SLOT, pack_header
from adapters.postgres.rows import KNOWN_NAMES, EncodedAppend, StoredEvent
from domain.events import EVENT_IDS

Shared: TypeAlias = tuple[EncodedAppend, bytes, bytes, bytes, bytes | None]
"""What the events of an append share, and its bytes: stream, actor, correlation id and causation id."""

Link: TypeAlias = tuple[Shared, int, int, bytes, bytes, str, int, bytes]
"""An event in the chain: what it shares, position, version, id, hash, type, schema version and data."""

_FREE: Final = (1 << 128) - 1 ^ 0xF000 << 64 ^ 0xC000 << 48
_VERSION_5: Final = 0x5000 << 64 | 0x8000 << 48
"""The bits of a UUID that are free, and those that say it is one of version 5 (RFC 9562)."""


class Chain:
    """The chain behind the head that a plan follows on.

    Attributes:
        hash: of the last event chained; the head's, before the first.
    """

    def __init__(self, made: Plan) -> None:
        self.hash = made.before[1]

    def links(self, placed: Iterable[Placed]) -> list[Link]:
        """Chain the events of some appends, in order; about 4 microseconds for each."""
        before, links = self.hash, []
        for append, version_before, position_before in placed:
            stream, _, events, (correlation_id, causation_id, actor), recorded_at, slot = append
            stream_bytes, name = _stream(stream)
            actor_bytes, story = actor.encode(), correlation_id.bytes
            leader = None if causation_id is None else causation_id.bytes
            led, leader_or_nil = leader is not None, leader or NIL
            hashed_slot = NO_SLOT if slot is None else slot
            shared = append, stream_bytes, actor_bytes, story, leader
            version, position = version_before, position_before
            for topic, class_version, data in events:
                position += 1
                version += 1
                digest = sha1(b"%b%d" % (name, version), usedforsecurity=False).digest()
                id_ = (int.from_bytes(digest[:16], "big") & _FREE | _VERSION_5).to_bytes(16, "big")
                topic_bytes = topic.encode()
                header = pack_header(
                    LAYOUT, position, version, class_version, recorded_at, hashed_slot, id_, story, led,
                    leader_or_nil, len(stream_bytes), len(topic_bytes), len(actor_bytes),
                )  # fmt: skip
                hashed = before, header, stream_bytes, topic_bytes, actor_bytes, data
                before = sha256(b"".join(hashed)).digest()
                links.append((shared, position, version, id_, before, topic, class_version, data))
        self.hash = before
        return links


@lru_cache(KNOWN_NAMES)
def _stream(stream: str) -> tuple[bytes, bytes]:
    """A stream's name as bytes, and what the ids of its events are made of before the version."""
    return stream.encode(), b"%b%b:" % (EVENT_IDS.bytes, stream.encode())


def rows(links: Iterable[Link]) -> Iterator[StoredEvent]:
    """The rows as they are read back."""
    for (append, *_), position, version, id_, hash_, topic, class_version, data in links:
        stream, _, _, cause, recorded_at, slot = append
        yield StoredEvent(
            position, stream, version, topic, class_version, recorded_at, PgUUID(id_), cause.causation_id,
            cause.correlation_id, cause.actor, slot, data, hash_,
        )  # fmt: skip


def pieces(placed: Iterable[Placed], size: int) -> Iterator[list[Placed]]:
    """The appends, cut where needed, in pieces of so many events; the last may be smaller."""
    piece: list[Placed] = []
    room = size
    for append, version, position in placed:
        begin, count = 0, len(append.events)
        while begin < count:
            taken = append.events[begin : begin + room]
            piece.append((append._replace(events=taken), version + begin, position + begin))
            begin, room = begin + len(taken), room - len(taken)
            if not room:
                yield piece
                piece, room = [], size
    if piece:
        yield piece
