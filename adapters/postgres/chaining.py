"""Chains a planned batch to the log in one pass: the id and the hash of every event.

The same ids as `domain.events.event_id` and the same hashes as `hash_chain.link`, at half the cost: what an
append's events share is made ready once, and ids never become integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1, sha256
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as PgUUID  # noqa: N811 - it is one of uuid's UUIDs, kept as bytes

from adapters.postgres.batch import Placed, Plan
from adapters.postgres.hash_chain import LAYOUT, NIL, NO_SLOT, pack_header
from adapters.postgres.rows import EncodedAppend, StoredEvent
from commands.ports import Appended
from domain.events import EVENT_IDS

Link: TypeAlias = tuple[int, int, bytes, bytes, str, int, bytes]
"""What an event does not share with its append: position, version, id, hash, type, schema version, data."""

_VERSIONED: Final = [bytes([byte & 0x0F | 0x50]) for byte in range(256)]
_VARIANT: Final = [bytes([byte & 0x3F | 0x80]) for byte in range(256)]
"""The two bytes of a UUID that say what it is, for every byte of a digest."""


class Chained(NamedTuple):
    """An append with what the chain adds to its events."""

    append: EncodedAppend
    links: list[Link]

    def rows(self) -> list[StoredEvent]:
        """The rows as they are read back."""
        stream, _, _, cause, recorded_at, slot = self.append
        return [
            StoredEvent(
                position, stream, version, topic, class_version, recorded_at, PgUUID(id_), cause.causation_id,
                cause.correlation_id, cause.actor, slot, data, hash_,
            )
            for position, version, id_, hash_, topic, class_version, data in self.links
        ]  # fmt: skip


class Chain:
    """The chain behind the head that a plan follows on.

    Attributes:
        hash: of the last event chained; the head's, before the first.
    """

    def __init__(self, made: Plan) -> None:
        self._after, self.hash = made.before
        self._ids: list[UUID] = []

    def all_of(self, made: Plan) -> list[Chained]:
        """Every append of the plan, in order."""
        return [Chained(placed.append, self.links(placed, placed.append.events)) for placed in made.placed]

    def links(self, placed: Placed, events: Sequence[tuple[str, int, bytes]], skipped: int = 0) -> list[Link]:
        """Chain an append's events, or a piece of them; about 3 microseconds for each.

        Args:
            placed: the append, where it stands.
            events: its events, from the one after the `skipped` ones on.
            skipped: events of it that were chained before.
        """
        append, version, position = placed
        stream, _, _, cause, recorded_at, slot = append
        position, version = position + skipped, version + skipped
        stream_bytes, actor_bytes = stream.encode(), cause.actor.encode()
        name = b"%b%b:" % (EVENT_IDS.bytes, stream_bytes)
        story = cause.correlation_id.bytes
        led = cause.causation_id is not None
        leader = NIL if cause.causation_id is None else cause.causation_id.bytes
        hashed_slot = NO_SLOT if slot is None else slot
        before, links, ids = self.hash, [], self._ids
        for topic, class_version, data in events:
            position, version = position + 1, version + 1
            id_ = _event_id(name + b"%d" % version)
            topic_bytes = topic.encode()
            header = pack_header(
                LAYOUT, position, version, class_version, recorded_at, hashed_slot, id_, story, led, leader,
                len(stream_bytes), len(topic_bytes), len(actor_bytes),
            )  # fmt: skip
            before = sha256(b"".join((before, header, stream_bytes, topic_bytes, actor_bytes, data))).digest()
            links.append((position, version, id_, before, topic, class_version, data))
            ids.append(PgUUID(id_))
        self.hash = before
        return links

    def appended(self, first: int, last: int) -> Appended:
        """The answer to an append that was chained here."""
        return Appended(first, last, tuple(self._ids[first - self._after - 1 : last - self._after]))


def _event_id(name: bytes) -> bytes:
    """A UUID of version 5 (RFC 9562) as bytes."""
    digest = sha1(name, usedforsecurity=False).digest()
    return digest[:6] + _VERSIONED[digest[6]] + digest[7:8] + _VARIANT[digest[8]] + digest[9:16]
