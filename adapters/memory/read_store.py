"""Read models in memory, for backtests and unit tests; held to the same contract as the one in PostgreSQL.

What it cannot do: survive its process, or be shared between two.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from domain.errors import (
    CheckpointMoved,
    NotServedYet,
    ProjectionError,
    ProjectionPaused,
    ReadModelBehind,
    RebuildUnderWay,
)
from projections.ports import (
    Condition,
    DeadLetter,
    Generation,
    Key,
    LetterState,
    Positioned,
    Projection,
    Row,
    Rows,
    Selected,
    State,
    Table,
    check_order,
    table_of,
)

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": eq,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "in": lambda value, many: value in many,
}

_CLOSED: Final = (State.OLD, State.FAILED)
"""Generations that take no events any more."""

Ident = tuple[str, int, int]
"""Name, version and number of a generation."""


@dataclass(slots=True)
class _Model:
    state: Generation
    rows: dict[str, dict[Key, Row]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """One generation as it stood.

    Attributes:
        checkpoint: the last position absorbed at that moment.
        kept: its rows by table and key.
    """

    checkpoint: int
    kept: Mapping[str, Mapping[Key, Row]]

    async def rows(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """All rows of a table in key order, in one page."""
        rows = self.kept.get(table, {})
        if rows:
            yield [_copied(rows[key]) for key in sorted(rows)]


class MemoryReadStore:
    """A `ReadStore` of dictionaries."""

    def __init__(self) -> None:
        self._models: dict[Ident, _Model] = {}
        self._letters: dict[int, DeadLetter] = {}
        self._ids = count(1)
        self._held: set[str] = set()
        self._moved = asyncio.Condition()

    async def prepare(self, projection: Projection) -> Generation:
        """The generation that answers for this name, made empty where there is none.

        Raises:
            ProjectionError: the tables of this version were made with other columns.
        """
        live = self._live(projection.name)
        if live is None:
            live = self._make(projection, State.LIVE)
        found = live.state
        if found.version == projection.version and found.tables != projection.tables:
            raise ProjectionError(
                f"the tables of read model {projection.name!r} version {projection.version} were made with "
                "other columns: raise its VERSION, and it is built anew beside the old one"
            )
        return found

    async def generations(self, name: str | None = None) -> list[Generation]:
        """All generations of one read model or of all, by name, version and number."""
        return [
            self._models[ident].state for ident in sorted(self._models) if name is None or ident[0] == name
        ]

    @asynccontextmanager
    async def beside(self, projection: Projection) -> AsyncIterator[Generation]:
        """A generation of this version being built beside the live one.

        Raises:
            RebuildUnderWay: somebody holds it.
        """
        if projection.name in self._held:
            raise RebuildUnderWay(f"read model {projection.name!r} is being rebuilt: wait until it is live")
        self._held.add(projection.name)
        try:
            yield self._building(projection)
        finally:
            self._held.discard(projection.name)

    def _building(self, projection: Projection) -> Generation:
        for ident, model in list(self._models.items()):
            found = model.state
            if found.name == projection.name and found.state in (State.BUILDING, State.FAILED):
                fits = (found.version, found.tables) == (projection.version, projection.tables)
                if fits and found.state is State.BUILDING:
                    return found
                self._remove(ident)
        return self._make(projection, State.BUILDING).state

    async def swap(self, built: Generation, reach: Callable[[int], Awaitable[None]]) -> None:
        """Let a built generation answer from now on, and the one that did be old.

        Raises:
            CheckpointMoved: the built one is no longer there to be swapped.
        """
        live = self._live(built.name)
        if live is not None:
            while self._models[_ident(built)].state.checkpoint < live.state.checkpoint:
                await reach(live.state.checkpoint)
        model = self._models.get(_ident(built))
        if model is None or model.state.state is not State.BUILDING:
            raise CheckpointMoved(f"{built} was dropped while it was built: rebuild it again")
        paused = live is not None and live.state.paused
        if live is not None:
            live.state = replace(live.state, state=State.OLD, paused=False)
            self._forget_letters(_ident(live.state))
        model.state = replace(model.state, state=State.LIVE, paused=paused)
        await self._tell()

    async def fail(self, built: Generation, failure: str) -> None:
        """Keep a generation being built only to be looked at, with the words why."""
        model = self._models.get(_ident(built))
        if model is not None and model.state.state is State.BUILDING:
            model.state = replace(model.state, state=State.FAILED, failure=failure)

    async def drop(self, generation: Generation) -> bool:
        """Remove a generation that does not answer; false where it is gone or answers."""
        model = self._models.get(_ident(generation))
        if model is None or model.state.state is State.LIVE:
            return False
        self._remove(_ident(generation))
        return True

    def _remove(self, ident: Ident) -> None:
        del self._models[ident]
        self._forget_letters(ident)

    def _forget_letters(self, ident: Ident) -> None:
        gone = [
            letter.id
            for letter in self._letters.values()
            if (letter.name, letter.version, letter.generation) == ident
            and letter.state is not LetterState.DROPPED
        ]
        for letter_id in gone:
            del self._letters[letter_id]

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Let the live generation rest, or go on; false where there is none."""
        live = self._live(name)
        if live is None:
            return False
        live.state = replace(live.state, paused=paused)
        return True

    async def fetch(self, generation: Generation, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys or key beginnings."""
        found = Rows()
        kept = self._models[_ident(generation)].rows
        for name, key in keys:
            table, rows = generation.table(name), kept.get(name, {})
            if len(key) == len(table.key):
                matching = [key] if key in rows else []
            else:
                matching = [known for known in rows if known[: len(key)] == key]
            found.fetched.update({(name, known): _copied(rows[known]) for known in matching})
        return found

    async def commit(self, generation: Generation, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`; nothing is written.
            ProjectionPaused: somebody paused it; nothing is written.
            ProjectionError: a row has not the columns of its table; nothing is written.
        """
        model = self._models.get(_ident(generation))
        if model is not None and model.state.paused:
            raise ProjectionPaused(
                f"read model {generation.name!r} is paused at position {model.state.checkpoint}"
            )
        if model is None or model.state.checkpoint != before or model.state.state in _CLOSED:
            raise CheckpointMoved(
                f"{generation} is no longer at position {before}, or no longer answers: another process "
                "folds or swapped it; nothing was written"
            )
        self._write(model, rows)
        model.state = replace(model.state, checkpoint=after)
        await self._tell()

    async def settle(self, generation: Generation, letter: DeadLetter, rows: Rows) -> None:
        """Write the rows of an event folded late and remove its letter."""
        self._write(self._models[_ident(generation)], rows)
        self._letters.pop(letter.id, None)

    async def set_aside(self, generation: Generation, event: Positioned, error: str, attempts: int) -> None:
        """Keep a dead letter; a repeated one replaces the first and counts its attempts on."""
        ident = _ident(generation)
        for old in self._letters.values():
            if (old.name, old.version, old.generation) == ident and old.position == event.position:
                dropped = old.state is LetterState.DROPPED
                self._letters[old.id] = replace(
                    old,
                    error=error,
                    attempts=old.attempts + attempts,
                    state=old.state if dropped else LetterState.WAITING,
                )
                return
        name, version, number = ident
        letter_id = next(self._ids)
        self._letters[letter_id] = DeadLetter(
            letter_id,
            name,
            version,
            number,
            event.position,
            event.topic,
            event.stream,
            error,
            attempts,
            LetterState.WAITING,
        )

    async def dead_letters(
        self, name: str | None = None, *, state: LetterState | None = None, limit: int = 1_000
    ) -> list[DeadLetter]:
        """Dead letters of one read model or of all, oldest first."""
        found = (
            letter
            for letter in self._letters.values()
            if name in (None, letter.name) and state in (None, letter.state)
        )
        return [letter for _, letter in zip(range(limit), found, strict=False)]

    async def retry_dead_letter(self, letter_id: int) -> bool:
        """Have the event folded again; false where there is no such letter."""
        return self._decide(letter_id, LetterState.RETRY, None)

    async def drop_dead_letter(self, letter_id: int, reason: str) -> bool:
        """Leave the event out of this version for good, and keep why; false where there is no such letter."""
        return self._decide(letter_id, LetterState.DROPPED, reason)

    def _decide(self, letter_id: int, state: LetterState, reason: str | None) -> bool:
        letter = self._letters.get(letter_id)
        if letter is not None:
            self._letters[letter_id] = replace(letter, state=state, reason=reason)
        return letter is not None

    @asynccontextmanager
    async def snapshot(self, generation: Generation) -> AsyncIterator[MemorySnapshot]:
        """The whole generation as it stands now, however it moves meanwhile.

        Raises:
            CheckpointMoved: it is gone.
        """
        model = self._models.get(_ident(generation))
        if model is None:
            raise CheckpointMoved(f"{generation} was to be read, but is gone: list the generations again")
        rows = {name: dict(rows) for name, rows in model.rows.items()}
        yield MemorySnapshot(model.state.checkpoint, rows)

    async def count(self, generation: Generation) -> dict[str, int]:
        """How many rows each table holds."""
        kept = self._models[_ident(generation)].rows
        return {table.name: len(kept.get(table.name, {})) for table in generation.tables}

    async def exceeds(self, generation: Generation, rows: int) -> bool:
        """Whether its tables hold more than so many rows."""
        return sum((await self.count(generation)).values()) > rows

    async def checkpoint(self, name: str) -> int:
        """The last position that the live generation of a read model has absorbed; 0 when there is none."""
        live = self._live(name)
        return 0 if live is None else live.state.checkpoint

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live generation has absorbed `position`; returns its checkpoint then.

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
        """Rows of the live generation and the position they reflect.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
            NotServedYet: the live generation lacks the table, or a column to order by.
        """
        shape = table_of(projection, table)
        tests = [_test(shape, condition) for condition in where]
        check_order(shape, order_by, after)
        live = self._live(projection.name)
        if live is None:
            return Selected([], 0)
        served = _served(live.state, shape, order_by)
        empty = dict.fromkeys(column.name for column in shape.columns)
        rows = [
            {**empty, **{name: value for name, value in row.items() if name in served}}
            for row in live.rows.get(table, {}).values()
        ]
        rows = [row for row in rows if all(test(row) for test in tests)]
        for name, down in reversed(order_by):
            rows.sort(key=lambda row, name=name: row[name], reverse=down)  # type: ignore[misc] # bound on purpose
        if after is not None:
            rows = [row for row in rows if _is_behind(row, order_by, after)]
        return Selected([_copied(row) for row in rows[:limit]], live.state.checkpoint)

    def _live(self, name: str) -> _Model | None:
        models = (model for (known, _, _), model in self._models.items() if known == name)
        return next((model for model in models if model.state.state is State.LIVE), None)

    def _make(self, projection: Projection, state: State) -> _Model:
        name, version = projection.name, projection.version
        number = 1 + max((n for known, v, n in self._models if (known, v) == (name, version)), default=0)
        made = Generation(name, version, number, state, 0, paused=False, tables=projection.tables)
        self._models[_ident(made)] = model = _Model(made)
        return model

    def _write(self, model: _Model, rows: Rows) -> None:
        new = {
            (name, key): _checked(model.state.table(name), row) for (name, key), row in rows.changed.items()
        }
        for (name, key), row in new.items():
            model.rows.setdefault(name, {})[key] = row

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()


def _ident(generation: Generation) -> Ident:
    return generation.name, generation.version, generation.number


def _served(live: Generation, table: Table, order_by: Sequence[tuple[str, bool]]) -> frozenset[str]:
    """The columns of `table` that the live generation has, as the same kind."""
    made = next((made for made in live.tables if made.name == table.name), None)
    kinds = {column.name: column.kind for column in made.columns} if made is not None else {}
    served = frozenset(column.name for column in table.columns if kinds.get(column.name) == column.kind)
    if made is None or any(name not in served for name, _ in order_by):
        raise NotServedYet(f"{live} answers until the new version is built, and lacks this of {table.name!r}")
    return served


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
