"""Read models in PostgreSQL: each version in a schema of its own, rows and checkpoint in one transaction.

Everything here can be thrown away and folded again from the log, so this store makes its own objects; the
log's tables are Alembic's. Set-based throughout: one query for each table of a batch, one upsert for each
table it changed.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, TypeAlias

import asyncpg

from adapters.postgres import read_sql
from adapters.postgres.connections import AWAY, CONNECT_TIMEOUT_S
from domain.errors import (
    CheckpointMoved,
    InvalidInput,
    ProjectionError,
    ReadModelBehind,
    ReadStoreUnavailable,
)
from domain.events import RecordedEvent
from projections.ports import Condition, Key, Projection, Row, Rows, Selected, Table, table_of

CALL_S: Final = 30.0
"""No statement of ours runs longer: a batch of 1,000 events takes milliseconds, an index build seconds."""

POOL_SIZE: Final = 8
"""A statement takes milliseconds: eight at once answer thousands a second on two cores."""

PREPARE_LOCK: Final = 0x64617962  # "dayb": one process at a time creates schema objects
FIRST_LOOK_S: Final = 0.002
LONGEST_LOOK_S: Final = 0.05
"""Pauses between looks at a checkpoint somebody waits for: they double from the first to the longest."""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@asynccontextmanager
async def open_read_store(
    database_url: str, *, connections: int = POOL_SIZE
) -> AsyncIterator[PostgresReadStore]:
    """A read store with a pool of its own, closed at the end.

    Args:
        database_url: of a role that may create schemas; it need not be the log's database.
        connections: at most so many.

    Raises:
        ReadStoreUnavailable: no server answers there.
    """
    try:
        pool = await asyncpg.create_pool(
            database_url, min_size=1, max_size=connections, timeout=CONNECT_TIMEOUT_S, reset=_no_reset
        )
    except AWAY as error:
        raise ReadStoreUnavailable(
            f"could not open the read models: PostgreSQL did not answer ({error}); start it or look at "
            "DAYBOOK_DATABASE_URL"
        ) from error
    try:
        yield PostgresReadStore(pool)
    finally:
        pool.terminate()  # a read is repeated and a batch is all or nothing: there is nothing to wait for


async def _no_reset(_connection: object) -> None:
    """Nothing here changes a session, so giving a connection back needs no further statement."""


class PostgresReadStore:
    """A `ReadStore` over a connection pool, which stays the caller's to close."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def prepare(self, projection: Projection) -> int:
        """Create what is missing for this name and version; returns its checkpoint (0 when new).

        Raises:
            ProjectionError: the tables of this version were made with other columns.
            ReadStoreUnavailable: no answer.
        """
        async with self._connection("prepare", projection.name) as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", PREPARE_LOCK)
            await connection.execute(read_sql.BOOKKEEPING)
            await connection.execute(read_sql.create_tables(projection))
            known = await connection.fetchrow(_REGISTER, *_id(projection), read_sql.shape_of(projection))
        if known is None or known["shape"] != read_sql.shape_of(projection):
            raise ProjectionError(
                f"the tables of read model {projection.name!r} version {projection.version} were made with "
                "other columns: raise its VERSION, and it is built anew beside the old one"
            )
        checkpoint: int = known["checkpoint"]
        return checkpoint

    async def fetch(self, projection: Projection, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys or key beginnings.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        rows = Rows()
        wanted: defaultdict[tuple[str, int], list[Key]] = defaultdict(list)
        for name, key in keys:
            wanted[name, len(key)].append(key)
        async with self._connection("fetch", projection.name) as connection:
            for (name, length), prefixes in wanted.items():
                table = table_of(projection, name)
                arrays = zip(*prefixes, strict=True)
                for record in await connection.fetch(
                    read_sql.fetch(projection, table, length), *map(list, arrays), timeout=CALL_S
                ):
                    row = _row(table, record)
                    rows.fetched[name, tuple(row[column] for column in table.key)] = row
        return rows

    async def commit(self, projection: Projection, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`, in one transaction.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`; nothing is written.
            ReadStoreUnavailable: no answer.
        """
        changed: defaultdict[str, list[Row]] = defaultdict(list)
        for (name, _), row in rows.changed.items():
            changed[name].append(row)
        async with self._connection("commit", projection.name) as connection, connection.transaction():
            # first, so that a second process waits here and is refused before it writes anything
            moved = await connection.fetchval(_MOVE, *_id(projection), before, after, timeout=CALL_S)
            if moved is None:
                raise CheckpointMoved(
                    f"read model {projection.name!r} is no longer at position {before}: another process "
                    "folds it too; nothing was written"
                )
            for name, new in changed.items():
                table = table_of(projection, name)
                await connection.execute(
                    read_sql.upsert(projection, table), *_arrays(table, new), timeout=CALL_S
                )

    async def set_aside(
        self, projection: Projection, event: RecordedEvent, error: str, attempts: int
    ) -> None:
        """Write a dead letter; a repeated one replaces the first.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        letter = (event.position, event.topic, event.stream, error, attempts)
        async with self._connection("set an event aside for", projection.name) as connection:
            await connection.execute(_SET_ASIDE, *_id(projection), *letter, timeout=CALL_S)

    async def checkpoint(self, name: str) -> int:
        """The last position that the live version of a read model has absorbed; 0 when there is none.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        async with self._connection("read the checkpoint of", name) as connection:
            try:
                return await connection.fetchval(_CHECKPOINT, name, timeout=CALL_S) or 0
            except asyncpg.UndefinedTableError:
                return 0  # nothing was ever prepared in this database

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live version has absorbed `position`; returns its checkpoint then.

        Raises:
            ReadModelBehind: it has not within `timeout_s` seconds.
            ReadStoreUnavailable: no answer.
        """
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + timeout_s, FIRST_LOOK_S
        while (checkpoint := await self.checkpoint(name)) < position:
            left_s = deadline - loop.time()
            if left_s <= 0:
                raise ReadModelBehind(name, position, checkpoint, timeout_s)
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_LOOK_S)
        return checkpoint

    async def select(
        self,
        projection: Projection,
        table: str,
        *,
        where: Sequence[Condition] = (),
        order_by: Sequence[tuple[str, bool]] = (),
        limit: int = 100,
        after: Mapping[str, Any] | None = None,
    ) -> Selected:
        """Rows of a table and the position they reflect, in one statement and so in one snapshot.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
            ReadStoreUnavailable: no answer.
        """
        shape = table_of(projection, table)
        text, parameters = read_sql.select(projection, shape, where, order_by, limit, after)
        async with self._connection("read", projection.name) as connection:
            try:
                records = await connection.fetch(text, *parameters, timeout=CALL_S)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                return Selected([], 0)  # not prepared yet: it has absorbed nothing
        rows = [_row(shape, record) for record in records if record["present"]]
        return Selected(rows, records[0]["checkpoint"] if records else 0)

    @asynccontextmanager
    async def _connection(self, doing: str, name: str) -> AsyncIterator[Connection]:
        try:
            async with self._pool.acquire(timeout=CALL_S) as connection:
                yield connection
        except asyncpg.DataError as error:  # also the driver's word for a value that does not fit its column
            raise InvalidInput(f"could not {doing} read model {name!r}: {error}") from error
        except AWAY as error:
            raise ReadStoreUnavailable(
                f"could not {doing} read model {name!r}: PostgreSQL did not answer "
                f"({type(error).__name__}: {error}); start it or look at DAYBOOK_DATABASE_URL"
            ) from error


# the first version of a name is the live one; later ones are built beside it and swapped in
_REGISTER: Final = """
with added as (
    insert into daybook_read.read_models (name, version, live, shape)
    values ($1, $2, not exists (select from daybook_read.read_models where name = $1 and live), $3)
    on conflict (name, version) do nothing
    returning checkpoint, shape
)
select checkpoint, shape from added
union all select checkpoint, shape from daybook_read.read_models where name = $1 and version = $2
"""
_MOVE: Final = """
update daybook_read.read_models set checkpoint = $4
where name = $1 and version = $2 and checkpoint = $3 returning checkpoint
"""
_CHECKPOINT: Final = "select checkpoint from daybook_read.read_models where name = $1 and live"
_SET_ASIDE: Final = """
insert into daybook_read.dead_letters (name, version, position, topic, stream, error, attempts)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name, version, position) do update
set error = excluded.error, attempts = excluded.attempts, set_aside_at = now()
"""


def _id(projection: Projection) -> tuple[str, int]:
    return projection.name, projection.version


def _row(table: Table, record: asyncpg.Record) -> Row:
    row: Row = {}
    for column in table.columns:
        value = record[column.name]
        if column.kind == "json" and value is not None:
            value = json.loads(value)  # the standard parser keeps whole numbers of any size exact
        elif isinstance(value, Decimal):
            value = int(value)
        row[column.name] = value
    return row


def _arrays(table: Table, rows: Sequence[Row]) -> list[list[Any]]:
    return [
        [json.dumps(row[column.name]) for row in rows]
        if column.kind == "json"
        else [row[column.name] for row in rows]
        for column in table.columns
    ]
