"""The library's stored events as rows of our log, and back.

A sequence of the library is a stream: of the same name where the originator id is text, `library-<uuid>`
where it is a UUID. An event of ours in a stream of text must be exactly our encoding and becomes the very row
our own writers would append; any other is kept as a foreign row (adapters/postgres/foreign.py). Streams count
from 1 without gaps. A sequence may begin at 0, as old ones of the library do; its events then say so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, Notification, StoredEvent

from adapters.postgres.codec import codec_for, decode_as, join_version, split_version
from adapters.postgres.foreign import PREFIX, pack, unpack
from adapters.postgres.rows import EncodedAppend
from adapters.postgres.rows import StoredEvent as Row
from domain.errors import InvalidInput
from domain.events import EVENT_TYPES, Cause, derived_id

ACTOR: Final = "library"
"""Who appended what came through the library's recorders."""

_UUID_STREAMS: Final = "library-"


def stream_of(originator_id: UUID | str) -> str:
    """The stream of a sequence.

    Raises:
        InvalidInput: a text that looks like the stream of a UUID.
    """
    if isinstance(originator_id, UUID):
        return f"{_UUID_STREAMS}{originator_id}"
    if originator_id.startswith(_UUID_STREAMS):
        raise InvalidInput(f"originator id {originator_id!r} begins with {_UUID_STREAMS!r}: choose another")
    return originator_id


def originator_of(stream: str) -> UUID | str:
    """The originator id of a stream, of the type it was given with."""
    return UUID(stream.removeprefix(_UUID_STREAMS)) if stream.startswith(_UUID_STREAMS) else stream


def types_of(topics: Iterable[str]) -> set[str] | None:
    """The types of rows that hold these topics; none asks for all."""
    wanted = {kind for topic in topics for kind in (topic, f"{PREFIX}{topic}")}
    return wanted & (EVENT_TYPES.keys() | {kind for kind in wanted if kind.startswith(PREFIX)}) or None


def to_append(originator_id: UUID | str, events: Sequence[StoredEvent], first: int = 1) -> EncodedAppend:
    """The events of one sequence, ready to append.

    Args:
        originator_id: whose.
        events: at least one.
        first: the version the sequence begins with.

    Raises:
        IntegrityError: their versions do not follow on one another.
        InvalidInput: a name that cannot be a stream's, or an event of ours in another encoding.
    """
    if any(after.originator_version != before.originator_version + 1 for before, after in pairwise(events)):
        raise IntegrityError(f"versions of {originator_id} do not follow on one another")
    stream = stream_of(originator_id)
    rows = [_to_row(stream, event, first) for event in events]
    cause = Cause(derived_id(ACTOR, stream), None, ACTOR)
    expected = events[0].originator_version - first
    return EncodedAppend(stream, expected, rows, cause, time.time_ns() // 1_000, None)


def _to_row(stream: str, event: StoredEvent, first: int) -> tuple[str, int, bytes]:
    if event.topic in EVENT_TYPES and not stream.startswith(_UUID_STREAMS):
        return _to_own_row(stream, event)
    return f"{PREFIX}{event.topic}", 1, pack(event.state, first)


def _to_own_row(stream: str, event: StoredEvent) -> tuple[str, int, bytes]:
    """An event of ours in one of our streams: our own readers must be able to read it."""
    cls = EVENT_TYPES[event.topic]
    try:
        version, data = split_version(event.state)
        decoded = decode_as(cls, event.topic, version, data, stream, event.originator_version)
        ours = version == cls.class_version and codec_for(cls).encode(decoded) == data
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        ours = False
    if not ours:
        raise InvalidInput(
            f"event {event.topic!r} for stream {stream!r} is not encoded as daybook encodes it: set "
            "MAPPER_TOPIC to adapters.postgres.mapper:LogMapper, without compressor and cipher"
        )
    return event.topic, version, data


def from_row(row: Row) -> StoredEvent:
    """The stored event of a row."""
    topic, state, version = _content(row)
    return StoredEvent(originator_of(row.stream), version, topic, state)


def to_notification(row: Row) -> Notification:
    """The notification of a row; its id is the position."""
    topic, state, version = _content(row)
    return Notification(originator_of(row.stream), version, topic, state, row.position)


def _content(row: Row) -> tuple[str, bytes, int]:
    """Topic, state and originator version."""
    if row.topic.startswith(PREFIX):
        event = unpack(row.topic, row.data)
        return event.topic, event.state, row.version + event.first - 1
    return row.topic, join_version(row.data, row.class_version), row.version
