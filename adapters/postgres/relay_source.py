"""What the relay needs of the log: to be the only one, rows by position, and a place for its checkpoints."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

import asyncpg

from adapters.postgres.archive_shelf import ArchiveShelf, is_whole
from adapters.postgres.connections import connect, explained, opening
from adapters.postgres.doorbell import Doorbell, wait
from adapters.postgres.ringing import CHANNEL
from adapters.postgres.rows import COLUMNS, StoredEvent

CLAIM_PAUSE_S: Final = 1.0
"""How soon a waiting relay takes over after the active one is gone."""

_ROWS: Final = f"SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 - constants
_OPENED: Final = "SELECT data FROM events WHERE stream = $1 AND version = 1"
_SAVE: Final = """
INSERT INTO relay_checkpoints (stream, created, position, sequence)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (stream) DO UPDATE
SET created = excluded.created, position = excluded.position, sequence = excluded.sequence
"""
_LAG: Final = """
SELECT head.position - CASE WHEN count(c.*) < $1 THEN 0 ELSE min(c.position) END
FROM log_head head LEFT JOIN relay_checkpoints c ON true GROUP BY head.position
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a JetStream stream was known to hold the log.

    Attributes:
        stream: its name.
        created: when that stream was created, as JetStream says it: another one is another stream.
        position: every event of the log up to here that belongs to it was acknowledged.
        sequence: its last sequence then.
    """

    stream: str
    created: str
    position: int
    sequence: int


class RelaySource:
    """One connection: while it lives, it is the relay's claim to be the only one."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self._shelf = ArchiveShelf(connection)
        self._bell = Doorbell()

    @classmethod
    async def open(cls, database_url: str) -> Self:
        """Connect and listen.

        Raises:
            SetupError, LogUnavailable: as the log.
        """
        connection = await connect(database_url)
        source = cls(connection)
        with opening(connection):
            await connection.add_listener(CHANNEL, lambda *_notice: source._bell.ring())
        return source

    def close(self) -> None:
        """Give up the claim."""
        self._connection.terminate()

    async def claim(self) -> None:
        """Wait until no other relay is active; there is no end to standing by but being stopped."""
        while not await self._claimed():  # noqa: ASYNC110 - the lock is in the database, nobody tells
            await asyncio.sleep(CLAIM_PAUSE_S)

    async def _claimed(self) -> bool:
        with explained():
            return bool(
                await self._connection.fetchval("SELECT pg_try_advisory_lock(hashtext('daybook.relay'))")
            )

    def listen(self) -> asyncio.Event:
        """The next append; take it before reading."""
        return self._bell.listen()

    async def wait(self, ring: asyncio.Event, at_most_s: float) -> None:
        """Until something is appended, or for so long."""
        await wait(ring, at_most_s)

    async def read(self, after: int, limit: int) -> list[StoredEvent]:
        """Rows after a position, in order; what was archived is read from its file.

        Raises:
            LogError, LogCorrupt: an archive's file is not where it was put, or damaged.
        """
        with explained():
            rows = [StoredEvent._make(row) for row in await self._connection.fetch(_ROWS, after, limit)]
        if is_whole(rows, after, limit, None, None):
            return rows
        return await self._shelf.merged(rows, after, limit, None, None)

    async def opened_by(self, stream: str) -> bytes | None:
        """The bytes of a stream's first event."""
        with explained():
            data: bytes | None = await self._connection.fetchval(_OPENED, stream)
        return data

    async def event_id_at(self, position: int) -> UUID | None:
        """The id of the event at a position; none beyond the head."""
        rows = await self.read(position - 1, 1)
        return rows[0].event_id if rows and rows[0].position == position else None

    async def checkpoints(self) -> dict[str, Checkpoint]:
        """By the stream's name."""
        with explained():
            rows = await self._connection.fetch(
                "SELECT stream, created, position, sequence FROM relay_checkpoints"
            )
        return {row["stream"]: Checkpoint(**dict(row)) for row in rows}

    async def save(self, checkpoints: list[Checkpoint]) -> None:
        """Remember where each stream stands."""
        with explained():
            await self._connection.execute(
                _SAVE,
                [checkpoint.stream for checkpoint in checkpoints],
                [checkpoint.created for checkpoint in checkpoints],
                [checkpoint.position for checkpoint in checkpoints],
                [checkpoint.sequence for checkpoint in checkpoints],
            )

    async def lag(self, streams: int) -> int:
        """Positions between the log's head and the least that any of so many streams is known to hold."""
        with explained():
            return int(await self._connection.fetchval(_LAG, streams))
