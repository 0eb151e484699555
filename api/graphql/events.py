"""`events`: the log itself, by position, stream or story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Self, TypeAlias
from uuid import UUID

import msgspec
import strawberry

from api.graphql.common import First
from api.graphql.context import Info
from api.graphql.scalars import BigInt, Json, Time
from domain.errors import InvalidInput
from domain.events import EVENT_TYPES, RecordedEvent
from projections.stories import story

_ENVELOPE: Final = frozenset({"originator_id", "originator_version", "originator_topic", "timestamp"})


@strawberry.type(description="An event as it stands in the log.")
class Event:
    """An event with its envelope."""

    position: BigInt = strawberry.field(description="Its place in the whole log, from 1, without gaps.")
    stream: str
    version: BigInt = strawberry.field(description="Its place in its stream, from 1.")
    type: str = strawberry.field(description="The event type's stable name, e.g. `order.landed`.")
    schema_version: int
    recorded_at: Time
    event_id: UUID
    correlation_id: UUID = strawberry.field(
        description="One for each story, from market tick to settled books."
    )
    causation_id: UUID | None = strawberry.field(description="The event that directly led to this one.")
    actor: str
    slot: BigInt | None
    data: Json = strawberry.field(description="The facts.")

    @classmethod
    def of(cls, recorded: RecordedEvent) -> Self:
        """From the log's envelope."""
        return cls(
            position=BigInt(recorded.position),
            stream=recorded.stream,
            version=BigInt(recorded.version),
            type=recorded.topic,
            schema_version=recorded.class_version,
            recorded_at=Time(recorded.recorded_at),
            event_id=recorded.event_id,
            correlation_id=recorded.cause.correlation_id,
            causation_id=recorded.cause.causation_id,
            actor=recorded.cause.actor,
            slot=None if recorded.slot is None else BigInt(recorded.slot),
            data=Json(facts_of(recorded.event)),
        )


@strawberry.type(description="Some events in log order.")
class EventPage:
    """A page of events."""

    events: list[Event]
    has_next_page: bool
    end_cursor: BigInt = strawberry.field(description="The `after` of the next page.")
    as_of_position: BigInt = strawberry.field(description="The log's newest position when this was read.")


EventTypes: TypeAlias = Annotated[
    list[str] | None, strawberry.argument(description="Only these event types, e.g. `order.landed`.")
]
START: Final = BigInt(0)
After: TypeAlias = Annotated[
    BigInt,
    strawberry.argument(description="Events behind this position; with `stream`, behind this version."),
]


async def events(
    info: Info,
    after: After = START,
    limit: First = 100,
    types: EventTypes = None,
    stream: str | None = None,
    correlation_id: UUID | None = None,
) -> EventPage:
    """Events behind `after`, of the whole log, of one stream, or of one story."""
    limit = info.context.budget.spend(limit, "limit")
    _check(after, types, stream, correlation_id)
    log = info.context.services.log
    head = await log.head()
    if stream is not None:
        found = await log.read_stream(stream, after, limit + 1)
    elif correlation_id is not None:
        told, _ = await story(info.context.services.reads, log, correlation_id)
        found = [event for event in told if event.position > after]
    else:
        found = await log.read(after, limit + 1, topics=types)
    looked_at = found[:limit]
    end: int = after
    if looked_at:
        end = looked_at[-1].version if stream is not None else looked_at[-1].position
    return EventPage(
        events=[Event.of(event) for event in looked_at if types is None or event.topic in types],
        has_next_page=len(found) > limit,
        end_cursor=BigInt(end),
        as_of_position=BigInt(head),
    )


def _check(after: int, types: Sequence[str] | None, stream: str | None, correlation_id: UUID | None) -> None:
    if not 0 <= after < 2**63:
        raise InvalidInput(f"`after` is {after}: positions and versions begin at 1, so 0 is the least")
    if stream is not None and correlation_id is not None:
        raise InvalidInput("`stream` and `correlationId` were both given: ask for one of them")
    unknown = sorted(set(types or ()) - EVENT_TYPES.keys())
    if unknown:
        raise InvalidInput(
            f"`types` names {', '.join(unknown)}: the event types are {', '.join(sorted(EVENT_TYPES))}"
        )


def facts_of(event: Any) -> Any:  # noqa: ANN401 - any event class to any JSON
    """An event's own fields as JSON-able values, without what its envelope says already."""
    fields = event.__dataclass_fields__
    return msgspec.to_builtins({name: getattr(event, name) for name in fields if name not in _ENVELOPE})
