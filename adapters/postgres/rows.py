"""A row of the log as both logs keep it, what an append must look like, and what a reader gets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from adapters.postgres.codec import decode, encode
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
    return [_encode_append(append) for append in appends]


def check_appends(appends: Sequence[EncodedAppend]) -> None:
    """Check appends whose events came as bytes.

    Raises:
        InvalidInput: as `encode_appends`.
    """
    _check_batch(appends, MAX_EVENTS)
    for append in appends:
        _check_append(append)
        for topic, _, data in append.events:
            _check_name("type", topic)
            _check_size(topic, append.stream, data)


def _check_batch(appends: Sequence[StreamAppend] | Sequence[EncodedAppend], at_most: int) -> None:
    sizes = [len(append.events) for append in appends]
    if not sizes or not all(sizes):
        raise InvalidInput("an append without events was asked for: append at least one event to each stream")
    if len(sizes) > 1 and len({append.stream for append in appends}) != len(appends):
        raise InvalidInput("an append names a stream twice: put its events into one StreamAppend")
    if sum(sizes) > at_most:
        raise InvalidInput(f"an append holds more than {at_most} events: split it")


def _check_append(append: StreamAppend | EncodedAppend) -> None:
    _check_name("stream", append.stream)
    _check_name("actor", append.cause.actor)
    if not (0 <= append.recorded_at <= _I64_MAX and 0 <= (append.slot or 0) <= _I64_MAX):
        raise InvalidInput(
            f"recorded_at {append.recorded_at} or slot {append.slot} of an append to {append.stream!r} is "
            "not a 64-bit count"
        )
    if append.expected_version < ANY_VERSION:
        raise InvalidInput(f"expected version {append.expected_version} of {append.stream!r} is below -1")


def _encode_append(append: StreamAppend) -> EncodedAppend:
    _check_append(append)
    events = [
        _encode_event(append, event, place)
        for place, event in enumerate(append.events, append.expected_version + 1)
    ]
    return EncodedAppend(
        append.stream, append.expected_version, events, append.cause, append.recorded_at, append.slot
    )


def _encode_event(append: StreamAppend, event: DomainEvent, version: int) -> tuple[str, int, bytes]:
    if _is_aggregates(type(event)):
        _check_origin(append, cast("AggregateEvent", event), version)
    data = encode(event)
    _check_size(event.TOPIC, append.stream, data)
    return event.TOPIC, event.class_version, data


@cache
def _is_aggregates(cls: type[object]) -> bool:
    """Remembered: asking an abstract base class costs as much as encoding."""
    return issubclass(cls, AggregateEvent)


def _check_size(topic: str, stream: str, data: bytes) -> None:
    if len(data) > MAX_DATA_BYTES:
        raise InvalidInput(
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
