"""Snapshots in memory: the same bytes and rules as the real ones; gone with the process."""

from __future__ import annotations

import msgspec
from eventsourcing.domain import BaseAggregate

from adapters.postgres.states import class_version_of, decode_state, encode_state
from commands.ports import AnAggregate


class MemorySnapshots:
    """Implements `commands.ports.Snapshots` for backtests and unit tests."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, type[BaseAggregate[str]], int, bytes]] = {}

    async def load(self, kind: type[AnAggregate], stream: str) -> AnAggregate | None:
        """See `commands.ports.Snapshots.load`; never LogUnavailable."""
        if stream not in self._kept:
            return None
        version, kept, class_version, state = self._kept[stream]
        if (kept, class_version) == (kind, class_version_of(kind)):
            try:
                return decode_state(kind, stream, version, state)
            except msgspec.MsgspecError:
                pass  # as if it were of another version
        await self.discard(stream)
        return None

    async def save(self, aggregate: BaseAggregate[str]) -> None:
        """See `commands.ports.Snapshots.save`."""
        kind, state = type(aggregate), encode_state(aggregate)
        earlier = self._kept.get(aggregate.id)
        if earlier is None or earlier[0] < aggregate.version:
            self._kept[aggregate.id] = aggregate.version, kind, class_version_of(kind), state

    async def discard(self, stream: str) -> None:
        """See `commands.ports.Snapshots.discard`."""
        self._kept.pop(stream, None)
