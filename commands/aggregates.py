"""From the log to an aggregate and back: fold a stream, let one caller decide, append what it decided."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from eventsourcing.domain import BaseAggregate

from commands.ports import EventLog, Snapshots, StreamAppend
from domain.chain import Slot
from domain.errors import InvalidInput, LogUnavailable
from domain.events import Cause, RecordedEvent, derived_id
from domain.wallets.wallet import Wallet

KEPT: Final = 1_024
"""Aggregates kept in memory between uses; some kilobytes each."""

PAGE: Final = 10_000
"""Events of one stream read at once."""

SNAPSHOT_EVERY: Final = 1_000
"""Events of one stream between two snapshots: folding so many takes tens of milliseconds."""

LONG: Final = (Wallet,)
"""Kinds whose streams grow without end; the others end after some dozens of events."""

A = TypeVar("A", bound=BaseAggregate[str])
_log = structlog.get_logger(__name__)


class Aggregates:
    """Aggregates by stream, one user at a time; a second use reads only what is new in the log.

    Within the process users wait for each other; against other processes the expected version stands guard.

    Args:
        log: where the events are.
        snapshots: of long streams; without them those are folded from the first event.
    """

    def __init__(self, log: EventLog, snapshots: Snapshots | None = None) -> None:
        self._log = log
        self._snapshots = snapshots
        self._saved: dict[str, int] = {}
        self._kept: OrderedDict[str, BaseAggregate[str]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, kind: type[A], stream: str) -> AsyncIterator[A]:
        """The aggregate as the log has it, until the block ends; forgotten when the block raises.

        Raises:
            InvalidInput: the stream is empty, or another kind of aggregate.
        """
        lock = self._locks.setdefault(stream, asyncio.Lock())
        async with lock:
            try:
                yield await self._load(kind, stream)
            except BaseException:
                self.forget(stream)  # it may have decided what never reached the log
                raise

    def forget(self, stream: str) -> None:
        """Read the stream from its beginning next time."""
        self._kept.pop(stream, None)
        self._saved.pop(stream, None)

    async def _load(self, kind: type[A], stream: str) -> A:
        known = self._kept.get(stream) or await self._snapshot(kind, stream)
        aggregate = await fold(self._log, stream, known)
        if not isinstance(aggregate, kind):
            raise InvalidInput(
                f"stream {stream!r} was asked for as {kind.TOPIC!r} but holds "  # type: ignore[attr-defined]  # ours all name theirs
                f"{'nothing' if aggregate is None else type(aggregate).__name__}: check the name"
            )
        self._kept[stream] = aggregate
        self._kept.move_to_end(stream)
        while len(self._kept) > KEPT:
            self.forget(next(iter(self._kept)))
        await self._save(aggregate)
        return aggregate

    async def _snapshot(self, kind: type[A], stream: str) -> A | None:
        """The newest snapshot, if it is a state that the log's stream had."""
        if self._snapshots is None or not issubclass(kind, LONG):
            return None
        found = await self._snapshots.load(kind, stream)
        if found is None:
            return None
        then = await self._log.read_stream(stream, found.version - 1, 1)
        if not then or then[0].event.timestamp != found.modified_on:
            _log.warning("a snapshot is not of this log and is thrown away", stream=stream)
            await self._snapshots.discard(stream)
            return None
        self._saved[stream] = found.version
        return found

    async def _save(self, aggregate: BaseAggregate[str]) -> None:
        """Keep its state now and then; it has just been folded, so all of it is in the log."""
        if self._snapshots is None or not isinstance(aggregate, LONG):
            return
        if aggregate.version < self._saved.get(aggregate.id, 0) + SNAPSHOT_EVERY:
            return
        try:
            await self._snapshots.save(aggregate)
        except LogUnavailable as error:
            _log.warning("no snapshot was taken; loading stays slow", stream=aggregate.id, error=str(error))
        else:
            self._saved[aggregate.id] = aggregate.version


async def fold(
    log: EventLog, stream: str, aggregate: BaseAggregate[str] | None = None
) -> BaseAggregate[str] | None:
    """The aggregate after everything the log holds of its stream; none for an empty stream."""
    while True:  # ends with the stream
        page = await log.read_stream(stream, aggregate.version if aggregate else 0, PAGE)
        aggregate = evolved(aggregate, page)
        if len(page) < PAGE:
            return aggregate


def evolved(aggregate: BaseAggregate[str] | None, page: list[RecordedEvent]) -> BaseAggregate[str] | None:
    """The aggregate after these events of its stream."""
    for recorded in page:
        aggregate = cast("BaseAggregate[str] | None", recorded.event.mutate(aggregate))
    return aggregate


def content_id(append: StreamAppend) -> UUID:
    """An append id that follows from what is appended: only the very same decision is taken for a repetition.

    An attempt signed anew at the same version must not pass for the one whose answer was lost.
    """
    return derived_id("content", append.stream, append.expected_version, *map(repr, append.events))


def decisions(
    aggregate: BaseAggregate[str], cause: Cause, at: int, slot: Slot | None = None
) -> list[StreamAppend]:
    """What the aggregate decided, ready to append: one item, or none when it decided nothing."""
    events: list[Any] = list(aggregate.collect_events())
    version = aggregate.version - len(events)
    return [StreamAppend(aggregate.id, version, events, cause, at, slot)] if events else []
