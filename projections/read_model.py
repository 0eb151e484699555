"""For writing read models down: columns, one step for each event type, pages of answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Generic, TypeVar

from domain.errors import ProjectionError
from projections.ports import Column, FoldEvent, Key, Row, Rows, Table

Keys = Collection[tuple[str, Key]]
Item = TypeVar("Item")

KNOWN_NAMES: Final = 10_000
"""Streams whose name was taken apart lately: an order's is asked for several times within moments."""

PAGE_LIMIT: Final = 500
"""Items of one page at most: about 500 kB of JSON, read in a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one event type is folded.

    Attributes:
        keys: the rows it may read.
        fold: what it makes of them.
        facts: the fields of the event that either looks at, where it is worth not to decode the others; none
            means all.
        makes: the rows it writes whole without reading them: who reads them behind it in a batch finds them.
    """

    keys: Callable[[FoldEvent], Keys]
    fold: Callable[[Rows, FoldEvent], None]
    facts: tuple[str, ...] | None = None
    makes: Callable[[FoldEvent], Keys] | None = None


@dataclass(slots=True)
class ReadModel:
    """A `Projection` made of one step for each event type it folds.

    Attributes:
        name: the read model's name.
        version: raised whenever tables or steps change what is stored.
        tables: what it keeps.
        steps: event type to step.
        halts_on_poison: true where a wrong number is worse than none.
        topics: the event types of `steps`.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    steps: Mapping[str, Step]
    halts_on_poison: bool
    topics: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.topics = frozenset(self.steps)

    def facts(self, topic: str) -> tuple[str, ...] | None:
        """The fields of an event that its step looks at; none means all."""
        return self.steps[topic].facts

    def keys(self, event: FoldEvent) -> Keys:
        """The rows that folding this event may read."""
        return self.steps[event.topic].keys(event)

    def makes(self, event: FoldEvent) -> Keys:
        """The rows that folding this event writes whole without reading them."""
        makes = self.steps[event.topic].makes
        return () if makes is None else makes(event)

    def fold(self, rows: Rows, event: FoldEvent) -> None:
        """Fold one event into the rows.

        Raises:
            ProjectionError: the event contradicts what was folded before it.
        """
        self.steps[event.topic].fold(rows, event)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in order, and the position of the log they reflect.

    Attributes:
        items: at most as many as were asked for.
        has_more: whether more follow behind the last one.
        position: the read model's checkpoint when they were read.
    """

    items: tuple[Item, ...]
    has_more: bool
    position: int


def column(name: str, kind: str) -> Column:
    """A column; a `?` at the end of `kind` makes it nullable: `column("slot", "bigint?")`."""
    return Column(name, kind.removesuffix("?"), nullable=kind.endswith("?"))


def columns(**kinds: str) -> tuple[Column, ...]:
    """Columns in the order given: `columns(wallet="text", slot="bigint?")`."""
    return tuple(column(name, kind) for name, kind in kinds.items())


@lru_cache(KNOWN_NAMES)
def name_of(stream: str) -> str:
    """The part of a stream's name behind its category: `order-7f3` -> `7f3`."""
    return stream.partition("-")[2]


def known(rows: Rows, table: str, key: Key, event: FoldEvent) -> Row:
    """The row that an earlier event must have made.

    Raises:
        ProjectionError: there is none.
    """
    row = rows.get(table, key)
    if row is None:
        raise ProjectionError(
            f"{event.topic} at position {event.position} speaks of {'/'.join(map(str, key))}, which no "
            f"earlier event put into {table!r}: look for the missing event in stream {event.stream!r}"
        )
    return row


def count(rows: Rows, table: str, key: tuple[str, str], by: int) -> None:
    """Add `by` to the counter at `key` of a table made by `counters`."""
    old = rows.get(table, key)
    kind, name = key
    rows.put(table, key, {"kind": kind, "name": name, "value": by + (old["value"] if old else 0)})


def counters(name: str) -> Table:
    """A table of named numbers: (kind, name) -> value. Fetched by kind."""
    return Table(name, columns(kind="text", name="text", value="numeric"), key=("kind", "name"))


def page_of(items: Sequence[Item], first: int, position: int) -> Page[Item]:
    """The page of the first `first` items, where one more than that was read to know whether more follow."""
    return Page(tuple(items[:first]), len(items) > first, position)
