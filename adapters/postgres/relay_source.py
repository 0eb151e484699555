"""What the relay needs of the log: to be the only one, rows by position, and a place for its checkpoints."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

import asyncpg
import structlog

from adapters.postgres.archive_shelf import ArchiveShelf, is_whole
from adapters.postgres.connections import connect, explained, opening
from adapters.postgres.doorbell import Doorbell, wait
from adapters.postgres.ringing import CHANNEL
from adapters.postgres.rows import COLUMNS, StoredEvent
from domain.errors import SetupError

CLAIM_PAUSE_S: Final = 1.0
"""How soon a waiting relay takes over after the active one is gone."""

SILENT_S: Final = 30.0
"""An active relay asks the log every second, and after every page that it delivers. One that asked nothing
for so long is frozen, or its host is lost. Should it only be slow: what it publishes late is refused."""

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
# A single key of 64 bits stands in pg_locks in two halves. A session that is stuck while it sends a page to a
# frozen relay shows no change of state either, and no timeout of the server's own would end it.
_CUT_OFF: Final = """
SELECT pg_terminate_backend(holder.pid)
FROM pg_locks held JOIN pg_stat_activity holder USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (held.classid::bigint << 32) | held.objid::bigint = hashtext('daybook.relay')
    AND clock_timestamp() - holder.state_change > make_interval(secs => $1)
"""

_log = structlog.get_logger(__name__)


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
        """Wait until no other relay is active; there is no end to standing by but being stopped.

        An active one that has been silent for `SILENT_S` is cut off.
        """
        while not await self._claimed():
            await self._cut_off_silent()
            await asyncio.sleep(CLAIM_PAUSE_S)

    async def _claimed(self) -> bool:
        with explained():
            return bool(
                await self._connection.fetchval("SELECT pg_try_advisory_lock(hashtext('daybook.relay'))")
            )

    async def _cut_off_silent(self) -> None:
        """End the active relay's session, and with it its claim, if nothing was heard of it for too long.

        A login may end its own sessions, the writer's role may not: so the role is laid down for this.

        Raises:
            SetupError: that relay logs in as somebody else.
        """
        try:
            with explained():
                async with self._connection.transaction():
                    await self._connection.execute("SET LOCAL ROLE NONE")
                    if await self._connection.fetchval(_CUT_OFF, SILENT_S):
                        _log.warning("a silent relay was cut off", silent_s=SILENT_S)
        except asyncpg.InsufficientPrivilegeError as refused:
            raise SetupError(
                f"the active relay has been silent for {SILENT_S:g} s and could not be cut off, for it logs "
                "in as another role: end its process, and let all relays of a log log in as one role"
            ) from refused

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
