"""Keeps one read model up to the log: read after the checkpoint, fold in memory, write rows and checkpoint.

Each batch is one set-based read and one transaction, conditional on the old checkpoint, so an event counts
exactly once however often the process dies. An event that cannot be folded is tried again, then kept as a
dead letter; a money read model halts there, the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog

from domain.errors import (
    CheckpointMoved,
    LogUnavailable,
    PoisonEvent,
    ProjectionError,
    ReadStoreUnavailable,
)
from domain.events import RecordedEvent
from projections.ports import EventSource, Key, Projection, ReadStore, Rows

BATCH: Final = 1_000
"""Events of one transaction: pages of 500 to 1,000 decode fastest, and a commit costs the same for all."""

ATTEMPTS: Final = 3
"""Folds of one event before it is poison: a fold is pure, so more would only say the same."""

IDLE_S: Final = 0.25
"""Without events of its own a read model looks at the log's head this often, so that its lag goes to 0."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
"""Pauses between tries while a database is away: they double from the first to the longest."""

CLOSE_S: Final = 5.0
"""To let a cancelled read of the log give its connection back."""

_log = structlog.get_logger(__name__)


class RunnerState(StrEnum):
    """What a runner is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    HALTED = "halted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """Where a read model stands.

    Attributes:
        name, version: which.
        checkpoint: the last position absorbed.
        state: starting, running, waiting (for a database), halted (by poison) or stopped.
        error: why it waits or halts, in words.
    """

    name: str
    version: int
    checkpoint: int
    state: RunnerState
    error: str | None


class _Unfoldable(ProjectionError):
    """A projection raised; its words."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")


class ProjectionRunner:
    """Runs one projection; one runner at a time makes progress, a second one is refused by the checkpoint."""

    def __init__(
        self,
        projection: Projection,
        source: EventSource,
        store: ReadStore,
        *,
        batch: int = BATCH,
        idle_s: float = IDLE_S,
    ) -> None:
        self._projection = projection
        self._source = source
        self._store = store
        self._batch = batch
        self._idle_s = idle_s
        self._checkpoint = 0
        self._state = RunnerState.STARTING
        self._error: str | None = None

    @property
    def status(self) -> RunnerStatus:
        """Where it stands."""
        return RunnerStatus(
            self._projection.name, self._projection.version, self._checkpoint, self._state, self._error
        )

    async def lag(self) -> int:
        """Positions of the log not yet absorbed."""
        return max(0, await self._source.head() - self._checkpoint)

    async def catch_up(self) -> int:
        """Fold everything up to the log's present head; returns the checkpoint reached.

        Raises:
            PoisonEvent: a money read model met an event it cannot fold.
            CheckpointMoved: another process folds the same read model.
            ReadStoreUnavailable, LogUnavailable: a database is away; what was committed stays.
        """
        self._checkpoint = await self._store.prepare(self._projection)
        await self._absorb_through(await self._source.head())
        return self._checkpoint

    async def run(self) -> None:
        """Catch up, then follow the log until it closes, we are cancelled, or poison halts a money model.

        While a database is away it waits and tries again; `status` says so.
        """
        try:
            await self._run_through_outages()
        except PoisonEvent as poison:
            self._state, self._error = RunnerState.HALTED, str(poison)
            _log.error("projection_halted", projection=self._projection.name, error=str(poison))
        finally:
            if self._state is not RunnerState.HALTED:
                self._state = RunnerState.STOPPED

    async def _run_through_outages(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            before = self._checkpoint
            try:
                await self.catch_up()
                self._state, self._error = RunnerState.RUNNING, None
                return await self._follow()
            except (ReadStoreUnavailable, LogUnavailable, CheckpointMoved) as away:
                self._state, self._error = RunnerState.WAITING, str(away)
                _log.warning("projection_waits", projection=self._projection.name, error=str(away))
                await asyncio.sleep(pause_s)
                moved = self._checkpoint > before
                pause_s = FIRST_PAUSE_S if moved else min(2 * pause_s, LONGEST_PAUSE_S)

    async def _follow(self) -> None:
        """Fold what comes; when nothing of ours comes for a while, move the checkpoint to the head."""
        topics = self._projection.topics
        live = self._source.follow(self._checkpoint, topics=topics, limit=self._batch)
        async with aclosing(_Ticking(live, self._idle_s)) as batches:
            async for batch in batches:
                if batch:
                    await self._absorb(batch, batch[-1].position)
                else:
                    await self._absorb_through(await self._source.head())

    async def _absorb_through(self, head: int) -> None:
        while self._checkpoint < head:
            events = await self._source.read(
                self._checkpoint, self._batch, through=head, topics=self._projection.topics
            )
            await self._absorb(events, events[-1].position if len(events) == self._batch else head)

    async def _absorb(self, events: Sequence[RecordedEvent], through: int) -> None:
        """Fold `events` and move the checkpoint to `through`; those at or below it are duplicates."""
        new = [event for event in events if event.position > self._checkpoint]
        try:
            rows = await self._folded(new)
        except _Unfoldable as failure:
            await self._corner(new, through, failure)
        else:
            await self._commit(rows, through)

    async def _folded(self, events: Sequence[RecordedEvent]) -> Rows:
        projection = self._projection
        keys: set[tuple[str, Key]] = set()
        try:
            for event in events:
                keys.update(projection.keys(event))
        except Exception as error:
            raise _Unfoldable(error) from error
        rows = await self._store.fetch(projection, keys) if keys else Rows()
        fold = projection.fold
        try:
            for event in events:
                fold(rows, event)
        except Exception as error:
            raise _Unfoldable(error) from error
        return rows

    async def _corner(self, events: Sequence[RecordedEvent], through: int, failure: _Unfoldable) -> None:
        """Halve a batch that does not fold until the event that spoils it stands alone."""
        middle = len(events) // 2
        if middle:
            await self._absorb(events[:middle], events[middle - 1].position)
            await self._absorb(events[middle:], through)
        else:
            await self._commit(await self._retried(events[0], failure), through)

    async def _retried(self, event: RecordedEvent, failure: _Unfoldable) -> Rows:
        """The event folded after all, or no rows when it was set aside as a dead letter.

        Raises:
            PoisonEvent: the read model halts on it.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._folded([event])
            except _Unfoldable as again:
                failure = again
        await self._store.set_aside(self._projection, event, str(failure), ATTEMPTS)
        _log.error("event_set_aside", projection=self._projection.name, position=event.position)
        if self._projection.halts_on_poison:
            await self._commit(Rows(), event.position - 1)
            raise PoisonEvent(
                f"read model {self._projection.name!r} cannot fold {event.topic} at position "
                f"{event.position}: {failure}. It halts rather than show wrong numbers; the event is in "
                "dead_letters. Mend the fold or the cause and start again"
            ) from failure
        return Rows()

    async def _commit(self, rows: Rows, through: int) -> None:
        if through > self._checkpoint:
            await self._store.commit(self._projection, rows, self._checkpoint, through)
            self._checkpoint = through


class _Ticking:
    """The batches of an iterator, and an empty one whenever it has been silent for `idle_s` seconds."""

    def __init__(self, batches: AsyncIterator[list[RecordedEvent]], idle_s: float) -> None:
        self._batches = batches
        self._idle_s = idle_s
        self._next: asyncio.Future[list[RecordedEvent]] | None = None

    def __aiter__(self) -> _Ticking:
        return self

    async def __anext__(self) -> list[RecordedEvent]:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._batches))
        await asyncio.wait([self._next], timeout=self._idle_s)
        if not self._next.done():
            return []
        arrived, self._next = self._next, None
        return arrived.result()

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next], timeout=CLOSE_S)
        close: Any = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()
