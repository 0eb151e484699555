"""A process that appends until told to stop, and prints what was acknowledged; run by the tests of the log.

    python appender.py URL NAME CALLERS COUNT

Each line is `append id, first position`. With COUNT 0 it goes on until standard input closes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path
from uuid import UUID, uuid4

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from logged import pool_updated, to

from adapters.postgres.event_log import PostgresEventLog
from domain.errors import LogUnavailable


async def caller(log: PostgresEventLog, stream: str, count: int) -> None:
    """Append single events in a row, each expecting the version that the one before left."""
    for version in range(count) if count else itertools.count():
        append_id = uuid4()
        first = await insist(log, stream, version, append_id)
        sys.stdout.write(f"{append_id},{first}\n")
        sys.stdout.flush()


async def insist(log: PostgresEventLog, stream: str, version: int, append_id: UUID) -> int:
    """Retry with the same id, as every caller may."""
    while True:
        try:
            mine = to(stream, pool_updated(version), expected=version)
            appended = await log.append([mine], append_id=append_id)
        except LogUnavailable:
            continue
        return appended.first_position


async def main(url: str, name: str, callers: int, count: int) -> None:
    """So many callers at once, each in a stream of its own."""
    async with await PostgresEventLog.open(url) as log:
        work = asyncio.gather(*(caller(log, f"pool-{name}-{n}", count) for n in range(callers)))
        closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait({asyncio.ensure_future(work), closed}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            os._exit(0)  # told to stop, or orphaned: what was acknowledged is printed, nothing else matters
        await work


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
