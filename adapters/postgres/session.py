"""The writer's conversation with PostgreSQL: insert a planned batch, or survey the log and then insert.

The append is one statement. It compares and moves the head's row, whose lock is the fence between processes:
a second writer waits there for the first to commit, finds another head, and writes nothing. The head cannot
have moved between the statement's snapshot and that comparison, so the versions of unseen streams read in the
same statement are those of this very head. A lease is locked likewise: taking it waits, or is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self
from uuid import UUID

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from adapters.postgres.archive_shelf import ArchiveShelf
from adapters.postgres.batch import Known, Plan, Request, plan
from adapters.postgres.connections import connect, explained
from commands.ports import Appended
from domain.errors import LogError

_APPEND: Final = """
WITH fenced AS (
    SELECT FROM leases l JOIN unnest($5::text[], $6::bigint[]) AS f(name, epoch) USING (name, epoch)
    FOR SHARE OF l
), moved AS (
    UPDATE log_head SET position = $3, hash = $4
    WHERE single AND position = $1 AND hash = $2
        AND (SELECT count(*) FROM fenced) = cardinality($5::text[])
        AND NOT EXISTS (
            SELECT FROM unnest($7::text[], $8::bigint[]) AS u(name, version)
            WHERE stream_version(u.name) <> u.version
        )
    RETURNING position
), remembered AS (
    INSERT INTO appends SELECT a.* FROM moved, unnest($9::appends[]) AS a
), written AS (
    INSERT INTO events (position, stream, version, type, schema_version, recorded_at, event_id, causation_id,
        correlation_id, actor, slot, data, hash, category)
    SELECT e.*, CASE WHEN starts_with(e.type, 'market.') THEN 'market' ELSE 'domain' END
    FROM moved, unnest($10::new_event[]) AS e
)
SELECT true FROM moved, pg_notify('daybook_events', position::text)
"""
_APPEND_ONE: Final = """
WITH moved AS (
    UPDATE log_head SET position = $3, hash = $4
    WHERE single AND position = $1 AND hash = $2
    RETURNING position
), remembered AS (
    INSERT INTO appends SELECT $5::uuid, position, position FROM moved
), written AS (
    INSERT INTO events (position, stream, version, type, schema_version, recorded_at, event_id, causation_id,
        correlation_id, actor, slot, data, hash, category)
    SELECT position, $6::text, $7::bigint, $8::text, $9::integer, $10::bigint, $11::uuid, $12::uuid,
        $13::uuid, $14::text, $15::bigint, $16::bytea, $4,
        CASE WHEN starts_with($8::text, 'market.') THEN 'market' ELSE 'domain' END
    FROM moved
)
SELECT true FROM moved, pg_notify('daybook_events', position::text)
"""
"""The same for a lone event of a known stream, without a lease: two thirds of the server's work."""

_SURVEY: Final = "SELECT * FROM survey_log($1, $2, $3)"
_EXTEND: Final = "SELECT position FROM log_head, extend_events(position + $1)"
_TRACKED: Final = "SELECT name, position FROM tracking WHERE name = ANY ($1)"
_TRACK: Final = "SELECT advance_tracking($1, $2)"
_CHANGED: Final = "the log changed under the fence that guards it: look for writers without it"
_EVENT_IDS: Final = "SELECT position, event_id FROM events WHERE position BETWEEN $1 AND $2 ORDER BY position"

EXTEND_AHEAD: Final = 10_000_000
"""Positions for which partitions are made in advance: an hour of the busiest market."""


class LogSession:
    """The writer's own connection."""

    def __init__(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        append: PreparedStatement[asyncpg.Record],
        append_one: PreparedStatement[asyncpg.Record],
    ) -> None:
        self._connection = connection
        self._append = append
        self._append_one = append_one

    @classmethod
    async def open(cls, database_url: str) -> Self:
        """Connect in the writer's role.

        Raises:
            SetupError: the database is not there or not migrated.
            LogUnavailable: no server answers.
        """
        connection = await connect(database_url)
        with explained():
            # Its plan depends on nothing it is given, and planning costs more than executing.
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            return cls(connection, await connection.prepare(_APPEND), await connection.prepare(_APPEND_ONE))

    def terminate(self) -> None:
        """Drop the connection at once; the server rolls back what was open."""
        self._connection.terminate()

    async def extend(self) -> int:
        """Make partitions long before they are needed; returns the head they were counted from."""
        return int(await self._connection.fetchval(_EXTEND, EXTEND_AHEAD))

    async def insert(self, made: Plan) -> bool:
        """Append a planned batch in one round trip; false, with nothing written, when the log is not so.

        Raises:
            asyncpg.PostgresError, OSError: whatever the server or the connection says.
        """
        try:
            if len(made.rows) == 1 and not made.unseen and not made.fences:
                return bool(await self._append_one.fetchval(*_lone_arguments(made)))
            return bool(await self._append.fetchval(*_arguments(made)))
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "appends_pkey" and not self._connection.is_in_transaction():
                return False
            raise

    async def write_surveyed(self, batch: Sequence[Request]) -> tuple[Known, Plan]:
        """Survey, decide and insert while holding the fence: what is decided here is certain."""
        async with self._connection.transaction():
            known = await self._survey(batch)
            made = plan(batch, known)
            if made.rows and not await self.insert(made):
                raise LogError(_CHANGED)
            if made.tracked and not await self._track(made):
                raise LogError(_CHANGED)
            return known, made

    async def _survey(self, batch: Sequence[Request]) -> Known:
        streams = list({append.stream for request in batch for append in request.appends})
        leases = list({request.fence.lease for request in batch if request.fence is not None})
        ids = [request.append_id for request in batch]
        found = await self._connection.fetchrow(_SURVEY, streams, ids, leases)
        if found is None:
            raise LogError("the survey of the log gave no row: run `daybook migrate`")
        return Known(
            found["head"],
            found["head_hash"],
            dict(zip(streams, found["versions"] or (), strict=True)),
            dict(zip(leases, found["epochs"] or (), strict=True)),
            await self._appended(found),
            await self._tracked([request.track.name for request in batch if request.track is not None]),
        )

    async def _tracked(self, followers: list[str]) -> dict[str, int]:
        """Where the followers stand that the batch moves; most batches move none."""
        rows = await self._connection.fetch(_TRACKED, followers) if followers else []
        return {row["name"]: row["position"] for row in rows}

    async def _track(self, made: Plan) -> bool:
        """Move the followers, in the transaction of the events; false when one is further already."""
        moved = await self._connection.fetchval(_TRACK, list(made.tracked), list(made.tracked.values()))
        return bool(moved)

    async def _appended(self, found: asyncpg.Record) -> dict[UUID, Appended]:
        """The first results of append ids that are in the log already."""
        results: dict[UUID, Appended] = {}
        for append_id, first, last in zip(
            found["known"] or (), found["firsts"] or (), found["lasts"] or (), strict=True
        ):
            results[append_id] = Appended(first, last, await self._event_ids(first, last))
        return results

    async def _event_ids(self, first: int, last: int) -> tuple[UUID, ...]:
        """Of a range, also where it was archived since."""
        rows = await self._connection.fetch(_EVENT_IDS, first, last)
        found: dict[int, UUID] = {row["position"]: row["event_id"] for row in rows}
        if len(found) <= last - first:
            async for page in ArchiveShelf(self._connection).rows(first, last):
                found.update((row.position, row.event_id) for row in page)
        return tuple(found[position] for position in sorted(found))


def _arguments(made: Plan) -> tuple[Any, ...]:
    """The parameters of the append statement; a row is a composite as it stands."""
    appends = [
        (request.append_id, result.first_position, result.last_position)
        for request, result in made.results
        if not result.repeated
    ]
    return (
        *made.before, *made.head,
        list(made.fences), list(made.fences.values()), list(made.unseen), list(made.unseen.values()),
        appends, made.rows,
    )  # fmt: skip


def _lone_arguments(made: Plan) -> tuple[Any, ...]:
    """The parameters of the statement for a lone event; its position and hash are the head's."""
    (append_id,) = (request.append_id for request, result in made.results if not result.repeated)
    return (*made.before, *made.head, append_id, *made.rows[0][1:12])
