"""What the read side needs from the world: the log to read, and a store of rows with their checkpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from domain.errors import InvalidInput
from domain.events import RecordedEvent

Row = dict[str, Any]
"""Column name to value: int, str, bool, bytes, None, or a JSON-able list/dict where the column says so."""

Key = tuple[Any, ...]
"""The values of a table's key columns, in order. In `Projection.keys` a shorter one names every row whose key
begins with it: an event seldom knows the whole key of each row it touches."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a read model.

    Attributes:
        name: its name.
        kind: `bigint`, `numeric` (whole numbers of any size), `text`, `boolean`, `json`.
        nullable: whether it may be empty.
    """

    name: str
    kind: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a read model.

    Attributes:
        name: its name.
        columns: all of them.
        key: names of the key columns.
        indexes: column lists to index for the queries.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            InvalidInput: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise InvalidInput(f"table {self.name!r} has no column {name!r}: it has {known}")


@dataclass(slots=True)
class Rows:
    """The rows of one batch: those fetched for it, and those it changed. Keys are (table name, key)."""

    fetched: dict[tuple[str, Key], Row] = field(default_factory=dict)
    changed: dict[tuple[str, Key], Row] = field(default_factory=dict)

    def get(self, table: str, key: Key) -> Row | None:
        """The row as it stands after what this batch has folded so far."""
        found = self.changed.get((table, key))
        return self.fetched.get((table, key)) if found is None else found

    def put(self, table: str, key: Key, row: Row) -> None:
        """Write the whole row, key columns included."""
        self.changed[(table, key)] = row


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

    def keys(self, event: RecordedEvent) -> Collection[tuple[str, Key]]:
        """The rows that folding this event may read: (table name, key or the beginning of a key)."""
        ...

    def fold(self, rows: Rows, event: RecordedEvent) -> None:
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


class EventSource(Protocol):
    """The log, as a projection reads it."""

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """Up to `limit` events with `after` < position (<= `through`), in position order."""
        ...

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        ...

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """History from `after`, then live, without gap or double, in non-empty batches, until closed."""
        ...


class EventReader(EventSource, Protocol):
    """The log, as answers about single stories and streams read it."""

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """Up to `limit` events of one stream with version > `after_version`, in version order."""
        ...


OPERATORS: Final = ("=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` `operator` `value`; an empty column meets no condition.

    Raises:
        InvalidInput: the operator is none of `OPERATORS`.
    """

    column: str
    operator: str
    value: Any

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InvalidInput(f"operator {self.operator!r} is unknown: use one of {', '.join(OPERATORS)}")


def check_order(table: Table, order_by: Sequence[tuple[str, bool]], after: Mapping[str, Any] | None) -> None:
    """Whether rows can be ordered like this and a page can go on behind `after`.

    Raises:
        InvalidInput: an unknown column, one that may be empty, or an `after` that does not fit the order.
    """
    for name, _ in order_by:
        if table.column(name).nullable:
            raise InvalidInput(f"rows cannot be ordered by {name!r}, which may be empty")
    names = [name for name, _ in order_by]
    if after is not None and (set(after) != set(names) or not names):
        raise InvalidInput(f"a page behind {dict(after)!r} needs exactly the columns of its order: {names}")


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows and the position they reflect, read in one snapshot.

    Attributes:
        rows: in the order asked for.
        position: the read model's checkpoint at that moment.
    """

    rows: list[Row]
    position: int


class ReadStore(Protocol):
    """Keeps read models: rows and checkpoint change together or not at all."""

    async def prepare(self, projection: Projection) -> int:
        """Create what is missing for this name and version; returns its checkpoint (0 when new).

        Raises:
            ProjectionError: the tables of this version were made with other columns.
            ReadStoreUnavailable: no answer. So may every other method.
        """
        ...

    async def fetch(self, projection: Projection, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys, set-based: one query for each table and key length."""
        ...

    async def commit(self, projection: Projection, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`, in one transaction.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`: another process moved it; nothing is written.
        """
        ...

    async def set_aside(
        self, projection: Projection, event: RecordedEvent, error: str, attempts: int
    ) -> None:
        """Write a dead letter: an event that could not be folded, with its error."""
        ...

    async def checkpoint(self, name: str) -> int:
        """The last position that the live version of a read model has absorbed; 0 when there is none."""
        ...

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live version has absorbed `position`; returns its checkpoint then.

        Raises:
            ReadModelBehind: it has not within `timeout_s` seconds.
        """
        ...

    async def select(
        self,
        projection: Projection,
        table: str,
        *,
        where: Sequence[Condition] = (),
        order_by: Sequence[tuple[str, bool]] = (),
        limit: int = 100,
        after: Mapping[str, Any] | None = None,
    ) -> Selected:
        """Rows of a table: all conditions hold, ordered by (column, descending), by keyset after `after`.

        `after` holds a value for each column of `order_by`: the row to go on behind.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
        """
        ...
