"""The generations of the read models: which answers, which is built, which is old; made, swapped and dropped.

Everything here can be thrown away and folded again from the log, so this store makes its own objects; the
log's tables are Alembic's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import asyncpg
import msgspec

from adapters.postgres import read_sql
from adapters.postgres.read_pool import CALL_S, Connection, ReadPool
from domain.errors import CheckpointMoved, ProjectionError, RebuildUnderWay
from projections.ports import Generation, Projection, State, Table

PREPARE_LOCK: Final = 0x64617962  # "dayb": one process at a time creates schema objects

BOOKKEEPING: Final = """
create schema if not exists daybook_models;
create table if not exists daybook_models.generations (
    name text not null,
    version bigint not null,
    number bigint not null,
    state text not null check (state in ('live', 'building', 'old', 'failed')),
    checkpoint bigint not null default 0,
    paused boolean not null default false,
    tables jsonb not null,
    failure text,
    made_at timestamptz not null default now(),
    swapped_at timestamptz,
    primary key (name, version, number)
);
create unique index if not exists one_live on daybook_models.generations (name) where state = 'live';
create unique index if not exists one_building on daybook_models.generations (name) where state = 'building';
create table if not exists daybook_models.dead_letters (
    id bigint generated always as identity primary key,
    name text not null,
    version bigint not null,
    generation bigint not null,
    position bigint not null,
    topic text not null,
    stream text not null,
    error text not null,
    attempts bigint not null,
    state text not null default 'waiting' check (state in ('waiting', 'retry', 'dropped')),
    reason text,
    set_aside_at timestamptz not null default now(),
    unique (name, version, generation, position)
);
"""
_COLUMNS: Final = "name, version, number, state, checkpoint, paused, tables, failure"
_ALL: Final = f"""
select {_COLUMNS} from daybook_models.generations where $1::text is null or name = $1
order by name, version, number
"""  # noqa: S608 - constants
_LIVE: Final = f"select {_COLUMNS} from daybook_models.generations where name = $1 and state = 'live'"  # noqa: S608 - constants
_UNFINISHED: Final = f"""
select {_COLUMNS} from daybook_models.generations where name = $1 and state in ('building', 'failed')
"""  # noqa: S608 - constants
_MAKE: Final = f"""
insert into daybook_models.generations (name, version, number, state, tables)
select $1, $2, coalesce(max(number), 0) + 1, $3, $4::jsonb
from daybook_models.generations where name = $1 and version = $2
returning {_COLUMNS}
"""  # noqa: S608 - constants
_TO_OLD: Final = """
update daybook_models.generations set state = 'old', paused = false where name = $1 and state = 'live'
"""
_TO_LIVE: Final = """
update daybook_models.generations set state = 'live', paused = $4, swapped_at = now()
where name = $1 and version = $2 and number = $3 and state = 'building' returning 1
"""
_FAIL: Final = """
update daybook_models.generations set state = 'failed', failure = $4
where name = $1 and version = $2 and number = $3 and state = 'building'
"""
_DROP: Final = """
delete from daybook_models.generations
where name = $1 and version = $2 and number = $3 and state <> 'live' returning 1
"""
_DROP_LETTERS: Final = """
delete from daybook_models.dead_letters
where name = $1 and version = $2 and generation = $3 and state <> 'dropped'
"""
_PAUSE: Final = (
    "update daybook_models.generations set paused = $2 where name = $1 and state = 'live' returning 1"
)
_TRY_BUILD: Final = "select pg_try_advisory_lock(hashtext('daybook.rebuild'), hashtext($1))"
_END_BUILD: Final = "select pg_advisory_unlock(hashtext('daybook.rebuild'), hashtext($1))"

VIEW_LOCK_S: Final = 0.5
"""To wait for people who read the views while a generation is swapped in; the rebuild tries again."""


BUILDS: Final = 2
"""Rebuilds of one process at a time: each holds up to three connections, and readers want the others."""


class Generations(ReadPool):
    """Makes, lists, swaps and drops generations."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        super().__init__(pool)
        self._builds = asyncio.Semaphore(BUILDS)

    async def prepare(self, projection: Projection) -> Generation:
        """The generation that answers for this name, maybe of another version; made empty where none is.

        Raises:
            ProjectionError: the tables of this version were made with other columns.
            ReadStoreUnavailable: no answer. So may every other method.
        """
        async with self._connection("prepare", projection.name) as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", PREPARE_LOCK)
            await connection.execute(BOOKKEEPING)
            live = await one(connection, _LIVE, projection.name)
            if live is None:
                live = await _make(connection, projection, State.LIVE)
                await connection.execute(read_sql.create_views(live, None))
        if live.version == projection.version and live.tables != projection.tables:
            raise ProjectionError(
                f"the tables of read model {projection.name!r} version {projection.version} were made with "
                "other columns: raise its VERSION, and it is built anew beside the old one"
            )
        return live

    async def generations(self, name: str | None = None) -> list[Generation]:
        """All generations of one read model or of all, by name, version and number."""
        async with self._connection("list", name or "(all)") as connection:
            try:
                return [_generation(row) for row in await connection.fetch(_ALL, name, timeout=CALL_S)]
            except asyncpg.UndefinedTableError:
                return []  # nothing was ever prepared in this database

    @asynccontextmanager
    async def beside(self, projection: Projection) -> AsyncIterator[Generation]:
        """A generation of this version being built beside the live one, held by this process.

        The lock belongs to the connection, so that a process that dies leaves none behind.

        Raises:
            RebuildUnderWay: another process holds it.
        """
        async with self._builds, self._connection("rebuild", projection.name) as connection:
            if not await connection.fetchval(_TRY_BUILD, projection.name):
                raise RebuildUnderWay(
                    f"read model {projection.name!r} is being rebuilt by another process: wait until "
                    f"`daybook projections status {projection.name}` shows it live"
                )
            try:
                yield await self._building(projection)
            finally:
                if not connection.is_closed():
                    await connection.execute(_END_BUILD, projection.name)

    async def _building(self, projection: Projection) -> Generation:
        """The unfinished generation of a rebuild that crashed, where it fits; else a new one."""
        async with self._connection("rebuild", projection.name) as connection, connection.transaction():
            for row in await connection.fetch(_UNFINISHED, projection.name, timeout=CALL_S):
                left = _generation(row)
                fits = (left.version, left.tables) == (projection.version, projection.tables)
                if fits and left.state is State.BUILDING:
                    return left
                await _drop(connection, left)
            return await _make(connection, projection, State.BUILDING)

    async def swap(self, built: Generation, reach: Callable[[int], Awaitable[None]]) -> None:
        """Let a built generation answer from now on, and the one that did be old, in one transaction.

        Raises:
            CheckpointMoved: the built one is no longer there to be swapped.
            ProjectionError: something that somebody made depends on a view whose columns would change.
        """
        async with self._connection("swap", built.name) as connection, connection.transaction():
            await connection.execute(f"set local lock_timeout = '{VIEW_LOCK_S}s'")
            live = await one(connection, f"{_LIVE} for update", built.name)
            if live is not None:
                await reach(live.checkpoint)
                await connection.execute(_TO_OLD, built.name)
                await connection.execute(_DROP_LETTERS, *ident(live))
            paused = live is not None and live.paused
            if not await connection.fetchval(_TO_LIVE, *ident(built), paused):
                raise CheckpointMoved(f"{built} was dropped while it was built: rebuild it again")
            with _told(f"let {built} answer", f"rebuild {built.name}"):
                await connection.execute(read_sql.create_views(built, live))

    async def fail(self, built: Generation, failure: str) -> None:
        """Keep a generation being built only to be looked at, with the words why."""
        async with self._connection("rebuild", built.name) as connection:
            await connection.execute(_FAIL, *ident(built), failure, timeout=CALL_S)

    async def drop(self, generation: Generation) -> bool:
        """Remove a generation that does not answer, rows and all; false where it is gone or answers.

        Raises:
            ProjectionError: something that somebody made depends on its tables: it is kept.
        """
        async with self._connection("drop", generation.name) as connection, connection.transaction():
            return await _drop(connection, generation)

    async def exceeds(self, generation: Generation, rows: int) -> bool:
        """Whether its tables hold more than so many rows; no more than these are looked at."""
        async with self._connection("count", generation.name) as connection:
            found = await connection.fetchval(read_sql.count_to(generation), rows + 1, timeout=CALL_S)
            return int(found) > rows

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Let the live generation rest, or go on, from this moment; false where there is none."""
        async with self._connection("pause or resume", name) as connection:
            try:
                return bool(await connection.fetchval(_PAUSE, name, paused, timeout=CALL_S))
            except asyncpg.UndefinedTableError:
                return False


def ident(generation: Generation) -> tuple[str, int, int]:
    """What names a generation's row."""
    return generation.name, generation.version, generation.number


async def one(connection: Connection, query: str, name: str) -> Generation | None:
    """The generation that a query by name finds."""
    row = await connection.fetchrow(query, name, timeout=CALL_S)
    return None if row is None else _generation(row)


async def look_up(connection: Connection, name: str) -> Generation | None:
    """The live generation of that name; none where nothing was prepared."""
    try:
        return await one(connection, _LIVE, name)
    except asyncpg.UndefinedTableError:
        return None


async def _make(connection: Connection, projection: Projection, state: State) -> Generation:
    tables = msgspec.json.encode(projection.tables).decode()
    row = await connection.fetchrow(_MAKE, projection.name, projection.version, state.value, tables)
    assert row is not None  # noqa: S101 - an insert of one row returns one row
    made = _generation(row)
    await connection.execute(read_sql.create_tables(made), timeout=CALL_S)
    return made


async def _drop(connection: Connection, generation: Generation) -> bool:
    if not await connection.fetchval(_DROP, *ident(generation)):
        return False
    await connection.execute(_DROP_LETTERS, *ident(generation))
    with _told(f"drop {generation}", f"drop {generation.name}"):
        await connection.execute(read_sql.drop_tables(generation))
    return True


@contextmanager
def _told(doing: str, again: str) -> Iterator[None]:
    """What people built on our views and tables is theirs: it is named, never removed with ours."""
    try:
        yield
    except asyncpg.DependentObjectsStillExistError as error:
        found = "; ".join((error.detail or str(error)).splitlines())
        raise ProjectionError(
            f"could not {doing}: {found}. It is not ours, so nothing was changed; drop it, run "
            f"`daybook projections {again}`, and make it anew where you still want it"
        ) from error


def _generation(row: asyncpg.Record) -> Generation:
    return Generation(
        row["name"],
        row["version"],
        row["number"],
        State(row["state"]),
        row["checkpoint"],
        row["paused"],
        msgspec.json.decode(row["tables"], type=tuple[Table, ...]),
        row["failure"],
    )
