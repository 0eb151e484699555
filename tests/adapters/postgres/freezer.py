"""A process that stops in the middle of its append's COPY, holding the head; run by the tests.

    python freezer.py URL COUNT

It prints `frozen` and sends itself SIGSTOP when half of the rows have left. Continued, its writer tries
again, and it prints the first position.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from logged import new_id, pool_updated, to

from adapters.postgres.event_log import PostgresEventLog

PATIENCE_S = 60.0
"""It is stopped for some seconds of them."""

_copy = asyncpg.Connection.copy_to_table


async def freeze(
    self: asyncpg.Connection, table: str, *, source: AsyncIterator[bytes], **options: object
) -> str:
    """The driver's COPY, once as if the process were stopped between two messages."""
    asyncpg.Connection.copy_to_table = _copy  # type: ignore[method-assign] # only the first freezes

    async def halves() -> AsyncIterator[bytes]:
        async for rows in source:
            yield rows[: len(rows) // 2]
            sys.stdout.write("frozen\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSTOP)
            yield rows[len(rows) // 2 :]

    return await _copy(self, table, source=halves(), **options)  # type: ignore[arg-type] # passed on


async def main(url: str, count: int) -> None:
    """One append, large enough to be copied."""
    asyncpg.Connection.copy_to_table = freeze  # type: ignore[method-assign,assignment] # see above
    mine = to("pool-frozen", *map(pool_updated, range(count)), expected=0)
    async with await PostgresEventLog.open(url, unavailable_after_s=PATIENCE_S) as log:
        sys.stdout.write(f"{(await log.append([mine], append_id=new_id())).first_position}\n")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
