"""What PostgreSQL itself does here, right now: asyncpg, a table with two unique keys, no order, no chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec

TABLE: Final = """
CREATE TABLE {name} (position bigint PRIMARY KEY, stream uuid NOT NULL, version bigint NOT NULL,
    type text NOT NULL, data bytea NOT NULL, at timestamptz NOT NULL DEFAULT now(), UNIQUE (stream, version))
"""
COLUMNS: Final = ["position", "stream", "version", "type", "data"]
CONNECTIONS: Final = 8
COPY_ROWS: Final = 10_000
PAGE: Final = 1_000

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def repeat(seconds: float, step: Callable[[], Awaitable[int]]) -> float:
    """Events per second of `step`, which says how many it did."""
    done, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        done += await step()
    return done / passed


class BarePostgres:
    """The baselines; made by `open`.

    Args:
        connections: to the database, `CONNECTIONS` of them.
        data: the bytes of one event.
        event: its class, for replays.
    """

    def __init__(self, connections: list[Connection], data: bytes, event: type[Any]) -> None:
        self._connections = connections
        self._data = data
        self._decode = msgspec.json.Decoder(event).decode
        self._position = 0

    @classmethod
    async def open(cls, url: str, data: bytes, event: type[Any], replayed: int) -> BarePostgres:
        """Connect, make the tables and fill the one that is replayed."""
        connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
        for name in ("bare", "bare_history"):
            await connections[0].execute(TABLE.format(name=name))
        bare = cls(connections, data, event)
        await connections[0].copy_records_to_table(
            "bare_history", records=bare._rows(replayed), columns=COLUMNS
        )
        return bare

    async def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            await connection.close()

    async def clear(self, *tables: str) -> None:
        """Between rounds: tables that do not grow."""
        await self._connections[0].execute(f"TRUNCATE {', '.join(tables)}")

    def _rows(self, count: int) -> list[tuple[int, UUID, int, str, bytes]]:
        stream, first = uuid4(), self._position + 1
        self._position += count
        return [(first + n, stream, n, "market.pool_updated", self._data) for n in range(count)]

    def insert(self, callers: int) -> Callable[[float], Awaitable[float]]:
        """One row, one transaction; so many connections at once."""

        async def case(seconds: float) -> float:
            return sum(
                await asyncio.gather(*(self._insert(seconds, self._connections[n]) for n in range(callers)))
            )

        return case

    async def _insert(self, seconds: float, connection: Connection) -> float:
        insert = await connection.prepare(
            "INSERT INTO bare (position, stream, version, type, data) VALUES ($1, $2, $3, $4, $5)"
        )

        async def step() -> int:
            await insert.fetch(*self._rows(1)[0])
            return 1

        return await repeat(seconds, step)

    async def copy(self, seconds: float) -> float:
        """COPY of 10,000 rows: the most this server takes."""

        async def step() -> int:
            rows = self._rows(COPY_ROWS)
            await self._connections[0].copy_records_to_table("bare", records=rows, columns=COLUMNS)
            return len(rows)

        return await repeat(seconds, step)

    async def replay(self, _seconds: float) -> float:
        """Everything once, in pages by position, each event decoded to the same class as ours."""
        read = await self._connections[0].prepare(
            "SELECT position, stream, version, type, data FROM bare_history WHERE position > $1 "
            "ORDER BY position LIMIT $2"
        )
        done, after, begin = 0, 0, time.perf_counter()
        while rows := await read.fetch(after, PAGE):
            events = [self._decode(row["data"]) for row in rows]
            done, after = done + len(events), rows[-1]["position"]
        return done / (time.perf_counter() - begin)
