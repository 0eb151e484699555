"""A store of read models: rows with their checkpoint, generations, dead letters, answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from projections.ports.folds import Positioned, Projection
from projections.ports.generations import DeadLetter, Generation, LetterState
from projections.ports.queries import Condition, Selected
from projections.ports.tables import Key, Row, Rows


class DeadLetters(Protocol):
    """Events that read models could not fold, and what shall become of them.

    Deciding is all that happens here: the runner of the read model acts on it within a second, or when it is
    started next.
    """

    async def dead_letters(
        self, name: str | None = None, *, state: LetterState | None = None, limit: int = 1_000
    ) -> list[DeadLetter]:
        """Dead letters of one read model or of all, oldest first.

        Raises:
            ReadStoreUnavailable: no answer. So may the others.
        """
        ...

    async def retry_dead_letter(self, letter_id: int) -> bool:
        """Have the event folded again; false where there is no such letter.

        A read model that halts goes on from there. One that went on folds the event late, after those that
        came behind it: where the order matters, rebuild it.
        """
        ...

    async def drop_dead_letter(self, letter_id: int, reason: str) -> bool:
        """Leave the event out of this version for good; false where there is no such letter.

        A read model that halts on it goes on without it, and its rebuilds leave it out too.
        """
        ...


class Snapshot(Protocol):
    """A generation at one moment."""

    @property
    def checkpoint(self) -> int:
        """The last position absorbed at that moment."""
        ...

    def rows(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """All rows of a table in key order, in pages."""
        ...


class ReadStore(DeadLetters, Protocol):
    """Keeps read models: rows and checkpoint change together or not at all."""

    async def prepare(self, projection: Projection) -> Generation:
        """The generation that answers for this name, maybe of another version; made empty where none is.

        Raises:
            ProjectionError: the tables of this version were made with other columns.
            ReadStoreUnavailable: no answer. So may every other method.
        """
        ...

    async def generations(self, name: str | None = None) -> list[Generation]:
        """All generations of one read model or of all, by name, version and number."""
        ...

    def beside(self, projection: Projection) -> AbstractAsyncContextManager[Generation]:
        """A generation of this version being built beside the live one; a crashed rebuild's is gone on with.

        One whose rebuild failed is dropped, and a new one begun. Only one process at a time holds it; it
        stays when the block is left.

        Raises:
            RebuildUnderWay: another process holds it.
        """
        ...

    async def swap(self, built: Generation, reach: Callable[[int], Awaitable[None]]) -> None:
        """Let a built generation answer from now on, and the one that did be old, in one transaction.

        The live generation is held still while `reach` folds the built one to its checkpoint, so that no
        reader goes back in time.

        Raises:
            CheckpointMoved: the built one is no longer there to be swapped.
            ProjectionError: something that somebody made depends on what would have to go.
        """
        ...

    async def fail(self, built: Generation, failure: str) -> None:
        """Keep a generation being built only to be looked at, with the words why."""
        ...

    async def drop(self, generation: Generation) -> bool:
        """Remove a generation that does not answer, rows and all; false where it is gone or answers.

        Raises:
            ProjectionError: something that somebody made depends on its tables: it is kept.
        """
        ...

    async def fetch(self, generation: Generation, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys, set-based: one query for each table and key length."""
        ...

    async def commit(self, generation: Generation, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`, in one transaction.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`, or the generation no longer takes events:
                another process moved it; nothing is written.
            ProjectionPaused: somebody paused it; nothing is written.
        """
        ...

    async def settle(self, generation: Generation, letter: DeadLetter, rows: Rows) -> None:
        """Write the rows of an event folded late and remove its letter, in one transaction."""
        ...

    async def set_aside(self, generation: Generation, event: Positioned, error: str, attempts: int) -> None:
        """Write a dead letter: an event that could not be folded, with its error."""
        ...

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Let the live generation rest, or go on, from this moment; false where there is none."""
        ...

    def snapshot(self, generation: Generation) -> AbstractAsyncContextManager[Snapshot]:
        """The whole generation as it stands now, however it moves meanwhile."""
        ...

    async def count(self, generation: Generation) -> dict[str, int]:
        """How many rows each table holds."""
        ...

    async def exceeds(self, generation: Generation, rows: int) -> bool:
        """Whether its tables hold more than so many rows; no more than these are looked at."""
        ...

    async def checkpoint(self, name: str) -> int:
        """The last position that the live generation of a read model has absorbed; 0 when there is none."""
        ...

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live generation has absorbed `position`; returns its checkpoint then.

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
        """Rows of the live generation's table: all conditions hold, by keyset after `after`.

        They are ordered by (column, descending); `after` holds a value for each column of `order_by`: the row
        to go on behind. While the live generation is of another version than `projection`, a column that it
        does not have, or has as another kind, is answered empty.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
            NotServedYet: the live generation lacks the table, or a column to order by.
        """
        ...
