"""A log of a list, for tests of the read side: what a projection needs of the log, and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence

from domain.events import RecordedEvent


class ListLog:
    """An `EventReader` over a list that may grow."""

    def __init__(self, events: Sequence[RecordedEvent] = ()) -> None:
        self.events = list(events)
        self._grown = asyncio.Event()

    def grow(self, events: Sequence[RecordedEvent]) -> None:
        """Add events and wake the followers."""
        self.events += events
        self._grown.set()

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """As the port says."""
        stop = len(self.events) if through is None else through
        found = (e for e in self.events[after:stop] if topics is None or e.topic in topics)
        return [event for _, event in zip(range(limit), found, strict=False)]

    async def pages(
        self, after: int, through: int, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncGenerator[tuple[list[RecordedEvent], int]]:
        """As the port says."""
        while after < through:
            events = await self.read(after, limit, through=through, topics=topics)
            after = events[-1].position if len(events) == limit else through
            yield events, after

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """As the port says."""
        found = [e for e in self.events if e.stream == stream and e.version > after_version]
        return found[:limit]

    async def head(self) -> int:
        """The newest position."""
        return len(self.events)

    async def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """History, then live."""
        while True:
            self._grown.clear()
            if batch := await self.read(after, limit, topics=topics):
                after = batch[-1].position
                yield batch
            else:
                await self._grown.wait()
