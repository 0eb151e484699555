"""Builds a read model anew beside the one that answers, compares it with a second fold, and swaps it in.

Readers never see half of it: until the swap they read the old generation, after it the new one, and each of
their answers is from one of the two. A process that dies half-way leaves a generation that nobody reads; the
next rebuild goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from domain.errors import (
    CheckpointMoved,
    InvalidInput,
    PoisonEvent,
    ProjectionError,
    ReadStoreUnavailable,
)
from projections.folding import BATCH, Folding
from projections.ports import EventSource, Generation, Projection, ReadStore
from projections.verification import Verified, too_large, verify

STRETCH: Final = 20_000
"""Positions between two reports of progress: several a second."""

NEAR: Final = 2_000
"""Positions behind the log's head at which the swap begins: what is left is folded in milliseconds."""

CATCH_UPS: Final = 100
"""Rounds of catching up with a log that grows meanwhile; each is far shorter than the one before."""

SWAPS: Final = 20
"""Tries of the swap, each giving up in half a second when somebody holds the views."""

_log = structlog.get_logger(__name__)


class _Different(ProjectionError):
    """A second fold gives other rows, or none."""


class Phase(StrEnum):
    """What a rebuild is doing."""

    FOLD = "fold"
    VERIFY = "verify"
    CATCH_UP = "catch up"
    SWAP = "swap"


OnPhase = Callable[[Phase, int, int], None]
"""Told the phase, the position reached and the position to reach."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        generation: the one that answers now.
        position: where it stood when it was verified.
        verified: the comparison; none when there was none.
        unverified: why there was none: nobody asked for it, or the read model is too large.
        fold_s, verify_s, swap_s: seconds of each phase; catching up counts to the swap.
    """

    generation: Generation
    position: int
    verified: Verified | None
    unverified: str | None
    fold_s: float
    verify_s: float
    swap_s: float


async def rebuild(
    projection: Projection,
    source: EventSource,
    store: ReadStore,
    *,
    verified: bool = True,
    batch: int = BATCH,
    on_phase: OnPhase | None = None,
) -> Rebuilt:
    """Build a generation from position 0, or from where a crashed rebuild stopped, and let it answer.

    What a crash left may be of other code under the same version: where it differs from a second fold, all is
    built once more from position 0.

    Raises:
        RebuildUnderWay: another process rebuilds the same read model.
        PoisonEvent: an event cannot be folded; the one that answers is untouched.
        ProjectionError, InvalidInput: the built one differs from a second fold, or cannot be swapped in: it
            is kept as failed, with these words, until the next rebuild.
        ReadStoreUnavailable, LogUnavailable: a database is away; the next rebuild goes on from there.
    """
    tell = on_phase or _silent
    await store.prepare(projection)
    async with store.beside(projection) as generation:
        try:
            return await _built(projection, source, store, generation, batch, tell, verified=verified)
        except (PoisonEvent, CheckpointMoved, ReadStoreUnavailable):
            raise
        except (ProjectionError, InvalidInput) as failed:
            await store.fail(generation, str(failed))
            if generation.checkpoint == 0 or not isinstance(failed, _Different):
                raise
            _log.warning("rebuild_begun_anew", generation=str(generation), error=str(failed))
    return await rebuild(projection, source, store, verified=verified, batch=batch, on_phase=on_phase)


async def _built(
    projection: Projection,
    source: EventSource,
    store: ReadStore,
    generation: Generation,
    batch: int,
    tell: OnPhase,
    *,
    verified: bool,
) -> Rebuilt:
    begun = time.monotonic()
    folding = await Folding.open(projection, source, store, generation)
    await _fold_to_head(Phase.FOLD, folding, source, batch, tell)
    folded, position, found = time.monotonic(), folding.checkpoint, None
    unverified = await too_large(store, generation) if verified else "it was not asked for"
    if unverified is None:
        found = await _verified(projection, source, store, generation, tell)
    elif verified:
        _log.warning("read_model_not_verified", generation=str(generation), why=unverified)
    compared = time.monotonic()
    await _swap(folding, source, store, batch, tell)
    _log.info("read_model_swapped", generation=str(generation), position=folding.checkpoint)
    took = (folded - begun, compared - folded, time.monotonic() - compared)
    return Rebuilt(generation, position, found, unverified, *took)


async def _fold_to_head(
    phase: Phase, folding: Folding, source: EventSource, batch: int, tell: OnPhase
) -> None:
    for _ in range(CATCH_UPS):
        head = await source.head()
        while folding.checkpoint < head:
            await folding.through(min(head, folding.checkpoint + STRETCH), batch)
            tell(phase, folding.checkpoint, head)
        if await source.head() - folding.checkpoint <= NEAR:
            return


async def _verified(
    projection: Projection, source: EventSource, store: ReadStore, generation: Generation, tell: OnPhase
) -> Verified:
    def progress(position: int, target: int) -> None:
        tell(Phase.VERIFY, position, target)

    try:
        found = await verify(projection, source, store, generation, progress)
    except (CheckpointMoved, ReadStoreUnavailable):
        raise
    except ProjectionError as error:
        raise _Different(str(error)) from error
    if not found.equal:
        wrong = ", ".join(
            f"{table.name} ({'; '.join(table.differing)})" for table in found.tables if not table.equal
        )
        raise _Different(
            f"{generation} was rebuilt to position {found.position} and differs from a second fold in "
            f"{wrong}: the one before still answers. A fold that is not a function of the "
            "log alone gives two answers; look for a clock, a set's order or an id in it, then run "
            f"`daybook projections rebuild {projection.name}`"
        )
    return found


async def _swap(folding: Folding, source: EventSource, store: ReadStore, batch: int, tell: OnPhase) -> None:
    for attempt in range(SWAPS):
        await _fold_to_head(Phase.CATCH_UP, folding, source, batch, tell)
        tell(Phase.SWAP, folding.checkpoint, folding.checkpoint)
        try:
            await store.swap(folding.generation, lambda position: folding.through(position, batch))
        except ReadStoreUnavailable as held:
            if attempt == SWAPS - 1:
                raise
            _log.warning("swap_tried_again", generation=str(folding.generation), error=str(held))
        else:
            return


def _silent(_phase: Phase, _position: int, _target: int) -> None:
    """Nobody watches."""
