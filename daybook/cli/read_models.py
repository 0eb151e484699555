"""What `daybook projections` asks of the log and the read models, with both opened for one command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from domain.errors import ProjectionError
from projections.ports import DeadLetter, Generation, LetterState, State
from projections.read_model import ReadModel
from projections.rebuild import OnPhase, Rebuilt, rebuild
from projections.verification import OnProgress, Verified, verify


@dataclass(frozen=True, slots=True)
class Summary:
    """A read model in a line.

    Attributes:
        name: which.
        version: of this daybook's code.
        live_version, generation: which answers; none where nothing was folded yet.
        state: `new` (never folded), `live`, `paused`, `halted` (at a dead letter, or the rebuild of a new
            version failed) or `outdated` (an older version answers until the services have built the new
            one).
        checkpoint: the last position absorbed.
        lag: positions of the log behind its head.
    """

    name: str
    version: int
    live_version: int | None
    generation: int | None
    state: str
    checkpoint: int
    lag: int

    def line(self) -> str:
        """For people."""
        answers = "-" if self.live_version is None else f"v{self.live_version} g{self.generation}"
        return (
            f"{self.name:<18} v{self.version:<3} answers {answers:<8} {self.state:<9} "
            f"at {self.checkpoint:>12,}  lag {self.lag:,}"
        )


@dataclass(frozen=True, slots=True)
class Status:
    """All about a read model.

    Attributes:
        summary: in a line.
        rows: by table, of what answers.
        dead_letters: events that could not be folded and wait for somebody, or shall be tried again.
        left_out: events that somebody dropped.
        others: generations that are being built, failed or old, with their checkpoints.
    """

    summary: Summary
    rows: dict[str, int]
    dead_letters: list[DeadLetter]
    left_out: int
    others: list[Generation]

    def as_json(self) -> dict[str, Any]:
        """One flat object."""
        return {
            **asdict(self.summary),
            "rows": self.rows,
            "dead_letters": [asdict(letter) for letter in self.dead_letters],
            "left_out": self.left_out,
            "others": [
                {
                    "version": other.version,
                    "generation": other.number,
                    "state": other.state,
                    "checkpoint": other.checkpoint,
                    "failure": other.failure,
                }
                for other in self.others
            ],
        }

    def lines(self) -> list[str]:
        """For people."""
        rows = ", ".join(f"{table} {count:,}" for table, count in self.rows.items())
        return [
            self.summary.line(),
            *([f"    rows: {rows}"] if rows else []),
            *(
                f"    dead letter {letter.id}: {letter.topic} at position {letter.position}, {letter.error}"
                for letter in self.dead_letters
            ),
            *([f"    {self.left_out} events left out for good"] if self.left_out else []),
            *(f"    {one.state.value}: {one} at {one.checkpoint:,}" for one in self.others),
            *(f"    why it failed: {one.failure}" for one in self.others if one.failure is not None),
            *self._stands_still(),
        ]

    def _stands_still(self) -> list[str]:
        """That an older version, whose code is gone, takes no events."""
        one = self.summary
        if one.live_version is None or one.live_version >= one.version:
            return []
        words = (
            f"version {one.live_version} answers as of position {one.checkpoint:,} and takes no events until "
            f"version {one.version} is built: by the services, or `daybook projections rebuild {one.name}`"
        )
        return [f"    {words}"]


class Desk:
    """Looks after read models.

    Attributes:
        models: those asked for.
    """

    def __init__(self, log: PostgresEventLog, store: PostgresReadStore, models: Sequence[ReadModel]) -> None:
        self.models = models
        self._log = log
        self._store = store

    async def summary(self, model: ReadModel) -> Summary:
        """A read model in a line."""
        generations = await self._store.generations(model.name)
        live = next((one for one in generations if one.state is State.LIVE), None)
        letters = await self._store.dead_letters(model.name)
        checkpoint = 0 if live is None else live.checkpoint
        return Summary(
            model.name,
            model.version,
            None if live is None else live.version,
            None if live is None else live.number,
            _state(model, live, generations, letters),
            checkpoint,
            max(0, await self._log.head() - checkpoint),
        )

    async def status(self, model: ReadModel) -> Status:
        """All about a read model."""
        live = await self._live(model)
        letters = await self._store.dead_letters(model.name)
        return Status(
            await self.summary(model),
            {} if live is None else await self._store.count(live),
            [letter for letter in letters if letter.state is not LetterState.DROPPED],
            sum(letter.state is LetterState.DROPPED for letter in letters),
            await self._others(model),
        )

    async def rebuild(self, model: ReadModel, *, verified: bool, on_phase: OnPhase) -> Rebuilt:
        """Build it anew and swap it in; see `projections.rebuild`."""
        source = FoldSource(self._log, model)
        return await rebuild(model, source, self._store, verified=verified, on_phase=on_phase)

    async def verify(self, model: ReadModel, on_progress: OnProgress) -> Verified:
        """Compare what answers with a fold from nothing; see `projections.verification`.

        Raises:
            ProjectionError: nothing was folded yet.
        """
        live = await self._live(model)
        if live is None:
            raise ProjectionError(
                f"read model {model.name!r} was never folded: start the services, or run "
                f"`daybook projections rebuild {model.name}`"
            )
        return await verify(model, FoldSource(self._log, model), self._store, live, on_progress)

    async def pause(self, model: ReadModel, *, paused: bool) -> bool:
        """Let it rest, or go on; false where it was never folded."""
        return await self._store.pause(model.name, paused=paused)

    async def drop_old(self, model: ReadModel) -> int:
        """Remove what was swapped out, and rebuilds that failed; returns how many."""
        old = [one for one in await self._others(model) if one.state in (State.OLD, State.FAILED)]
        return sum([await self._store.drop(one) for one in old])

    async def _live(self, model: ReadModel) -> Generation | None:
        found = await self._store.generations(model.name)
        return next((one for one in found if one.state is State.LIVE), None)

    async def _others(self, model: ReadModel) -> list[Generation]:
        return [one for one in await self._store.generations(model.name) if one.state is not State.LIVE]


def _state(
    model: ReadModel,
    live: Generation | None,
    generations: Sequence[Generation],
    letters: Sequence[DeadLetter],
) -> str:
    if live is None:
        return "new"
    if live.paused:
        return "paused"
    outdated = live.version < model.version
    folded = [one for one in generations if one is live or (outdated and one.version == model.version)]
    if any(one.state is State.FAILED or _is_stuck(model, one, letters) for one in folded):
        return "halted"
    return "outdated" if outdated else "live"


def _is_stuck(model: ReadModel, generation: Generation, letters: Sequence[DeadLetter]) -> bool:
    """Whether it stands just before an event it cannot fold."""
    here = (generation.version, generation.number, generation.checkpoint + 1, LetterState.WAITING)
    return model.halts_on_poison and any(
        (letter.version, letter.generation, letter.position, letter.state) == here for letter in letters
    )


@asynccontextmanager
async def desk(database_url: str, models: Sequence[ReadModel]) -> AsyncIterator[Desk]:
    """Both stores opened for one command.

    Raises:
        SetupError: the database is not migrated.
        LogUnavailable, ReadStoreUnavailable: PostgreSQL does not answer.
    """
    async with (
        await PostgresEventLog.open(database_url) as log,
        open_read_store(database_url) as store,
    ):
        yield Desk(log, store, models)
