"""Bulk loading: COPY under the fence of the appends, for imports and batches larger than decisions make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from adapters.postgres.batch import Plan, Request
from adapters.postgres.connections import connect, explained
from adapters.postgres.rows import COLUMNS, EncodedAppend, StoredEvent
from adapters.postgres.session import LogSession
from commands.ports import Appended
from domain.errors import LogError

MAX_BULK_EVENTS: Final = 200_000
"""Of one bulk append, which waits in memory and holds up every other append: some seconds."""

COPY_TIMEOUT_S: Final = 120.0
"""For the rows of one COPY: they take seconds on the slowest disk we know."""

IDLE_S: Final = 60
"""Between two COPYs of one load the next rows are read and verified, which takes a second."""

_TARGET: Final = [*COLUMNS.split(", "), "category"]
_HEAD: Final = "SELECT position, hash FROM log_head WHERE single FOR UPDATE"
_MOVE: Final = "UPDATE log_head SET position = $1, hash = $2 WHERE single"
_RING: Final = "SELECT pg_notify('daybook_events', $1)"
_EXTEND: Final = "SELECT extend_events($1)"
_VERSIONS: Final = "SELECT name, stream_version(name) AS version FROM unnest($1::text[]) AS s(name)"


async def copy_events(
    connection: asyncpg.Connection[asyncpg.Record], table: str, rows: Sequence[StoredEvent]
) -> None:
    """COPY rows into the log's table or one of its leaves; the server works while the rest is encoded."""
    records = ((*row, "market" if row.topic.startswith("market.") else "domain") for row in rows)
    await connection.copy_records_to_table(table, records=records, columns=_TARGET, timeout=COPY_TIMEOUT_S)


class BulkSession(LogSession):
    """A writer's session that inserts by COPY; every batch is surveyed, for COPY compares nothing."""

    async def insert(self, made: Plan) -> bool:
        """Under the survey's lock on the head: appends, events, head."""
        appends = [
            (request.append_id, result.first_position, result.last_position)
            for request, result in made.results
            if not result.repeated
        ]
        await self._connection.copy_records_to_table("appends", records=appends)
        await copy_events(self._connection, "events", made.rows)
        await self._connection.execute(_MOVE, *made.head)
        await self._connection.execute(_RING, str(made.head[0]))
        return True


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
        _, made = await self._session.write_surveyed([request])
        for _, error in made.refused:
            raise error
        return made.results[0][1]

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
        await self._connection.execute(_MOVE, self.position, self.hash)
        await self._connection.execute(_RING, str(self.position))


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
