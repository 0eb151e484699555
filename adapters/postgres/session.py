"""The writer's conversation with PostgreSQL: insert a planned batch, or lock the head, decide and insert.

The append is one statement. It compares and moves the head's row, whose lock is the fence between processes:
a second writer waits there for the first to commit, finds another head, and writes nothing. The head cannot
have moved between the statement's snapshot and that comparison, so the versions of unseen streams read in the
same statement are those of this very head. A lease is locked likewise: taking it waits, or is seen.

Many events are copied, while the next ones are chained: a fifth less work for the server, and both at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple, Self

import asyncpg
from asyncpg.pgproto.pgproto import UUID as PgUUID  # noqa: N811 - it is one of uuid's UUIDs, kept as bytes
from asyncpg.prepared_stmt import PreparedStatement

from adapters.postgres.batch import Known, Plan, Request, plan
from adapters.postgres.chaining import Chain, Link, pieces
from adapters.postgres.connections import connect, opening
from adapters.postgres.wire import COPY_BEGIN, COPY_COLUMNS, COPY_END, RowArrays, copied, speak
from commands.ports import Appended
from domain.errors import LogError

COPY_FROM: Final = 400
"""Events from which a batch is copied: below it the round trips around a COPY cost more than it saves."""

COPY_PIECE: Final = 250
COPY_PIECE_MOST: Final = 1_000
"""Events chained while the server inserts as many. It inserts nothing before it has a thousand, or all: a
COPY of its own for each piece lets it begin."""

COPY_PIECE_BYTES: Final = 8_000_000
"""About what a piece may hold, where events are large."""

COPY_MESSAGE_BYTES: Final = 1_000_000
"""Of one message of a COPY: the server reads each whole."""

COPY_TIMEOUT_S: Final = 120.0
"""For the rows of one COPY: they take seconds on the slowest disk we know."""

_COLUMNS: Final = (
    "position, version, event_id, hash, data, type, schema_version, stream, recorded_at, causation_id, "
    "correlation_id, actor, slot, category"
)
_REMEMBERED: Final = "INSERT INTO appends SELECT a.* FROM moved, unnest($5::appends[]) AS a"
_WRITTEN: Final = f"""
    INSERT INTO events ({_COLUMNS})
    SELECT e.*, CASE WHEN starts_with(e.type, 'market.') THEN 'market' ELSE 'domain' END
    FROM moved, unnest($6::new_event[]) AS e
"""  # noqa: S608 - constants
_MOVED: Final = """
    UPDATE log_head SET position = $3, hash = $4 WHERE single
    RETURNING CASE WHEN old.position = $1 AND old.hash = $2 THEN new.position
        ELSE refuse_append(old.position) END AS position
"""
"""The head is compared once it is ours: a condition would be held against it as it was before the wait."""

_APPEND: Final = f"""
WITH moved AS ({_MOVED}), remembered AS ({_REMEMBERED}), written AS ({_WRITTEN})
SELECT true FROM moved
"""  # noqa: S608 - constants
_APPEND_COMPARED: Final = f"""
WITH fenced AS (
    SELECT FROM leases l JOIN unnest($7::text[], $8::bigint[]) AS f(name, epoch) USING (name, epoch)
    FOR SHARE OF l
), moved AS (
    UPDATE log_head SET position = $3, hash = $4
    WHERE single AND position = $1 AND hash = $2
        AND (SELECT count(*) FROM fenced) = cardinality($7::text[])
        AND NOT EXISTS (
            SELECT FROM unnest($9::text[], $10::bigint[]) AS u(name, version)
            WHERE stream_version(u.name) <> u.version
        )
    RETURNING position
), remembered AS ({_REMEMBERED}), written AS ({_WRITTEN})
SELECT true FROM moved
"""  # noqa: S608 - constants
"""The same, when leases or versions must be compared that were not looked up."""

_APPEND_ONE: Final = f"""
WITH moved AS ({_MOVED}), remembered AS (
    INSERT INTO appends SELECT $5::uuid, position, position FROM moved
), written AS (
    INSERT INTO events ({_COLUMNS})
    SELECT position, $6::bigint, $7::uuid, $4, $8::bytea, $9::text, $10::integer, $11::text, $12::bigint,
        $13::uuid, $14::uuid, $15::text, $16::bigint,
        CASE WHEN starts_with($9::text, 'market.') THEN 'market' ELSE 'domain' END
    FROM moved
)
SELECT true FROM moved
"""  # noqa: S608 - constants
"""The same for a lone event of a known stream: two thirds of the server's work."""

_HEAD: Final = "SELECT position, hash FROM log_head WHERE single FOR UPDATE"
_HOLD: Final = "SELECT FROM leases WHERE name = ANY ($1) FOR SHARE"
"""Who takes one waits for the commit, then: a COPY cannot compare it."""

_SURVEY: Final = "SELECT * FROM survey_log($1, $2, $3)"
FREE_HEAD: Final = "SELECT free_log_head()"
_EXTEND: Final = "SELECT position FROM log_head, extend_events(position + $1)"
_TRACKED: Final = "SELECT name, position FROM tracking WHERE name = ANY ($1)"
_TRACK: Final = "SELECT advance_tracking($1, $2)"
_CHANGED: Final = "the log changed under the fence that guards it: look for writers without it"
_REMEMBER_AND_MOVE: Final = """
WITH remembered AS (INSERT INTO appends SELECT * FROM unnest($1::appends[]))
UPDATE log_head SET position = $2, hash = $3 WHERE single
"""

EXTEND_AHEAD: Final = 10_000_000
"""Positions for which partitions are made in advance: an hour of the busiest market."""


class _Statements(NamedTuple):
    append: PreparedStatement[asyncpg.Record]
    compared: PreparedStatement[asyncpg.Record]
    one: PreparedStatement[asyncpg.Record]


class LogSession:
    """A connection of the writer's own."""

    def __init__(
        self, connection: asyncpg.Connection[asyncpg.Record], arrays: RowArrays, statements: _Statements
    ) -> None:
        self._connection = connection
        self._arrays = arrays
        self._statements = statements

    @classmethod
    async def open(cls, database_url: str) -> Self:
        """Connect in the writer's role, and free the head: the wait before this one may have been in vain.

        Raises:
            SetupError: the database is not there or not migrated.
            LogUnavailable: no server answers.
        """
        connection = await connect(database_url)
        with opening(connection):
            arrays = await speak(connection)
            # Its plan depends on nothing it is given, and planning costs more than executing.
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute(FREE_HEAD)
            statements = [
                await connection.prepare(query) for query in (_APPEND, _APPEND_COMPARED, _APPEND_ONE)
            ]
        return cls(connection, arrays, _Statements(*statements))

    def terminate(self) -> None:
        """Drop the connection at once; the server rolls back what was open."""
        self._connection.terminate()

    async def extend(self) -> int:
        """Make partitions long before they are needed; returns the head they were counted from."""
        return int(await self._connection.fetchval(_EXTEND, EXTEND_AHEAD))

    async def insert(self, made: Plan, links: Sequence[Link], hash_: bytes) -> bool:
        """Append a planned and chained batch in one round trip; false, with nothing written, when it may not.

        Args:
            made: the plan.
            links: all its events.
            hash_: of the last event.

        Raises:
            asyncpg.PostgresError, OSError: whatever the server or the connection says.
        """
        head = (*made.before, made.position, hash_)
        try:
            if made.fences or made.unseen:
                compared = (made.fences, made.fences.values(), made.unseen, made.unseen.values())
                arrays = self._arrays.appends(made.accepted), self._arrays.events(links)
                return bool(await self._statements.compared.fetchval(*head, *arrays, *map(list, compared)))
            if made.count == 1:
                lone = _lone_arguments(made, links)
                return bool(await self._statements.one.fetchval(*head, *lone))
            arrays = self._arrays.appends(made.accepted), self._arrays.events(links)
            return bool(await self._statements.append.fetchval(*head, *arrays))
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "appends_pkey" and not self._connection.is_in_transaction():
                return False
            raise
        except asyncpg.SerializationError:
            if self._connection.is_in_transaction():
                raise
            return False

    async def write(self, batch: Sequence[Request], believed: Known | None) -> tuple[Known, Plan, Chain]:
        """Decide and write while holding the fence: what is decided here is certain.

        Args:
            batch: who waits.
            believed: what may be known of the log; a survey tells what it does not, or no longer.

        Returns:
            What was known of the log before, `believed` itself where that was enough; the plan; its chain.
        """
        if believed is not None:
            try:
                return await self._write(batch, believed)
            except asyncpg.UniqueViolationError as error:
                if error.constraint_name != "appends_pkey":  # one of them was written long ago
                    raise
        return await self._write(batch, None)

    async def _write(self, batch: Sequence[Request], believed: Known | None) -> tuple[Known, Plan, Chain]:
        async with self._connection.transaction():
            known, made = await self._decide(batch, believed)
            chain = Chain(made)
            if made.count >= COPY_FROM:
                await self._copy(made, chain)
            elif made.count and not await self.insert(made, chain.links(made.placed), chain.hash):
                raise LogError(_CHANGED)
            if made.tracked and not await self._track(made):
                raise LogError(_CHANGED)
            return known, made, chain

    async def _decide(self, batch: Sequence[Request], believed: Known | None) -> tuple[Known, Plan]:
        """What the batch comes to, with the head locked."""
        if believed is not None:
            head = await self._connection.fetchrow(_HEAD)
            if head is not None and tuple(head) == (believed.position, believed.hash):
                made = plan(batch, believed)
                if not (made.unsure or made.unseen or made.fences or made.refused):
                    return believed, made
        known = await self._survey(batch)
        return known, plan(batch, known)

    async def _copy(self, made: Plan, chain: Chain) -> None:
        """Write a decided batch by COPY, which compares nothing: a piece, while the next is chained."""
        copying: asyncio.Task[None] | None = None
        try:
            for piece in pieces(made.placed, _piece_size(made)):
                rows = b"".join((COPY_BEGIN, copied(chain.links(piece)), COPY_END))
                if copying is not None:
                    await copying
                left = asyncio.Event()
                copying = asyncio.create_task(self._copy_rows(rows, left))
                await left.wait()
            if copying is not None:
                await copying
        finally:
            if copying is not None:  # the connection is needed to roll back
                copying.cancel()
                await asyncio.gather(copying, return_exceptions=True)
        await self._connection.execute(
            _REMEMBER_AND_MOVE, self._arrays.appends(made.accepted), made.position, chain.hash
        )

    async def _copy_rows(self, rows: bytes, left: asyncio.Event) -> None:
        """A COPY; says when its rows have left: the server inserts them when it has all, or a thousand."""

        async def source() -> AsyncIterator[bytes]:
            for begin in range(0, len(rows), COPY_MESSAGE_BYTES):
                yield rows[begin : begin + COPY_MESSAGE_BYTES]
            left.set()

        try:
            await self._connection.copy_to_table(
                "events", source=source(), columns=COPY_COLUMNS, format="binary", timeout=COPY_TIMEOUT_S
            )
        finally:
            left.set()

    async def _survey(self, batch: Sequence[Request]) -> Known:
        """What the log says of all that the batch names, and will say until the transaction ends."""
        streams = list({append.stream for request in batch for append in request.appends})
        leases = list({request.fence.lease for request in batch if request.fence is not None})
        ids = [PgUUID(request.append_id) for request in batch]
        if leases:
            await self._connection.fetch(_HOLD, leases)
        found = await self._connection.fetchrow(_SURVEY, streams, ids, leases)
        if found is None:
            raise LogError("the survey of the log gave no row: run `daybook migrate`")
        return Known(
            found["head"],
            found["head_hash"],
            dict(zip(streams, found["versions"] or (), strict=True)),
            dict(zip(leases, found["epochs"] or (), strict=True)),
            _appended(found),
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


def _appended(found: asyncpg.Record) -> dict[bytes, Appended]:
    """The first results of append ids that are in the log already."""
    known = zip(found["known"] or (), found["firsts"] or (), found["lasts"] or (), strict=True)
    return {append_id.bytes: Appended(first, last) for append_id, first, last in known}


def _piece_size(made: Plan) -> int:
    """Four pieces, if that is not too many or too few events: each is a round trip, and waits in memory."""
    size = sum(request.size for request, _, _ in made.accepted)
    fitting = COPY_PIECE_BYTES * made.count // max(size, 1)
    return max(1, min(max(COPY_PIECE, made.count // 4), COPY_PIECE_MOST, fitting))


def _lone_arguments(made: Plan, links: Sequence[Link]) -> tuple[Any, ...]:
    """The parameters of the statement for a lone event; its position and hash are the head's."""
    ((shared, _, version, id_, _, topic, class_version, data),) = links
    stream, _, _, cause, recorded_at, slot = shared[0]
    return (
        PgUUID(made.accepted[0][0].append_id), version, PgUUID(id_), data, topic, class_version, stream,
        recorded_at, cause.causation_id, cause.correlation_id, cause.actor, slot,
    )  # fmt: skip
