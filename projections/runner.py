"""Keeps one read model up to the log: catches up, follows, rests when paused, rebuilds a new version.

When the code's version is newer than the one that answers, the old one goes on answering while the new one is
built beside it, verified and swapped in; then the runner follows the log with it. What goes wrong with one
read model halts its own runner and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import structlog

from domain.errors import (
    CheckpointMoved,
    InvalidInput,
    LogUnavailable,
    PoisonEvent,
    ProjectionError,
    ProjectionPaused,
    ReadStoreUnavailable,
    RebuildUnderWay,
    Superseded,
)
from projections.folding import BATCH, LETTERS, Folding
from projections.ports import (
    EventSource,
    FoldEvent,
    Generation,
    LetterState,
    Projection,
    ReadStore,
    State,
)
from projections.rebuild import Phase, rebuild

IDLE_S: Final = 0.25
"""Without events of its own a read model looks at the log's head this often, so that its lag goes to 0."""

LOOK_S: Final = 0.5
"""How often a runner looks what people decided: paused, resumed, retried, dropped, rebuilt."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
"""Pauses between tries while a database is away: they double from the first to the longest."""

CLOSE_S: Final = 5.0
"""To let a cancelled read of the log give its connection back."""

_log = structlog.get_logger(__name__)


class RunnerState(StrEnum):
    """What a runner is doing."""

    STARTING = "starting"
    REBUILDING = "rebuilding"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    HALTED = "halted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """Where a read model stands.

    Attributes:
        name, version: which.
        checkpoint: the last position absorbed.
        state: starting, rebuilding (an older version answers), running, waiting (for a database or another
            process), paused (by somebody), halted (by poison, a newer version, or a rebuild that failed) or
            stopped.
        error: why it waits, rests or halts, in words.
    """

    name: str
    version: int
    checkpoint: int
    state: RunnerState
    error: str | None


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
        look_s: float = LOOK_S,
    ) -> None:
        self._projection = projection
        self._source = source
        self._store = store
        self._batch = batch
        self._idle_s = idle_s
        self._look_s = look_s
        self._status = RunnerStatus(projection.name, projection.version, 0, RunnerState.STARTING, None)
        self._folding: Folding | None = None
        self._outdated: Generation | None = None  # answers until the rebuild of our version is done
        self._next_look = 0.0

    @property
    def status(self) -> RunnerStatus:
        """Where it stands."""
        if self._folding is None:
            return self._status
        return replace(self._status, checkpoint=self._folding.checkpoint)

    async def lag(self) -> int:
        """Positions of the log not yet absorbed."""
        return max(0, await self._source.head() - self.status.checkpoint)

    async def catch_up(self) -> int:
        """Fold everything up to the log's present head, a rebuild included; returns the checkpoint reached.

        Raises:
            PoisonEvent: a money read model met an event it cannot fold.
            CheckpointMoved: another process folds the same read model.
            ProjectionPaused: somebody paused it.
            Superseded: a newer version answers.
            ProjectionError, InvalidInput: a rebuild failed, or PostgreSQL refused what was folded.
            ReadStoreUnavailable, LogUnavailable: a database is away; what was committed stays.
        """
        folding = await self._open()
        await folding.through(await self._source.head(), self._batch)
        return folding.checkpoint

    async def run(self) -> None:
        """Catch up, then follow the log until it closes or we are cancelled.

        While a database is away it waits and tries again. Poison halts a money model until somebody decides
        on its letter; any other error of the read model halts it until another generation answers, such as
        one that `daybook projections rebuild` made. `status` says so.
        """
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                before = self.status.checkpoint
                try:
                    await self.catch_up()
                    self._is(RunnerState.RUNNING)
                    return await self._follow()
                except ProjectionPaused as paused:
                    self._is(RunnerState.PAUSED, paused)
                    await self._until(self._resumed)
                except (ReadStoreUnavailable, LogUnavailable, CheckpointMoved, RebuildUnderWay) as away:
                    self._is(RunnerState.WAITING, away)
                    _log.warning("projection_waits", projection=self._projection.name, error=str(away))
                    await asyncio.sleep(pause_s)
                    moved = self.status.checkpoint > before
                    pause_s = FIRST_PAUSE_S if moved else min(2 * pause_s, LONGEST_PAUSE_S)
                except (ProjectionError, InvalidInput) as halt:
                    self._halt(halt)
                    poison = isinstance(halt, PoisonEvent)
                    await self._until(await self._decision(poison=poison))
        finally:
            if self._status.state is not RunnerState.HALTED:
                self._is(RunnerState.STOPPED)

    def _is(self, state: RunnerState, why: Exception | None = None) -> None:
        error = None if why is None else str(why)
        self._status = replace(self._status, checkpoint=self.status.checkpoint, state=state, error=error)

    def _halt(self, why: Exception) -> None:
        self._is(RunnerState.HALTED, why)
        old = self._outdated
        if old is not None:
            words = f"{why}. Meanwhile {old} answers, as of position {old.checkpoint:,}, and takes no events"
            self._status = replace(self._status, checkpoint=old.checkpoint, error=words)
        _log.error("projection_halted", projection=self._projection.name, error=self._status.error)

    async def _open(self) -> Folding:
        """Fold into the generation that answers, after building it where an older version does."""
        live = await self._store.prepare(self._projection)
        if live.version < self._projection.version:
            self._is(RunnerState.REBUILDING)
            self._outdated = live
            await rebuild(
                self._projection, self._source, self._store, batch=self._batch, on_phase=self._rebuilding
            )
            live = await self._store.prepare(self._projection)
        self._outdated = None
        if live.version > self._projection.version:
            raise Superseded(
                f"read model {live.name!r} answers with version {live.version}, newer than this daybook's "
                f"version {self._projection.version}: start the newer daybook, or go back with "
                f"`daybook projections rebuild {live.name}`"
            )
        self._folding = await Folding.open(self._projection, self._source, self._store, live)
        return self._folding

    def _rebuilding(self, phase: Phase, position: int, target: int) -> None:
        words = f"an older version answers while this one is built: {phase.value}, {position:,} of {target:,}"
        self._status = replace(self._status, checkpoint=position, error=words)

    async def _follow(self) -> None:
        """Fold what comes; when nothing of ours comes for a while, move the checkpoint to the head."""
        folding = self._folding
        assert folding is not None  # noqa: S101 - catch_up opened it
        topics = self._projection.topics
        live = self._source.follow(folding.checkpoint, topics=topics, limit=self._batch)
        async with aclosing(_Ticking(live, self._idle_s)) as batches:
            async for batch in batches:
                if batch:
                    await folding.absorb(batch, batch[-1].position)
                else:
                    await folding.through(await self._source.head(), self._batch)
                await self._look_around(folding)

    async def _look_around(self, folding: Folding) -> None:
        """Every `look_s`: is it still ours to fold, and shall a letter be tried again?"""
        now = asyncio.get_running_loop().time()
        if now < self._next_look:
            return
        self._next_look = now + self._look_s
        mine = await self._same(folding.generation)
        if mine is None or mine.state is not State.LIVE:
            raise CheckpointMoved(f"{folding.generation} no longer answers: another one was swapped in")
        if mine.paused:
            raise ProjectionPaused(f"read model {mine.name!r} is paused at position {mine.checkpoint}")
        for letter in await self._store.dead_letters(self._projection.name, state=LetterState.RETRY):
            late = (letter.version, letter.generation) == (mine.version, mine.number)
            if late and letter.position <= folding.checkpoint:
                await folding.fold_late(letter)

    async def _same(self, generation: Generation) -> Generation | None:
        for found in await self._store.generations(generation.name):
            if (found.version, found.number) == (generation.version, generation.number):
                return found
        return None

    async def _until(self, decided: Callable[[], Awaitable[bool]]) -> None:
        """Look again and again; while the read models' database gives no answer nothing is decided."""
        while True:
            await asyncio.sleep(self._look_s)
            try:
                if await decided():
                    return
            except ProjectionError as away:
                _log.warning("projection_waits", projection=self._projection.name, error=str(away))

    async def _resumed(self) -> bool:
        name = self._projection.name
        return not any(generation.paused for generation in await self._store.generations(name))

    async def _decision(self, *, poison: bool) -> Callable[[], Awaitable[bool]]:
        """Whether what halted us has changed: no letter waits any more, or another generation answers."""
        try:
            before = await self._halting()
        except ProjectionError:
            before = None  # whatever answers next is looked at anew

        async def changed() -> bool:
            now = await self._halting()
            return now != before or (poison and not now[0])

        return changed

    async def _halting(self) -> tuple[list[int], list[tuple[int, int]]]:
        name = self._projection.name
        waiting = await self._store.dead_letters(name, state=LetterState.WAITING, limit=LETTERS)
        generations = await self._store.generations(name)
        return (
            [letter.id for letter in waiting],
            [(found.version, found.number) for found in generations if found.state is State.LIVE],
        )


class _Ticking:
    """The batches of an iterator, and an empty one whenever it has been silent for `idle_s` seconds."""

    def __init__(self, batches: AsyncIterator[Sequence[FoldEvent]], idle_s: float) -> None:
        self._batches = batches
        self._idle_s = idle_s
        self._next: asyncio.Future[Sequence[FoldEvent]] | None = None

    def __aiter__(self) -> _Ticking:
        return self

    async def __anext__(self) -> Sequence[FoldEvent]:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._batches))
        await asyncio.wait([self._next], timeout=self._idle_s)
        if not self._next.done():
            return ()
        arrived, self._next = self._next, None
        return arrived.result()

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next], timeout=CLOSE_S)
        close: Any = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()
