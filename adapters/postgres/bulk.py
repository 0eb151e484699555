"""Bulk loading: COPY under the fence of the appends, of rows that are chained already: imports, restores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import asyncpg

from adapters.postgres.connections import connect, explained
from adapters.postgres.ringing import CHANNEL
from adapters.postgres.rows import COLUMNS, StoredEvent
from adapters.postgres.session import COPY_TIMEOUT_S, FREE_HEAD
from domain.errors import LogError

T = TypeVar("T")

IDLE_S: Final = 60
"""Between two COPYs of one load the next rows are read and verified, which takes a second."""

_TARGET: Final = [*COLUMNS.split(", "), "category"]
_HEAD: Final = "SELECT position, hash FROM log_head WHERE single FOR UPDATE"
_MOVE: Final = "UPDATE log_head SET position = $1, hash = $2 WHERE single"
_RING: Final = f"SELECT pg_notify('{CHANNEL}', $1)"
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


async def _move(connection: asyncpg.Connection[asyncpg.Record], position: int, hash_: bytes) -> None:
    """The head, and wake the followers."""
    await connection.execute(_MOVE, position, hash_)
    await connection.execute(_RING, str(position))


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
            await connection.execute(FREE_HEAD)
            async with connection.transaction():
                head = await connection.fetchrow(_HEAD)
                if head is None:
                    raise LogError("table log_head is empty: restore the database from a backup")
                load = BulkLoad(connection, head["position"], head["hash"])
                yield load
                await load.finish()
    finally:
        connection.terminate()
