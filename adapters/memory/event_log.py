"""The event log in memory: the same order, bytes and hash chain as the real one; gone with the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from itertools import islice
from uuid import UUID

from adapters.memory.leases import MemoryLeases
from adapters.postgres.batch import Known, Request, plan
from adapters.postgres.chaining import Chain, rows
from adapters.postgres.doorbell import Doorbell
from adapters.postgres.following import follow
from adapters.postgres.hash_chain import GENESIS, ChainWalk
from adapters.postgres.history import BEGINNING, ROOT_WINDOW, TimeMark
from adapters.postgres.paging import Fetched, pages
from adapters.postgres.rows import StoredEvent, encode_appends
from commands.ports import Appended, Fence, StreamAppend
from domain.events import RecordedEvent


class MemoryEventLog:
    """Implements `commands.ports.EventLog` for backtests and unit tests.

    Args:
        leases: whose epochs fence the appends; without them, leases of its own.
    """

    def __init__(self, leases: MemoryLeases | None = None) -> None:
        self.leases = leases or MemoryLeases()
        self._rows: list[StoredEvent] = []
        self._streams: dict[str, list[int]] = {}
        self._appended: dict[bytes, Appended] = {}
        self._bell = Doorbell()

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        """See `commands.ports.EventLog.append`; never LogUnavailable."""
        encoded = encode_appends(appends)
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        request = Request(encoded, append_id, answer, deadline=0.0, fence=fence)
        made = plan([request], self._known(request))
        for _, error in made.refused:
            raise error
        for _, result in made.repeated:
            return result
        for row in rows(Chain(made).links(made.placed)):
            self._streams.setdefault(row.stream, []).append(len(self._rows))
            self._rows.append(row)
        self._bell.ring(len(self._rows))
        self._appended[request.append_id] = result = Appended(*made.accepted[0][1:])
        return result

    def _known(self, request: Request) -> Known:
        """All that matters to this request; in memory everything is known."""
        position, digest = (self._rows[-1].position, self._rows[-1].hash) if self._rows else (0, GENESIS)
        versions = {append.stream: len(self._streams.get(append.stream, ())) for append in request.appends}
        epochs = (
            {} if request.fence is None else {request.fence.lease: self.leases.epoch(request.fence.lease)}
        )
        earlier = self._appended.get(request.append_id)
        return Known(
            position, digest, versions, epochs, {} if earlier is None else {request.append_id: earlier}
        )

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """See `commands.ports.EventLog.read`."""
        return (await self.fetch(after, limit, through=through, topics=topics)).events()

    async def fetch(
        self,
        after: int,
        limit: int,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> Fetched[RecordedEvent]:
        """As `read`, not yet decoded."""
        rows = self._rows[after : through if through is None else max(through, 0)]
        wanted = (row for row in rows if topics is None or row.topic in topics)
        found = list(islice(wanted, limit))
        last = found[-1].position if found else after
        return Fetched(len(found), last, lambda: [row.recorded() for row in found])

    def pages(
        self, after: int, through: int, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncGenerator[tuple[list[RecordedEvent], int]]:
        """See `projections.ports.EventSource.pages`."""
        return pages(self, after, through, topics, limit)

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """See `commands.ports.EventLog.read_stream`."""
        places = self._streams.get(stream, [])[after_version : after_version + limit]
        return [self._rows[place].recorded() for place in places]

    async def read_story(self, correlation_id: UUID, limit: int = 500) -> list[RecordedEvent]:
        """See `adapters.postgres.history.LogHistory.read_story`."""
        mine = [row for row in self._rows if row.correlation_id == correlation_id]
        told = [row for row in mine if not row.topic.startswith("market.")]
        if not told:
            return []
        first = told[0].position
        roots = [row for row in mine if first - ROOT_WINDOW <= row.position < first]
        return [row.recorded() for row in (*roots, *told)][:limit]

    async def read_between(
        self, since: int, until: int, limit: int = 500, *, after: TimeMark = BEGINNING
    ) -> list[RecordedEvent]:
        """See `adapters.postgres.history.LogHistory.read_between`."""
        found = [row for row in self._rows if since <= row.recorded_at < until]
        found.sort(key=_mark)
        return [row.recorded() for row in found if _mark(row) > after][:limit]

    async def head(self) -> int:
        """See `commands.ports.EventLog.head`."""
        return len(self._rows)

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """See `commands.ports.EventLog.follow`."""
        return follow(self, self._bell, after, topics, limit)

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> tuple[int, bytes]:
        """Walk the chain; how many events verified, and the last hash.

        Raises:
            LogCorrupt: naming the first position that is missing or altered.
        """
        walk = ChainWalk()
        for row in self._rows:
            walk.step(row)
        if progress is not None:
            progress(walk.position, len(self._rows))
        return walk.position, walk.hash


def _mark(row: StoredEvent) -> TimeMark:
    return row.recorded_at, row.position
