"""The event log in PostgreSQL: the record of everything, appended by one writer, read by position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import asyncpg

from adapters.postgres.archive_shelf import ArchiveShelf, is_complete, is_whole
from adapters.postgres.batch import Track
from adapters.postgres.connections import COMMAND_TIMEOUT_S, explained, lent, open_pool
from adapters.postgres.doorbell import Doorbell, wait
from adapters.postgres.envelopes import END, ENVELOPE, enveloped, page_query
from adapters.postgres.following import POLL_S, follow
from adapters.postgres.hash_chain import ChainWalk
from adapters.postgres.history import LogHistory
from adapters.postgres.paging import Fetched, pages
from adapters.postgres.ringing import Ringing
from adapters.postgres.rows import (
    COLUMNS,
    MAX_BULK_EVENTS,
    EncodedAppend,
    StoredEvent,
    check_appends,
    encode_appends,
)
from adapters.postgres.writer import CoalescingWriter
from commands.ports import Appended, Fence, StreamAppend
from domain.errors import LogCorrupt, LogError
from domain.events import RecordedEvent

UNAVAILABLE_AFTER_S: Final = 10.0
"""How long an append is retried while PostgreSQL is away; a restart takes about two seconds. An append
of many events has a second more for every 5,000 of them, and for every 5 MB: what a slow disk needs."""

VERIFY_PAGE: Final = 1_000
"""Rows of one read while verifying; pages of 500 to 1,000 are the fastest."""


class PostgresEventLog(LogHistory):
    """Implements `commands.ports.EventLog`; open it with `PostgresEventLog.open` and close it.

    Attributes:
        pool: connections in the writer's role, shared with leases and bookmarks.
        shelf: what was archived, by position.
        bell: rings when any process has appended.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        writer: CoalescingWriter,
        ringing: Ringing,
        bell: Doorbell,
    ) -> None:
        super().__init__(pool)
        self.shelf = ArchiveShelf(pool)
        self._writer = writer
        self._ringing = ringing
        self.bell = bell
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, database_url: str, *, unavailable_after_s: float = UNAVAILABLE_AFTER_S) -> Self:
        """Connect, and start writing and listening.

        Args:
            database_url: a PostgreSQL URL; a unix socket's folder may stand in `?host=`.
            unavailable_after_s: how long an append is retried while the database is away.

        Raises:
            SetupError: the database is not there or not migrated.
            LogUnavailable: no server answers.
        """
        pool = await open_pool(database_url)
        bell = Doorbell()
        ringing = Ringing(bell)
        writer = CoalescingWriter(
            database_url, unavailable_after_s=unavailable_after_s, rung=ringing.appended
        )
        log = cls(pool, writer, ringing, bell)
        try:
            await log.head()
        except BaseException:
            await log.close()
            raise
        log._start(database_url)
        return log

    def _start(self, database_url: str) -> None:
        self._tasks = [
            asyncio.create_task(self._writer.run(), name="event log writer"),
            asyncio.create_task(self._ringing.run(database_url), name="event log doorbell"),
        ]

    async def close(self) -> None:
        """Stop; appends that were not answered are told so."""
        self._writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        """See `commands.ports.EventLog.append`."""
        return await self._writer.append(encode_appends(appends), append_id, fence)

    async def append_rows(
        self, appends: Sequence[EncodedAppend], *, append_id: UUID, track: Track | None = None
    ) -> Appended:
        """As `append`, of events that are bytes already; for other ways of writing the same log.

        Args:
            appends: one for each stream.
            append_id: made by the caller, as for `append`.
            track: a follower's position, to be committed with them.

        Raises:
            AlreadyTracked: the follower stands there already, or further; and whatever `append` raises.
        """
        check_appends(appends)
        return await self._writer.append(list(appends), append_id, track=track)

    async def bulk_append(self, appends: Sequence[StreamAppend], *, append_id: UUID) -> Appended:
        """As `append`, by COPY, for batches of thousands: up to 200,000 events, all or nothing.

        Other appends wait while it commits.

        Raises:
            ConcurrencyError, LogUnavailable, InvalidInput: as `append`.
        """
        return await self._writer.append(encode_appends(appends, MAX_BULK_EVENTS), append_id)

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
        found = await self._page(after, limit, through, topics, ENVELOPE)
        last = found[-1][0] if found else after
        whole = is_complete(len(found), last, after, limit, through, topics)
        if whole or not await self.shelf.overlapping(after, END if through is None else through):
            return Fetched(len(found), last, partial(enveloped, found))
        rows = await self.read_rows(after, limit, through=through, topics=topics)
        last = rows[-1].position if rows else after
        return Fetched(len(rows), last, lambda: [row.recorded() for row in rows])

    def pages(
        self, after: int, through: int, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncGenerator[tuple[list[RecordedEvent], int]]:
        """See `projections.ports.EventSource.pages`."""
        return pages(self, after, through, topics, limit)

    async def read_rows(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[StoredEvent]:
        """As `read`, undecoded: for verification and exports. What was archived is read from its file.

        Raises:
            LogError: an archive's file is not where it was put.
            LogCorrupt: an archive's file is damaged.
        """
        found = await self._page(after, limit, through, topics, COLUMNS)
        rows = [StoredEvent._make(row) for row in found]
        if is_whole(rows, after, limit, through, topics):
            return rows
        return await self.shelf.merged(rows, after, limit, through, topics)

    async def _page(
        self, after: int, limit: int, through: int | None, topics: Collection[str] | None, columns: str
    ) -> list[asyncpg.Record]:
        query, arguments = page_query(after, through, limit, topics, columns)
        with explained():
            async with lent(self.pool, COMMAND_TIMEOUT_S) as connection:
                return await connection.fetch(query, *arguments)

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """See `commands.ports.EventLog.read_stream`.

        Raises:
            LogError: events of the stream are archived; by position they can be read.
        """
        rows = await self.read_stream_rows(stream, after_version, limit=limit)
        if limit > 0 and (not rows or rows[-1].version - after_version != len(rows)):
            await self._refuse_archived(stream, after_version)
        return [row.recorded() for row in rows]

    async def _refuse_archived(self, stream: str, after_version: int) -> None:
        """A market stream is not searched for in archives, which are in order of position."""
        with explained():
            version = await self.pool.fetchval(
                "SELECT version FROM archived_streams WHERE stream = $1", stream
            )
        if version is not None and version > after_version:
            raise LogError(
                f"stream {stream!r} was to be read after version {after_version}, and its events up to "
                f"version {version} are archived: read the log by position, or bring them back with "
                "`daybook events restore`"
            )

    async def head(self) -> int:
        """See `commands.ports.EventLog.head`."""
        position, _ = await self._head()
        return position

    async def _head(self) -> tuple[int, bytes]:
        with explained():
            async with lent(self.pool, COMMAND_TIMEOUT_S) as connection:
                row = await connection.fetchrow("SELECT position, hash FROM log_head")
        if row is None:
            raise LogCorrupt(1, "table log_head is empty")
        return row["position"], row["hash"]

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """See `commands.ports.EventLog.follow`; waits while the database is away."""
        return follow(self, self.bell, after, topics, limit)

    async def ring_for_ever(self, ring: Callable[[], object]) -> None:
        """Call `ring` whenever the log may have grown, until cancelled; for those who read by themselves."""
        while True:
            heard = self.bell.listen()
            ring()
            await wait(heard, POLL_S)

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> tuple[int, bytes]:
        """Walk the chain from the first event to the head as it is now.

        Args:
            progress: told the verified position and the head, after each page.

        Returns:
            How many events verified, and the last hash.

        Raises:
            LogCorrupt: naming the first position that is missing or altered.
            LogUnavailable: the database does not answer.
        """
        head, head_hash = await self._head()
        walk = ChainWalk()
        while rows := await self.read_rows(walk.position, VERIFY_PAGE, through=head):
            for row in rows:
                walk.step(row)
            if progress is not None:
                progress(walk.position, head)
        walk.finish(head, head_hash)
        return walk.position, walk.hash
