"""Pages of the log as events with their envelopes, at little more than what the driver and the decoder cost.

A page is not selected as it is stored: what can be derived or is seldom looked at (id, hash) stays in the
database, and the ids of the cause travel as bytes. The facts of one type and version are decoded together:
one call for a page of market events, whose every row would cost a call and a look at its type otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec

from adapters.postgres.codec import codec_for, decode
from domain.events import EVENT_TYPES, RecordedEvent

ENVELOPE: Final = (
    "position, stream, version, type, schema_version, recorded_at, uuid_send(correlation_id), "
    "uuid_send(causation_id), actor, slot, data"
)
"""The columns of table `events` in the order of RecordedEvent."""

END: Final = 2**63 - 1

Kind: TypeAlias = tuple[str, int]
"""An event type and a schema version."""

Columns: TypeAlias = Sequence[tuple[Any, ...]]
"""Rows of `ENVELOPE` turned over: a tuple for each column."""

Facts: TypeAlias = Callable[[Columns], Sequence[Any]]
"""Decodes the facts of rows of one kind."""

_STREAM, _VERSION, _TYPE, _SHAPE, _DATA = 1, 2, 3, 4, 10
_recorded: Final = partial(tuple.__new__, RecordedEvent)


def page_query(
    after: int, through: int | None, limit: int, topics: Collection[str] | None, columns: str = ENVELOPE
) -> tuple[str, list[Any]]:
    """One page by position and its arguments; topics of one category leave the other's partitions unread."""
    arguments: list[Any] = [after, END if through is None else through, limit]
    query = f"SELECT {columns} FROM events WHERE position > $1 AND position <= $2"  # noqa: S608 - constants
    if topics is not None:
        arguments.append(list(topics))
        query += " AND type = ANY ($4)"
        categories = {topic.startswith("market.") for topic in topics}
        if len(categories) == 1:
            query += " AND category = 'market'" if categories.pop() else " AND category = 'domain'"
    return query + " ORDER BY position LIMIT $3", arguments


def enveloped(
    rows: Sequence[asyncpg.Record], facts: Callable[[Kind], Facts] | None = None
) -> list[RecordedEvent]:
    """Rows of `ENVELOPE` as events, in their order.

    Args:
        rows: of one page.
        facts: who decodes the facts of a kind; without it they come in today's shape.

    Raises:
        DecodeError: when the bytes of a row do not fit their type.
    """
    columns = [*zip(*rows, strict=True)]
    if not columns:
        return []
    events = _decoded(rows, columns, facts or todays_facts)
    # zip, map and the tuple's constructor meet without a step of ours for each row
    return [*map(_recorded, zip(*columns[:_DATA], events, strict=True))]


def _decoded(
    rows: Sequence[asyncpg.Record], columns: Columns, facts: Callable[[Kind], Facts]
) -> Sequence[Any]:
    kinds: list[Kind] = [*zip(columns[_TYPE], columns[_SHAPE], strict=True)]
    different = set(kinds)
    if len(different) == 1:
        return facts(kinds[0])(columns)
    groups: dict[Kind, list[asyncpg.Record]] = {kind: [] for kind in different}
    for kind, row in zip(kinds, rows, strict=True):
        groups[kind].append(row)
    turns = {kind: iter(facts(kind)([*zip(*group, strict=True)])) for kind, group in groups.items()}
    return [next(turns[kind]) for kind in kinds]


def todays_facts(kind: Kind) -> Facts:
    """The decoder of a kind's rows to events of today's shape."""
    topic, class_version = kind
    cls = EVENT_TYPES.get(topic)
    if cls is None or class_version != cls.class_version:
        return one_by_one
    return _todays(cls)  # type: ignore[arg-type] # a class is hashable


@cache
def _todays(cls: type[object]) -> Facts:
    codec = codec_for(cls)
    if codec.payload is cls:
        return together(cls, one_by_one)
    payloads, restored = together(codec.payload, lambda _columns: ()), codec.restored

    def aggregates(columns: Columns) -> Sequence[Any]:
        found = payloads(columns)
        if not found:
            return one_by_one(columns)
        try:
            return [*map(restored, found, columns[_STREAM], columns[_VERSION])]
        except (ValueError, OverflowError):
            return one_by_one(columns)

    return aggregates


def together(payload: Any, otherwise: Facts) -> Facts:  # noqa: ANN401 - any type that msgspec decodes
    """A decoder of all rows of a kind in one call; rows that spoil it are left to `otherwise`."""
    parse: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[payload]).decode

    def facts(columns: Columns) -> Sequence[Any]:
        data = columns[_DATA]
        try:
            found = parse(b"[%b]" % b",".join(data))
        except msgspec.MsgspecError:
            return otherwise(columns)
        return found if len(found) == len(data) else otherwise(columns)

    return facts


def one_by_one(columns: Columns) -> Sequence[Any]:
    """Each row's facts by themselves: of an older version, or with an error that names the row.

    Raises:
        DecodeError: when the bytes of a row do not fit their type.
    """
    return [
        decode(topic, shape, data, stream, version, position)
        for position, stream, version, topic, shape, *_, data in zip(*columns, strict=True)
    ]
