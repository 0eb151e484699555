"""What an event is: its type, its envelope, its id, and the registry of all event types.

An event class is a frozen dataclass of facts in the past tense with a short, stable `TOPIC` such as
`order.placed`; Python paths are never stored. A market event stands alone; an aggregate's event derives
from `AggregateEvent` and is folded by `eventsourcing` aggregates. The envelope (`RecordedEvent`) says where
the event stands in the log, what caused it and who recorded it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid5

from eventsourcing.domain import CanInitAggregate, CanMutateAggregate

from domain.chain import Slot
from domain.errors import InvariantBroken

ANY_VERSION: Final = -1
"""Expected version of a writer that decides nothing: append at the stream's end, whatever it is."""

NEW_STREAM: Final = 0
"""Expected version of a stream that must not exist yet."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_IDS: Final = UUID("6f0d4c2e-5a53-5d0a-9f55-3d5f8e2a7b11")

_VERSION_8: Final = 0x8 << 76 | 0b10 << 62
_LAST_BITS: Final = (1 << 62) - 1
"""Of a UUID of version 8: what says so, and the field behind it."""


class DomainEvent(Protocol):
    """Any event: a frozen dataclass with a stable type name and a schema version."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int]


EVENT_TYPES: Final[dict[str, type[Any]]] = {}
"""Every event class by its topic. Filled when the `events` modules are imported."""

_EventClass = TypeVar("_EventClass", bound=type[Any])


def event_type(topic: str, *, version: int = 1) -> Callable[[_EventClass], _EventClass]:
    """Register an event class under its stable name and schema version.

    Raises:
        InvariantBroken: when another class already has that name.
    """

    def register(cls: _EventClass) -> _EventClass:
        if EVENT_TYPES.setdefault(topic, cls) is not cls:
            raise InvariantBroken(
                f"event type {topic!r} names both {EVENT_TYPES[topic]} and {cls}: rename one"
            )
        cls.TOPIC = topic
        cls.class_version = version
        return cls

    return register


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """Base of what the market shows: it decides nothing, but decisions name it as their cause."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int]


@dataclass(frozen=True, kw_only=True)
class AggregateEvent(CanMutateAggregate[str]):
    """Base of an aggregate's events.

    Attributes:
        originator_id: the stream, e.g. `order-7f3...`.
        originator_version: the event's place in its stream, from 1.
        timestamp: when it was decided, by the clock that was passed in; UTC.
    """

    TOPIC: ClassVar[str]
    class_version: ClassVar[int]

    originator_id: str
    originator_version: int
    timestamp: datetime

    def apply(self, aggregate: Any) -> None:  # noqa: ANN401 - the library's signature
        """Hand the event to the aggregate's `evolve`, which is total and never refuses."""
        aggregate.evolve(self)


@dataclass(frozen=True, kw_only=True)
class CreatedEvent(AggregateEvent, CanInitAggregate[str]):
    """Base of the event that begins an aggregate.

    Attributes:
        originator_topic: the aggregate class's stable name, e.g. `order`.
    """

    originator_topic: str


class Cause(NamedTuple):
    """Why something is appended, carried by every event.

    Attributes:
        correlation_id: one per story, from market tick to settled trade.
        causation_id: the event or command that directly led to this one; none at a story's root.
        actor: who appends: a service's name or a user, e.g. `planner`.
    """

    correlation_id: UUID
    causation_id: UUID | None
    actor: str


class RecordedEvent(NamedTuple):
    """An event as it stands in the log, with its envelope: a tuple, since millions are made in a replay.

    Attributes:
        position: its place in the whole log, from 1, contiguous, in commit order.
        stream: the stream's name; its category is the part before the first `-`.
        version: its place in its stream, from 1.
        topic: the event type's stable name.
        class_version: the schema version it was written with.
        recorded_at: microseconds since the epoch, by the recorder's clock.
        correlation: the correlation id's 16 bytes; few readers look at it, and `cause` has it as an id.
        causation: the causation id's 16 bytes, where it has one.
        actor: who appended it.
        slot: the slot it speaks of, where it speaks of the chain.
        event: the typed facts, in today's shape.
    """

    position: int
    stream: str
    version: int
    topic: str
    class_version: int
    recorded_at: int
    correlation: bytes
    causation: bytes | None
    actor: str
    slot: Slot | None
    event: Any

    @property
    def event_id(self) -> UUID:
        """Derived from stream and version, so a copy is known as a copy anywhere."""
        return event_id(self.stream, self.version)

    @property
    def cause(self) -> Cause:
        """Correlation, causation and actor."""
        led_by = self.causation
        return Cause(UUID(bytes=self.correlation), None if led_by is None else UUID(bytes=led_by), self.actor)

    def leads_to(self, actor: str) -> Cause:
        """The cause of whatever `actor` appends because of this event: same story, one step on."""
        return Cause(UUID(bytes=self.correlation), self.event_id, actor)


def event_id(stream: str, version: int) -> UUID:
    """The id of the event at `version` of `stream`: a UUID of version 5, the same wherever it is computed.

    Derived, not drawn: a re-published event is recognised as the same one, and an id never names two events.
    """
    return uuid5(EVENT_IDS, f"{stream}:{version}")


def derived_id(*parts: object) -> UUID:
    """An id that follows from its parts: the same decision retried gets the same id."""
    return uuid5(EVENT_IDS, "\x1f".join(map(str, parts)))


def timed_id(at_us: int, story: UUID) -> UUID:
    """An id for what was recorded then, of a story that is like no other: ids of one time stand together.

    An index that is given such ids in the order of time fills page after page; drawn or derived ids would
    touch a page of their own each. A UUID of version 8 (RFC 9562): 60 bits of time, 62 of the story's id.

    Args:
        at_us: microseconds since the epoch.
        story: its correlation id, a derived or a drawn one.
    """
    time = (at_us >> 12 & 0xFFFF_FFFF_FFFF) << 80 | (at_us & 0xFFF) << 64
    return UUID(int=time | _VERSION_8 | story.int & _LAST_BITS)


def to_datetime(at_us: int) -> datetime:
    """Microseconds since the epoch as a UTC datetime, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)


def to_microseconds(at: datetime) -> int:
    """A timezone-aware datetime as microseconds since the epoch, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)
