"""Folds events into one generation of a read model: in memory, then rows and checkpoint in one transaction.

Whoever folds a generation is the only one that changes it, or is refused at the next commit. So the rows it
has read and written stay true, and only rows not seen before are fetched; and the next batch is folded while
the one before is still being written. An event that cannot be folded is tried again, then kept as a dead
letter; a money read model halts there, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import structlog

from domain.errors import PoisonEvent, ProjectionError
from projections.ports import (
    DeadLetter,
    EventSource,
    FoldEvent,
    Generation,
    Key,
    LetterState,
    Projection,
    ReadStore,
    Row,
    Rows,
)

BATCH: Final = 2_000
"""Events of one transaction: its fixed cost is shared by all, and it still takes a fraction of a second."""

PAGE: Final = 250
"""Events read at a time: with all they are made of they fit the cache of a core, as pages of 1,000 do not."""

ATTEMPTS: Final = 3
"""Folds of one event before it is poison: a fold is pure, so more would only say the same."""

KEPT_ROWS: Final = 100_000
"""Rows remembered between batches, about 100 MB: beyond that all are forgotten and fetched anew."""

LETTERS: Final = 100_000
"""Dead letters looked at: a read model with more of them has no use for one by one."""

_TURNS: Final = 4
"""Of the event loop until a write has left, so that the server works on it while the next page folds."""

_log = structlog.get_logger(__name__)


class _Unfoldable(ProjectionError):
    """A projection raised; its words."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")


class Folding:
    """One projection folding into one generation, from its checkpoint on.

    After any error it is of no more use: what it remembers may not be what is stored. Open another.

    Attributes:
        generation: where it folds into.
        checkpoint: the last position known to be stored.
    """

    def __init__(
        self,
        projection: Projection,
        source: EventSource,
        store: ReadStore,
        generation: Generation,
        letters: Sequence[DeadLetter],
    ) -> None:
        mine = [letter for letter in letters if letter.version == generation.version]
        self.generation = generation
        self.checkpoint = self._begun = self._folded = generation.checkpoint
        self._projection = projection
        self._source = source
        self._store = store
        self._skipped = frozenset(letter.position for letter in mine if letter.state is LetterState.DROPPED)
        self._letters = {
            letter.position: letter
            for letter in mine
            if letter.generation == generation.number and letter.state is not LetterState.DROPPED
        }
        self._rows: dict[tuple[str, Key], Row] = {}
        self._seen: set[tuple[str, Key]] = set()
        self._unwritten = Rows()
        self._absorbed = 0
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, projection: Projection, source: EventSource, store: ReadStore, generation: Generation
    ) -> Folding:
        """Ready to fold: it knows what was set aside, and what shall be left out.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        letters = await store.dead_letters(projection.name, limit=LETTERS)
        return cls(projection, source, store, generation, letters)

    async def through(self, head: int, batch: int = BATCH) -> None:
        """Fold everything up to `head`; a page is read and a batch written while another page is folded.

        Args:
            head: a position of the log.
            batch: events of one transaction.

        Raises:
            PoisonEvent: a money read model met an event it cannot fold.
            CheckpointMoved, ProjectionPaused: the commit was refused.
            ReadStoreUnavailable, LogUnavailable: a database is away; what was committed stays.
        """
        topics, limit = self._projection.topics, min(PAGE, batch)
        try:
            async with aclosing(self._source.pages(self._folded, head, topics=topics, limit=limit)) as pages:
                async for events, last in pages:
                    await self._pass(events, last)
                    if self._absorbed >= batch:
                        await self._write()
            await self.flush()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Leave no task behind."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def absorb(self, events: Sequence[FoldEvent], through: int) -> None:
        """Fold `events`, write them and move the checkpoint to `through`.

        Raises:
            As `through`.
        """
        try:
            await self._pass(events, through)
            await self.flush()
        finally:
            await self._leave()

    async def _pass(self, events: Sequence[FoldEvent], through: int) -> None:
        """Fold `events`, to be written; those at or below the checkpoint are duplicates."""
        new = [e for e in events if e.position > self._folded and e.position not in self._skipped]
        try:
            rows = await self._fold(new)
        except _Unfoldable as failure:
            await self._corner(new, through, failure)
        else:
            self._keep(rows, through)
            self._absorbed += len(new)
        if self._letters:
            await self._tidy(new)

    async def _fold(self, events: Sequence[FoldEvent]) -> Rows:
        projection = self._projection
        keys_of, makes, seen = projection.keys, projection.makes, self._seen
        missing: set[tuple[str, Key]] = set()
        made: set[tuple[str, Key]] = set()
        try:
            for event in events:
                for key in keys_of(event):
                    if key not in seen and key not in made:
                        missing.add(key)
                made.update(makes(event))
        except Exception as error:
            raise _Unfoldable(error) from error
        await self._fetch(missing)
        rows = Rows(fetched=self._rows)
        fold = projection.fold
        try:
            for event in events:
                fold(rows, event)
        except Exception as error:
            raise _Unfoldable(error) from error
        return rows

    async def _fetch(self, missing: set[tuple[str, Key]]) -> None:
        if missing:
            for key, row in (await self._store.fetch(self.generation, missing)).fetched.items():
                self._rows.setdefault(key, row)  # a row remembered is newer: it may be on its way there
            self._seen |= missing

    def _keep(self, rows: Rows, through: int) -> None:
        """The rows stand as they are now, in memory; they are written with those of the pages around them."""
        if through > self._folded:
            self._folded = through
            self._rows.update(rows.changed)
            self._seen.update(rows.changed)
            self._unwritten.changed.update(rows.changed)

    async def _write(self) -> None:
        """Begin to write what was folded, once the write before is done."""
        await self._written()
        if self._folded == self._begun:
            return
        rows, self._unwritten, self._absorbed = self._unwritten, Rows(), 0
        before, self._begun = self._begun, self._folded
        commit = self._store.commit(self.generation, rows, before, self._folded)
        self._writing = asyncio.ensure_future(commit)
        if len(self._rows) > KEPT_ROWS:
            await self._written()
            self._rows, self._seen = {}, set()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
        self.checkpoint = self._begun

    async def flush(self) -> None:
        """Wait until everything folded is stored.

        Raises:
            CheckpointMoved, ProjectionPaused, ReadStoreUnavailable: it is not.
        """
        await self._write()
        await self._written()

    # --- poison --------------------------------------------------------------------------------------

    async def _corner(self, events: Sequence[FoldEvent], through: int, failure: _Unfoldable) -> None:
        """Halve a batch that does not fold until the event that spoils it stands alone."""
        middle = len(events) // 2
        if middle:
            await self._pass(events[:middle], events[middle - 1].position)
            await self._pass(events[middle:], through)
        else:
            self._keep(await self._retried(events[0], failure), through)

    async def _retried(self, event: FoldEvent, failure: _Unfoldable) -> Rows:
        """The event folded after all, or no rows when it was set aside as a dead letter.

        Raises:
            PoisonEvent: the read model halts on it.
        """
        await self.flush()
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._fold([event])
            except _Unfoldable as again:
                failure = again
        await self._store.set_aside(self.generation, event, str(failure), ATTEMPTS)
        self._letters.pop(event.position, None)  # it waits again
        _log.error("event_set_aside", projection=self._projection.name, position=event.position)
        if self._projection.halts_on_poison:
            self._keep(Rows(), event.position - 1)
            await self.flush()
            raise PoisonEvent(
                f"read model {self._projection.name!r} cannot fold {event.topic} at position "
                f"{event.position}: {failure}. It halts rather than show wrong numbers; the event is in "
                "its dead letters. Mend the fold or the cause and have it retried, or drop the letter to go "
                "on without the event"
            ) from failure
        return Rows()

    async def _tidy(self, folded: Sequence[FoldEvent]) -> None:
        """Remove the letters of events that folded after all."""
        for event in folded:
            letter = self._letters.pop(event.position, None)
            if letter is not None:
                await self.flush()
                await self._store.settle(self.generation, letter, Rows())

    async def fold_late(self, letter: DeadLetter) -> None:
        """Fold an event that was left behind, onto the rows as they are now, and remove its letter.

        Raises:
            ReadStoreUnavailable, LogUnavailable: a database is away.
        """
        await self.flush()
        events = await self._source.read(letter.position - 1, 1, through=letter.position)
        try:
            rows = await self._fold(events)
        except _Unfoldable as failure:
            await self._store.set_aside(self.generation, events[0], str(failure), 1)
        else:
            await self._store.settle(self.generation, letter, rows)
            self._rows.update(rows.changed)
