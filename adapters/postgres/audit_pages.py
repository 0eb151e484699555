"""Reads the record for verification: rows as the bytes that are hashed, a thousand at a time.

The server puts header and data together, because two bytes values are read three times as fast as thirteen
columns. That trusts it no more than reading the columns would: it is the one that gives the rows either way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple, Protocol

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from adapters.postgres.connections import explained
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import ChainWalk, body
from adapters.postgres.rows import Row
from domain.audit.walk import TILE, TILE_LEVEL, Page
from domain.errors import LogCorrupt

# The layout of docs/reference/hash-chain.md, behind the previous hash; tests compare it with hash_chain.link.
_BODY: Final = r"""
    '\x01'::bytea || int8send(position) || int8send(version) || int4send(schema_version)
    || int8send(recorded_at) || int8send(coalesce(slot, -1))
    || uuid_send(event_id) || uuid_send(correlation_id)
    || CASE WHEN causation_id IS NULL THEN '\x0000000000000000000000000000000000'::bytea
            ELSE '\x01'::bytea || uuid_send(causation_id) END
    || int2send(octet_length(stream)::int2) || int2send(octet_length(type)::int2)
    || int2send(octet_length(actor)::int2) || textsend(stream) || textsend(type) || textsend(actor) || data
"""

_PAGE: Final = f"""
SELECT array_agg(body), string_agg(hash, ''::bytea), min(position) FILTER (WHERE misfiled),
    (SELECT array_agg(hash ORDER BY index) FROM audit_nodes
        WHERE $3 AND level = {TILE_LEVEL} AND index >= $1 / {TILE} AND index < $2 / {TILE})
FROM (
    SELECT {_BODY} AS body, hash, position,
        (category = 'market') IS DISTINCT FROM starts_with(type, 'market.') AS misfiled
    FROM events WHERE position > $1 AND position <= $2 ORDER BY position
) AS page
"""  # noqa: S608 - constants

_HEAD: Final = """
SELECT position, hash,
    (SELECT max(position) FROM events) AS newest, (SELECT min(position) FROM events) AS oldest
FROM log_head
"""


class Head(NamedTuple):
    """Where the log says it ends."""

    position: int
    hash: bytes


class ReadPage(Protocol):
    """Reads one page."""

    async def __call__(self, after: int, through: int, *, tiled: bool) -> Page | None:
        """The rows with `after` < position <= `through`; none unless all are there, rightly filed."""
        ...


class RecordPages:
    """The record's rows for verification.

    Args:
        log: archived rows are read through it.
    """

    def __init__(self, log: PostgresEventLog) -> None:
        self._log = log
        self._pool = log.pool

    async def head(self) -> Head:
        """Where the log ends, by its head.

        Raises:
            LogCorrupt: rows stand outside: before the first position, or above the head.
        """
        with explained():
            row = await self._pool.fetchrow(_HEAD)
        if row is None:
            raise LogCorrupt(1, "table log_head is empty")
        if row["oldest"] is not None and row["oldest"] < 1:
            raise LogCorrupt(row["oldest"], "positions begin at 1, somebody put a row before them")
        if row["newest"] is not None and row["newest"] > row["position"]:
            raise LogCorrupt(row["position"] + 1, f"rows up to {row['newest']} stand above the head")
        return Head(row["position"], row["hash"])

    async def row(self, position: int) -> tuple[Row, bytes] | None:
        """One row and the hash it holds; none when it is not there."""
        rows = await self._log.read_rows(position - 1, 1, through=position)
        return (rows[0][:-1], rows[0].hash) if rows else None

    async def hash_at(self, position: int) -> bytes | None:
        """The hash a row holds; none when there is no such row."""
        row = await self.row(position)
        return None if row is None else row[1]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[ReadPage]:
        """Read pages over one connection: to take one from the pool for each costs as much as the page."""
        with explained():
            connection = await self._pool.acquire()
        try:
            yield partial(self._page, connection)
        finally:
            await self._pool.release(connection)

    async def _page(
        self, connection: PoolConnectionProxy[asyncpg.Record], after: int, through: int, *, tiled: bool
    ) -> Page | None:
        """The rows with `after` < position <= `through`; none unless all are there, rightly filed."""
        with explained():
            row = await connection.fetchrow(_PAGE, after, through, tiled)
        assert row is not None  # noqa: S101 - an aggregate without groups always gives one row
        bodies, hashes, misfiled, tiles = row
        if misfiled is not None:
            return None
        if bodies is None or len(bodies) != through - after:
            return await self._archived(after, through, tiles or ())
        return Page(bodies, hashes, tiles or ())

    async def _archived(self, after: int, through: int, tiles: Sequence[bytes]) -> Page | None:
        """The same rows where some of them stand in an archive's file."""
        rows = await self._log.read_rows(after, through - after + 1, through=through)
        if len(rows) != through - after:
            return None
        return Page([b"".join(body(row[:-1])) for row in rows], b"".join(row.hash for row in rows), tiles)

    async def explain(self, after: int, before: bytes, through: int) -> LogCorrupt | None:
        """What is wrong with rows that did not verify, one by one, from a hash known to be good."""
        rows = await self._log.read_rows(after, 2 * (through - after), through=through)
        walk = ChainWalk(after, before)
        try:
            for row in rows:
                if row.position <= walk.position:
                    raise LogCorrupt(row.position, "two rows claim this position")
                walk.step(row)
            if walk.position < through:
                raise LogCorrupt(walk.position + 1, f"it is missing, and so is the rest up to {through}")
        except LogCorrupt as broken:
            return broken
        return None
