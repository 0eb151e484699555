"""Bulk loading: COPY under the fence of the appends, for imports and batches larger than decisions make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from adapters.postgres.batch import Known, Plan, Request, plan
from adapters.postgres.connections import connect, explained
from adapters.postgres.rows import COLUMNS, EncodedAppend, StoredEvent
from adapters.postgres.session import LogSession
from commands.ports import Appended
from domain.errors import LogError
from domain.events import ANY_VERSION

T = TypeVar("T")

MAX_BULK_EVENTS: Final = 200_000
"""Of one bulk append, which waits in memory and holds up every other append: some seconds."""

PART: Final = 2_500
"""Events planned while as many are copied."""

COPY_TIMEOUT_S: Final = 120.0
"""For the rows of one COPY: they take seconds on the slowest disk we know."""

IDLE_S: Final = 60
"""Between two COPYs of one load the next rows are read and verified, which takes a second."""

_TARGET: Final = [*COLUMNS.split(", "), "category"]
_HEAD: Final = "SELECT position, hash FROM log_head WHERE single FOR UPDATE"
_MOVE: Final = "UPDATE log_head SET position = $1, hash = $2 WHERE single"
_APPENDED: Final = "INSERT INTO appends (append_id, first_position, last_position) VALUES ($1, $2, $3)"
_RING: Final = "SELECT pg_notify('daybook_events', $1)"
_EXTEND: Final = "SELECT extend_events($1)"
_VERSIONS: Final = "SELECT name, stream_version(name) AS version FROM unnest($1::text[]) AS s(name)"


async def copy_events(
    connection: asyncpg.Connection[asyncpg.Record], table: str, rows: Sequence[StoredEvent]
) -> None:
    """COPY rows into the log's table or one of its leaves; the server works while the rest is encoded."""
    records = ((*row, "market" if row.topic.startswith("market.") else "domain") for row in rows)
    await connection.copy_records_to_table(table, records=records, columns=_TARGET, timeout=COPY_TIMEOUT_S)


async def prefetched(batches: Iterator[T]) -> AsyncGenerator[T, None]:
    """Each batch, while a thread makes the next one and the server copies the one before."""
    coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while (batch := await coming) is not None:
            coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            yield batch
    finally:
        await asyncio.gather(coming, return_exceptions=True)


class BulkSession(LogSession):
    """A writer's session that inserts by COPY; every batch is surveyed, for COPY compares nothing."""

    async def write(self, request: Request) -> Appended:
        """Survey, decide and copy, part by part, while holding the fence.

        Raises:
            ConcurrencyError: a stream is not at the expected version; nothing was written.
            asyncpg.PostgresError, OSError: whatever the server or the connection says.
        """
        async with self._connection.transaction():
            known = await self._survey([request])
            if (earlier := known.appended.get(request.append_id)) is not None:
                return replace(earlier, repeated=True)
            first, ids = known.position + 1, []
            head = (known.position, known.hash)
            async with aclosing(prefetched(_planned(request, known))) as parts:
                async for made in parts:
                    await copy_events(self._connection, "events", made.rows)
                    ids += [row.event_id for row in made.rows]
                    head = made.head
            await self._connection.execute(_APPENDED, request.append_id, first, head[0])
            await _move(self._connection, *head)
            return Appended(first, head[0], tuple(ids))


def _planned(request: Request, known: Known) -> Iterator[Plan]:
    """The request in parts, each following on the one before."""
    for part in _parts(request.appends):
        made = plan([replace(request, appends=part)], known)
        for _, error in made.refused:
            raise error
        yield made
        known.versions.update(made.versions)
        known = Known(*made.head, known.versions)


def _parts(appends: Sequence[EncodedAppend]) -> Iterator[list[EncodedAppend]]:
    """Appends of about PART events together; of a long one's pieces only the first expects a version."""
    part: list[EncodedAppend] = []
    room = PART
    for append in appends:
        for begin in range(0, len(append.events), PART):
            events = append.events[begin : begin + PART]
            expected = ANY_VERSION if begin else append.expected_version
            part.append(append._replace(events=events, expected_version=expected))
            room -= len(events)
            if room <= 0:
                yield part
                part, room = [], PART
    if part:
        yield part


async def _move(connection: asyncpg.Connection[asyncpg.Record], position: int, hash_: bytes) -> None:
    """The head, and wake the followers."""
    await connection.execute(_MOVE, position, hash_)
    await connection.execute(_RING, str(position))


class BulkWriter:
    """Appends large batches, one at a time, on a connection of its own; opened when first needed."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._turn = asyncio.Lock()
        self._session: BulkSession | None = None

    async def append(self, appends: list[EncodedAppend], append_id: UUID) -> Appended:
        """All of it in one transaction.

        Raises:
            ConcurrencyError: a stream is not at the expected version; nothing was written.
            LogUnavailable: no answer; retry with the same append id.
        """
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        async with self._turn:
            try:
                with explained():
                    return await self._write(Request(appends, append_id, None, answer, deadline=0.0))
            except BaseException:
                self.close()  # whatever it was, a new connection is sure of nothing being half-done
                raise

    async def _write(self, request: Request) -> Appended:
        if self._session is None:
            self._session = await BulkSession.open(self._url)
            await self._session.extend()
        return await self._session.write(request)

    def close(self) -> None:
        """Drop the connection; the next append makes another."""
        session, self._session = self._session, None
        if session is not None:
            session.terminate()


class BulkLoad:
    """Rows that are chained already, going into the log as they are; made by `bulk_load`.

    Attributes:
        position, hash: of the head, with what was copied so far.
    """

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], position: int, hash_: bytes) -> None:
        self._connection = connection
        self.position = position
        self.hash = hash_

    async def copy(self, rows: Sequence[StoredEvent]) -> None:
        """Some more rows, which the caller has verified to follow on the head.

        Raises:
            LogError: a stream does not go on where it stands in the log.
        """
        await self._check_versions(rows)
        await copy_events(self._connection, "events", rows)
        self.position, self.hash = rows[-1].position, rows[-1].hash

    async def _check_versions(self, rows: Sequence[StoredEvent]) -> None:
        streams = list({row.stream for row in rows})
        found = await self._connection.fetch(_VERSIONS, streams)
        versions = {row["name"]: row["version"] for row in found}
        for row in rows:
            versions[row.stream] += 1
            if row.version != versions[row.stream]:
                raise LogError(
                    f"position {row.position} holds version {row.version} of stream {row.stream!r}, which "
                    f"goes on with version {versions[row.stream]}: the file was put together by hand"
                )

    async def finish(self) -> None:
        """Move the head and wake the followers."""
        await _move(self._connection, self.position, self.hash)


@asynccontextmanager
async def bulk_load(database_url: str, through: int) -> AsyncIterator[BulkLoad]:
    """One transaction that holds the head: everything copied in it commits at its end, or nothing does.

    Args:
        database_url: the log's database.
        through: the last position that will be copied.

    Raises:
        SetupError, LogUnavailable: as opening the log; LogUnavailable too when the fence is not free in time.
    """
    connection = await connect(database_url)
    try:
        with explained():
            await connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'")
            await connection.execute(_EXTEND, through, timeout=COPY_TIMEOUT_S)
            async with connection.transaction():
                head = await connection.fetchrow(_HEAD)
                if head is None:
                    raise LogError("table log_head is empty: restore the database from a backup")
                load = BulkLoad(connection, head["position"], head["hash"])
                yield load
                await load.finish()
    finally:
        connection.terminate()
