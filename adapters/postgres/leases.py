"""Who may act, kept in PostgreSQL beside the log whose appends it fences."""

from __future__ import annotations

import asyncpg

from adapters.postgres.connections import explained
from commands.ports import Fence


class PostgresLeases:
    """Implements `commands.ports.Leases`.

    Args:
        pool: of the log, `PostgresEventLog.pool`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def take(self, lease: str, holder: str) -> Fence:
        """Take the lease over; once this returns, no append of an older epoch can commit any more.

        Raises:
            LogUnavailable: the database does not answer.
        """
        with explained():
            epoch: int = await self._pool.fetchval("SELECT take_lease($1, $2)", lease, holder)
        return Fence(lease, epoch)
