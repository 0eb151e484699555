"""Which events belong to one story: correlation id to log positions, from opportunity to settled books.

The log itself is indexed by position and by stream; this index is a read model like any other. Market events
are not in it (there are thousands a second, and most lead to nothing): the one that began a story is found in
the log just before the story's first event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from uuid import UUID

import domain.market.events
import domain.strategies.events
import domain.trading.events
import domain.wallets.events  # noqa: F401 - importing the events modules fills the registry of types
from domain.events import EVENT_TYPES, RecordedEvent
from projections.ports import Condition, EventReader, FoldEvent, ReadStore, Rows, Table
from projections.read_model import Keys, ReadModel, Step, columns

NAME: Final = "stories"
VERSION: Final = 1

STEPS: Final = "steps"

TABLES: Final = (
    Table(
        STEPS,
        columns(correlation_id="text", position="bigint", topic="text", stream="text"),
        key=("correlation_id", "position"),
    ),
)

MAX_STEPS: Final = 500
"""Events of one story: an order has about a dozen, one that is resent for minutes a few dozen."""

ROOT_WINDOW: Final = 5_000
"""Positions before a story's first event in which its market event is looked for: a second of a busy log,
where the planner answers within milliseconds."""

NEAR: Final = 200
"""Steps at most this far apart are read together."""


async def story(store: ReadStore, log: EventReader, correlation_id: UUID) -> tuple[list[RecordedEvent], int]:
    """The events of a story in log order, its market event first, and the position the answer reflects."""
    where = [Condition("correlation_id", "=", str(correlation_id))]
    found = await store.select(
        READ_MODEL, STEPS, where=where, order_by=[("position", False)], limit=MAX_STEPS
    )
    positions = [row["position"] for row in found.rows]
    told = [event for run in _runs(positions) for event in await _read(log, run)]
    return [*await _root(log, told), *told], found.position


async def _read(log: EventReader, run: Sequence[int]) -> list[RecordedEvent]:
    span = run[-1] - run[0] + 1
    wanted = frozenset(run)
    events = await log.read(run[0] - 1, span, through=run[-1], topics=READ_MODEL.topics)
    return [event for event in events if event.position in wanted]


async def _root(log: EventReader, told: Sequence[RecordedEvent]) -> list[RecordedEvent]:
    """The event that the first one was caused by, where that is a market event."""
    if not told or told[0].cause.causation_id is None:
        return []
    before = told[0].position - 1
    markets = frozenset(topic for topic in EVENT_TYPES if topic.startswith("market."))
    seen = await log.read(max(0, before - ROOT_WINDOW), ROOT_WINDOW, through=before, topics=markets)
    return [event for event in seen if event.event_id == told[0].cause.causation_id]


def _runs(positions: Sequence[int]) -> Iterator[Sequence[int]]:
    """The positions cut where two neighbours are further apart than `NEAR`."""
    cuts = [n for n, (one, other) in enumerate(pairwise(positions), 1) if other - one > NEAR]
    for start, stop in pairwise([0, *cuts, len(positions)]):
        if start < stop:
            yield positions[start:stop]


# --- the fold ------------------------------------------------------------------------------------


def _no_keys(_event: FoldEvent) -> Keys:
    return ()


def _add(rows: Rows, event: FoldEvent) -> None:
    story_id = str(event.cause.correlation_id)
    row = {
        "correlation_id": story_id,
        "position": event.position,
        "topic": event.topic,
        "stream": event.stream,
    }
    rows.put(STEPS, (story_id, event.position), row)


def _decisions(topics: Iterable[str]) -> dict[str, Step]:
    return {topic: Step(_no_keys, _add) for topic in sorted(topics) if not topic.startswith("market.")}


READ_MODEL: Final = ReadModel(NAME, VERSION, TABLES, _decisions(EVENT_TYPES), halts_on_poison=False)
