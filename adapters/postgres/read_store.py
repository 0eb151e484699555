"""Read models in PostgreSQL: each generation in a schema of its own, rows and checkpoint in one statement.

Set-based throughout: one query for each table of a batch, one statement for all it changed. Readers learn
which generation answers once, and each of their statements checks it in the snapshot of its rows: a swap
between the two is seen, and the statement is asked again of the new one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from adapters.postgres import arrays, read_sql
from adapters.postgres.connections import CONNECT_TIMEOUT_S, KEEPALIVES, explained, no_reset
from adapters.postgres.dead_letters import PostgresDeadLetters
from adapters.postgres.generations import Generations, ident, look_up
from adapters.postgres.read_pool import CALL_S, Connection
from adapters.postgres.read_rows import arrays_of, row_of
from domain.errors import (
    CheckpointMoved,
    LogUnavailable,
    ProjectionPaused,
    ReadModelBehind,
    ReadStoreUnavailable,
)
from projections.ports import (
    Condition,
    DeadLetter,
    Generation,
    Key,
    Projection,
    Row,
    Rows,
    Selected,
    table_of,
)

POOL_SIZE: Final = 8
"""A statement takes milliseconds: eight at once answer thousands a second on two cores."""

FIRST_LOOK_S: Final = 0.001
LONGEST_LOOK_S: Final = 0.02
"""Pauses between looks at a checkpoint somebody waits for: they double from the first to the longest."""

LOOK_UPS: Final = 5
"""Of the live generation for one question: each is a swap within milliseconds of the last."""

_STANDS: Final = (
    "select checkpoint from daybook_models.generations where name = $1 and version = $2 and number = $3"
)
_CHECKPOINT: Final = "select checkpoint from daybook_models.generations where name = $1 and state = 'live'"

PAGE: Final = 1_000
"""Rows of one page of a whole table."""

_SETTINGS: Final = {
    "application_name": "daybook read models",
    # A read model that loses its last commits in a power cut loses rows and checkpoint together, and folds
    # the same events again; what it folds is safe in the log, which waits for the disk.
    "synchronous_commit": "off",
    **KEEPALIVES,
}


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
        SetupError: the URL, the credentials or the database is not right.
    """
    try:
        with explained():
            pool = await asyncpg.create_pool(
                database_url,
                min_size=0,  # more would be restored by the driver itself, loudly, while the server is away
                max_size=connections,
                timeout=CONNECT_TIMEOUT_S,
                reset=no_reset,
                init=arrays.speak,
                server_settings=_SETTINGS,
            )
            async with pool.acquire():
                pass  # so that who opens it is told at once
    except LogUnavailable as error:
        raise ReadStoreUnavailable(
            f"could not open the read models: PostgreSQL did not answer ({error.__cause__}); start it or "
            "look at DAYBOOK_DATABASE_URL"
        ) from error
    try:
        yield PostgresReadStore(pool)
    finally:
        pool.terminate()  # a read is repeated and a batch is all or nothing: there is nothing to wait for


class PostgresSnapshot:
    """One generation in one snapshot of the database.

    Attributes:
        checkpoint: the last position absorbed at that moment.
    """

    def __init__(self, connection: Connection, generation: Generation, checkpoint: int) -> None:
        self._connection = connection
        self._generation = generation
        self.checkpoint = checkpoint

    async def rows(self, table: str) -> AsyncIterator[Sequence[Row]]:
        """All rows of a table in key order, in pages."""
        shape = self._generation.table(table)
        cursor = await self._connection.cursor(read_sql.everything(self._generation, shape))
        while page := await cursor.fetch(PAGE, timeout=CALL_S):
            yield [row_of(shape, record) for record in page]


class PostgresReadStore(Generations, PostgresDeadLetters):
    """A `ReadStore` over a connection pool, which stays the caller's to close."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        super().__init__(pool)
        self._live: dict[str, Generation] = {}

    async def fetch(self, generation: Generation, keys: Collection[tuple[str, Key]]) -> Rows:
        """The present rows of these keys or key beginnings.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        rows = Rows()
        wanted: defaultdict[tuple[str, int], list[Key]] = defaultdict(list)
        for name, key in keys:
            wanted[name, len(key)].append(key)
        async with self._connection("fetch", generation.name) as connection:
            for (name, length), prefixes in wanted.items():
                table = generation.table(name)
                arrays = zip(*prefixes, strict=True)
                for record in await connection.fetch(
                    read_sql.fetch(generation, table, length), *map(list, arrays), timeout=CALL_S
                ):
                    row = row_of(table, record)
                    rows.fetched[name, tuple(row[column] for column in table.key)] = row
        return rows

    async def commit(self, generation: Generation, rows: Rows, before: int, after: int) -> None:
        """Write the changed rows and move the checkpoint from `before` to `after`, in one statement.

        Raises:
            CheckpointMoved: the checkpoint is not at `before`; nothing is written.
            ProjectionPaused: somebody paused it; nothing is written.
            ReadStoreUnavailable: no answer.
        """
        changed = _by_table(rows)
        arrays = [array for name, new in changed.items() for array in arrays_of(generation.table(name), new)]
        async with self._connection("commit", generation.name) as connection:
            moved = await connection.fetchval(
                read_sql.commit(generation, tuple(changed)),
                *ident(generation),
                before,
                after,
                *arrays,
                timeout=CALL_S,
            )
        if not moved:
            await self._refused(generation, before)

    async def _refused(self, generation: Generation, before: int) -> None:
        for found in await self.generations(generation.name):
            if ident(found) == ident(generation) and found.paused:
                raise ProjectionPaused(
                    f"read model {found.name!r} is paused at position {found.checkpoint}: "
                    f"`daybook projections resume {found.name}` lets it go on"
                )
        raise CheckpointMoved(
            f"{generation} is no longer at position {before}, or no longer answers: another process folds "
            "or swapped it; nothing was written"
        )

    async def settle(self, generation: Generation, letter: DeadLetter, rows: Rows) -> None:
        """Write the rows of an event folded late and remove its letter, in one transaction.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        async with self._connection("settle", generation.name) as connection, connection.transaction():
            await connection.execute("delete from daybook_models.dead_letters where id = $1", letter.id)
            for name, new in _by_table(rows).items():
                table = generation.table(name)
                await connection.execute(
                    read_sql.upsert(generation, table), *arrays_of(table, new), timeout=CALL_S
                )

    @asynccontextmanager
    async def snapshot(self, generation: Generation) -> AsyncIterator[PostgresSnapshot]:
        """The whole generation as it stands now, however it moves meanwhile.

        Raises:
            CheckpointMoved: it is gone.
            ReadStoreUnavailable: no answer.
        """
        async with (
            self._connection("read all of", generation.name) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            checkpoint = await connection.fetchval(_STANDS, *ident(generation), timeout=CALL_S)
            if checkpoint is None:
                raise CheckpointMoved(f"{generation} was to be read, but is gone: list the generations again")
            yield PostgresSnapshot(connection, generation, checkpoint)

    async def count(self, generation: Generation) -> dict[str, int]:
        """How many rows each table holds.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        counts = {}
        async with self._connection("count", generation.name) as connection:
            for table in generation.tables:
                query = f"select count(*) from {read_sql.qualified(generation, table)}"  # noqa: S608 - checked
                counts[table.name] = await connection.fetchval(query, timeout=CALL_S)
        return counts

    async def checkpoint(self, name: str) -> int:
        """The last position that the live generation of a read model has absorbed; 0 when there is none.

        Raises:
            ReadStoreUnavailable: no answer.
        """
        async with self._connection("read the checkpoint of", name) as connection:
            try:
                return await connection.fetchval(_CHECKPOINT, name, timeout=CALL_S) or 0
            except asyncpg.UndefinedTableError:
                return 0  # nothing was ever prepared in this database

    async def wait_for(self, name: str, position: int, timeout_s: float) -> int:
        """Wait until the live generation has absorbed `position`; returns its checkpoint then.

        Raises:
            ReadModelBehind: it has not within `timeout_s` seconds.
            ReadStoreUnavailable: no answer, or none within them.
        """
        checkpoint, pause_s = -1, FIRST_LOOK_S  # no answer yet
        try:
            async with asyncio.timeout(timeout_s):
                while (checkpoint := await self.checkpoint(name)) < position:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_LOOK_S)
                return checkpoint
        except TimeoutError as error:
            if checkpoint >= 0:
                raise ReadModelBehind(name, position, checkpoint, timeout_s) from None
            raise ReadStoreUnavailable(
                f"read model {name!r} was asked for position {position}, and PostgreSQL did not answer "
                f"within {timeout_s:g} s: start it or look at DAYBOOK_DATABASE_URL"
            ) from error

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
        """Rows of the live generation and the position they reflect, in one statement and so in one snapshot.

        Raises:
            InvalidInput: a table, column or operator that the projection does not have.
            NotServedYet: the live generation lacks the table, or a column to order by.
            ReadStoreUnavailable: no answer.
        """
        shape = table_of(projection, table)
        async with self._connection("read", projection.name) as connection:
            for _ in range(LOOK_UPS):
                live = self._live.get(projection.name) or await look_up(connection, projection.name)
                if live is None:
                    return Selected([], 0)  # not prepared yet: it has absorbed nothing
                self._live[projection.name] = live
                text, parameters = read_sql.select(live, shape, where, order_by, limit, after)
                try:
                    records = await connection.fetch(text, *parameters, timeout=CALL_S)
                except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                    records = []  # swapped out and dropped
                if records:
                    found = [row_of(shape, record) for record in records if record["present"]]
                    return Selected(found, records[0]["checkpoint"])
                self._live.pop(projection.name, None)
        raise ReadStoreUnavailable(
            f"read model {projection.name!r} was swapped {LOOK_UPS} times while it was read: ask again"
        )


def _by_table(rows: Rows) -> dict[str, list[Row]]:
    """The changed rows, in an order of tables that is the same for the same tables."""
    changed: defaultdict[str, list[Row]] = defaultdict(list)
    for (name, _), row in rows.changed.items():
        changed[name].append(row)
    return dict(sorted(changed.items()))
