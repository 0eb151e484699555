"""What a read model does: folds events into rows. And what it may look at of an event."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from domain.errors import InvalidInput
from domain.events import Cause
from projections.ports.tables import Key, Rows, Table


class Positioned(Protocol):
    """Where an event stands, and of which type it is: a row that cannot be decoded tells that, too."""

    @property
    def position(self) -> int:
        """Its place in the log."""
        ...

    @property
    def stream(self) -> str:
        """Its stream's name."""
        ...

    @property
    def topic(self) -> str:
        """The event type's stable name."""
        ...


class FoldEvent(Positioned, Protocol):
    """What a fold may look at of an event; a `RecordedEvent` is one, a leaner row of the log another."""

    @property
    def recorded_at(self) -> int:
        """Microseconds since the epoch."""
        ...

    @property
    def slot(self) -> int | None:
        """The slot it speaks of, where it speaks of the chain."""
        ...

    @property
    def event(self) -> Any:  # noqa: ANN401 - the facts of any event class
        """The facts: at least the fields that the event class adds to the envelope."""
        ...

    @property
    def cause(self) -> Cause:
        """Correlation, causation and actor."""
        ...


class Projection(Protocol):
    """One read model: a name, a version, tables, and a fold. It may be thrown away and rebuilt at any time.

    Attributes:
        name: the read model's name.
        version: raised whenever tables or fold change; a new version is rebuilt beside the old.
        tables: what it keeps.
        topics: the event types it folds; others only move the checkpoint.
        halts_on_poison: whether an event that cannot be folded stops it (money) or is set aside (metrics).
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    topics: frozenset[str]
    halts_on_poison: bool

    def facts(self, topic: str) -> tuple[str, ...] | None:
        """The fields of an event of that type that keys and fold look at; none means all."""
        ...

    def keys(self, event: FoldEvent) -> Collection[tuple[str, Key]]:
        """The rows that folding this event may read: (table name, key or the beginning of a key)."""
        ...

    def makes(self, event: FoldEvent) -> Collection[tuple[str, Key]]:
        """The rows that folding this event writes whole without reading them, whole keys; maybe none."""
        ...

    def fold(self, rows: Rows, event: FoldEvent) -> None:
        """Fold one event into the rows; pure, the same for live and rebuild; rows got are never changed.

        Raises:
            ProjectionError: the event contradicts what was folded before it: poison.
        """
        ...


def table_of(projection: Projection, name: str) -> Table:
    """The projection's table of that name.

    Raises:
        InvalidInput: it has none.
    """
    for table in projection.tables:
        if table.name == name:
            return table
    known = ", ".join(table.name for table in projection.tables)
    raise InvalidInput(f"read model {projection.name!r} has no table {name!r}: it has {known}")
