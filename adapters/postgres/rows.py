"""A row of the log as both logs keep it, what an append must look like, and what a reader gets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from adapters.postgres.codec import UNSTORABLE, decode, shape_of, unstorable
from commands.ports import StreamAppend
from domain.chain import Slot
from domain.errors import InvalidInput
from domain.events import ANY_VERSION, AggregateEvent, Cause, DomainEvent, RecordedEvent

MAX_DATA_BYTES: Final = 1_000_000
"""Of one event: JetStream's message limit of 1 MiB less room for subject and headers."""

MAX_NAME_BYTES: Final = 200
"""Of a stream, type or actor: subjects and index entries stay small."""

MAX_EVENTS: Final = 10_000
"""Of one append: more than any decision makes, and still one short transaction."""

MAX_BULK_EVENTS: Final = 200_000
"""Of one bulk append, which waits in memory and holds up every other append: some seconds."""

KNOWN_NAMES: Final = 10_000
"""Names that were checked lately: streams, types and actors come again and again."""

_I64_MAX: Final = 2**63 - 1

Row: TypeAlias = tuple[int, str, int, str, int, int, UUID, UUID | None, UUID, str, int | None, bytes]
"""The fields of a StoredEvent without the hash, in order."""


class StoredEvent(NamedTuple):
    """One row of the log, undecoded; the order of `COLUMNS`."""

    position: int
    stream: str
    version: int
    topic: str
    class_version: int
    recorded_at: int
    event_id: UUID
    causation_id: UUID | None
    correlation_id: UUID
    actor: str
    slot: int | None
    data: bytes
    hash: bytes

    def recorded(self) -> RecordedEvent:
        """The event with its envelope, in today's shape.

        Raises:
            DecodeError: when the bytes do not fit their type.
        """
        position, stream, version, topic, shape, recorded_at, _, led_by, story, actor, slot, data, _ = self
        event = decode(topic, shape, data, stream, version, position)
        return RecordedEvent(
            position, stream, version, topic, shape, recorded_at, story.bytes,
            None if led_by is None else led_by.bytes, actor, None if slot is None else Slot(slot), event,
        )  # fmt: skip


COLUMNS: Final = (
    "position, stream, version, type, schema_version, recorded_at, event_id, causation_id, correlation_id, "
    "actor, slot, data, hash"
)
"""The columns of table `events` in the order of StoredEvent."""


class EncodedAppend(NamedTuple):
    """A StreamAppend whose events are bytes: (topic, schema version, data) each."""

    stream: str
    expected_version: int
    events: list[tuple[str, int, bytes]]
    cause: Cause
    recorded_at: int
    slot: int | None


def encode_appends(appends: Sequence[StreamAppend], at_most: int = MAX_EVENTS) -> list[EncodedAppend]:
    """Check and encode what a caller wants appended, in the caller's own time.

    Raises:
        InvalidInput: an empty append, a stream named twice, an unknown type, an over-long name or event.
    """
    _check_batch(appends, at_most)
    encoded = []
    for append in appends:
        stream, expected_version, events, cause, recorded_at, slot = append
        _check_envelope(stream, expected_version, cause, recorded_at, slot)
        facts = _encoded(append, stream, expected_version, events)
        encoded.append(EncodedAppend(stream, expected_version, facts, cause, recorded_at, slot))
    return encoded


def check_appends(appends: Sequence[EncodedAppend]) -> None:
    """Check appends whose events came as bytes.

    Raises:
        InvalidInput: as `encode_appends`.
    """
    _check_batch(appends, MAX_EVENTS)
    for stream, expected_version, events, cause, recorded_at, slot in appends:
        _check_envelope(stream, expected_version, cause, recorded_at, slot)
        for topic, _, data in events:
            _check_name("type", topic)
            if len(data) > MAX_DATA_BYTES:
                raise _too_large(topic, stream, data)


def _check_batch(appends: Sequence[StreamAppend] | Sequence[EncodedAppend], at_most: int) -> None:
    count = 0
    for append in appends:
        found = len(append[2])
        if not found:
            count = 0
            break
        count += found
    if not count:
        raise InvalidInput("an append without events was asked for: append at least one event to each stream")
    if len(appends) > 1 and len({append.stream for append in appends}) != len(appends):
        raise InvalidInput("an append names a stream twice: put its events into one StreamAppend")
    if count > at_most:
        raise InvalidInput(f"an append holds more than {at_most} events: split it")


def _check_envelope(
    stream: str, expected_version: int, cause: Cause, recorded_at: int, slot: int | None
) -> None:
    _check_name("stream", stream)
    _check_name("actor", cause.actor)
    if not (0 <= recorded_at <= _I64_MAX and 0 <= (slot or 0) <= _I64_MAX):
        raise InvalidInput(
            f"recorded_at {recorded_at} or slot {slot} of an append to {stream!r} is not a 64-bit count"
        )
    if expected_version < ANY_VERSION:
        raise InvalidInput(f"expected version {expected_version} of {stream!r} is below -1")


def _encoded(
    append: StreamAppend, stream: str, version: int, events: Sequence[DomainEvent]
) -> list[tuple[str, int, bytes]]:
    """The events of an append as (topic, schema version, data); its version is the one before them."""
    encoded = []
    for event in events:
        version += 1
        topic, class_version, encode, of_aggregate = shape_of(type(event))
        if of_aggregate:
            _check_origin(append, cast("AggregateEvent", event), version)
        try:
            data = encode(event)
        except UNSTORABLE as error:
            raise unstorable(topic, error) from error
        if len(data) > MAX_DATA_BYTES:
            raise _too_large(topic, stream, data)
        encoded.append((topic, class_version, data))
    return encoded


def _too_large(topic: str, stream: str, data: bytes) -> InvalidInput:
    return InvalidInput(
        f"event {topic!r} for stream {stream!r} has {len(data)} bytes, the limit is "
        f"{MAX_DATA_BYTES}: record a reference to the large thing instead"
    )


def _check_origin(append: StreamAppend, event: AggregateEvent, version: int) -> None:
    """Stream and version are read back from the row, so the event must agree with them now."""
    if append.expected_version == ANY_VERSION:
        raise InvalidInput(
            f"event {event.TOPIC!r} of an aggregate was to be appended at any version of "
            f"{append.stream!r}: give the version the aggregate was decided on"
        )
    if (event.originator_id, event.originator_version) != (append.stream, version):
        raise InvalidInput(
            f"event {event.TOPIC!r} says version {event.originator_version} of {event.originator_id!r} but "
            f"would be stored as version {version} of {append.stream!r}: append it to its own stream"
        )


@lru_cache(KNOWN_NAMES)
def _check_name(what: str, name: str) -> None:
    if not name or not name.isprintable() or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        raise InvalidInput(
            f"{what} {name[:50]!r} is not a name: 1 to {MAX_NAME_BYTES} bytes of printable text"
        )
    if name != name.strip():
        raise InvalidInput(
            f"{what} {name[:50]!r} begins or ends with a blank, which is lost in the header of a message: "
            "leave it off"
        )
