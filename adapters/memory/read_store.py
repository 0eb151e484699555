"""Read models in memory, for backtests and unit tests; held to the same contract as the one in PostgreSQL.

What it cannot do: survive its process, or be shared between two.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from domain.errors import CheckpointMoved, ProjectionError, ReadModelBehind
from domain.events import RecordedEvent
from projections.ports import Condition, Key, Projection, Row, Rows, Selected, Table, check_order, table_of

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": eq,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "in": lambda value, many: value in many,
}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be folded.

    Attributes:
        name, version: the read model.
        event: the event as recorded.
        error: why, in words.
        attempts: how often it was tried.
    """

    name: str
    version: int
    event: RecordedEvent
    error: str
    attempts: int


@dataclass(slots=True)
class _Model:
    tables: tuple[Table, ...]
    live: bool
    checkpoint: int = 0
    rows: dict[tuple[str, Key], Row] = field(default_factory=dict)


class MemoryReadStore:
    """A `ReadStore` of dictionaries."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], _Model] = {}
        self._letters: dict[tuple[str, int, int], DeadLetter] = {}
        self._moved = asyncio.Condition()

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Events set aside so far."""
        return list(self._letters.values())

    async def prepare(self, projection: Projection) -> int:
        """Create what is missing for this name and version; returns its checkpoint (0 when new).

        Raises:
            ProjectionError: the tables of this version were made with other columns.
        """
        live = not any(name == projection.name and model.live for (name, _), model in self._models.items())
        model = self._models.setdefault(_id(projection), _Model(projection.tables, live))
        if model.tables != projection.tables:
            raise ProjectionError(
                f"the tables of read model {projection.name!r} version {projection.version} were made with "
                "other columns: raise its VERSION, and it is built anew beside the old one"
            )
        return model.checkpoint

    async def fetch(self, projection: Projection, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys or key beginnings."""
        wanted = set(keys)
        lengths = {(name, len(key)) for name, key in wanted}
        for name, _ in lengths:
            table_of(projection, name)
        return Rows(
            fetched={
                (table, key): _copied(row)
                for (table, key), row in self._models[_id(projection)].rows.items()
                if any(name == table and (name, key[:length]) in wanted for name, length in lengths)
            }
        )

    async def commit(self, projection: Projection, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`; nothing is written.
            ProjectionError: a row has not the columns of its table; nothing is written.
        """
        model = self._models[_id(projection)]
        if model.checkpoint != before:
            raise CheckpointMoved(
                f"read model {projection.name!r} stands at position {model.checkpoint}, not at {before}: "
                "another runner folds it too; nothing was written"
            )
        new = {
            (name, key): _checked(table_of(projection, name), row)
            for (name, key), row in rows.changed.items()
        }
        model.rows.update(new)
        model.checkpoint = after
        async with self._moved:
            self._moved.notify_all()

    async def set_aside(
        self, projection: Projection, event: RecordedEvent, error: str, attempts: int
    ) -> None:
        """Keep a dead letter; a repeated one replaces the first."""
        name, version = _id(projection)
        self._letters[name, version, event.position] = DeadLetter(name, version, event, error, attempts)

    async def checkpoint(self, name: str) -> int:
        """The last position that the live version of a read model has absorbed; 0 when there is none."""
        return next((m.checkpoint for (known, _), m in self._models.items() if known == name and m.live), 0)

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live version has absorbed `position`; returns its checkpoint then.

        Raises:
            ReadModelBehind: it has not within `timeout_s` seconds.
        """
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                while (checkpoint := await self.checkpoint(name)) < position:
                    await self._moved.wait()
                return checkpoint
        except TimeoutError:
            raise ReadModelBehind(name, position, await self.checkpoint(name), timeout_s) from None

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
        """Rows of a table and the position they reflect.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
        """
        shape = table_of(projection, table)
        tests = [_test(shape, condition) for condition in where]
        check_order(shape, order_by, after)
        model = self._models.get(_id(projection), _Model(projection.tables, live=False))
        rows = [row for (name, _), row in model.rows.items() if name == table and all(t(row) for t in tests)]
        for name, down in reversed(order_by):
            rows.sort(key=lambda row, name=name: row[name], reverse=down)  # type: ignore[misc] # bound on purpose
        if after is not None:
            rows = [row for row in rows if _is_behind(row, order_by, after)]
        return Selected([_copied(row) for row in rows[:limit]], model.checkpoint)


def _id(projection: Projection) -> tuple[str, int]:
    return projection.name, projection.version


def _checked(table: Table, row: Row) -> Row:
    empty = [c.name for c in table.columns if row.get(c.name) is None and not c.nullable]
    if empty or set(row) != {column.name for column in table.columns}:
        raise ProjectionError(
            f"a row for {table.name!r} has {sorted(row)} with {empty or 'nothing'} empty, but its columns "
            f"are {sorted(column.name for column in table.columns)}; nothing was written"
        )
    return _copied(row)


def _copied(row: Row) -> Row:
    """A copy that shares no list or dict, in the shapes JSON has (a tuple comes back as a list)."""
    return {k: json.loads(json.dumps(v)) if isinstance(v, list | dict | tuple) else v for k, v in row.items()}


def _test(table: Table, condition: Condition) -> Callable[[Row], bool]:
    name = table.column(condition.column).name
    holds = _OPERATORS[condition.operator]
    return lambda row: row[name] is not None and holds(row[name], condition.value)


def _is_behind(row: Row, order_by: Sequence[tuple[str, bool]], after: Mapping[str, Any]) -> bool:
    for name, down in order_by:
        if row[name] != after[name]:
            return bool(row[name] < after[name]) is down
    return False
