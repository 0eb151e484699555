"""How far each process manager has reacted to the log, kept in PostgreSQL."""

from __future__ import annotations

from typing import Final

import asyncpg

from adapters.postgres.connections import explained

_LOAD: Final = "SELECT position FROM bookmarks WHERE name = $1"
_SAVE: Final = """
INSERT INTO bookmarks AS b (name, position) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE b.position < excluded.position
"""


class PostgresBookmarks:
    """Implements `commands.ports.Bookmarks`.

    Args:
        pool: of the log, `PostgresEventLog.pool`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def load(self, name: str) -> int:
        """The last position reacted to; 0 when there is none.

        Raises:
            LogUnavailable: the database does not answer.
        """
        with explained():
            return int(await self._pool.fetchval(_LOAD, name) or 0)

    async def save(self, name: str, position: int) -> None:
        """Remember `position`; a lower one than is remembered changes nothing.

        Raises:
            LogUnavailable: the database does not answer.
        """
        with explained():
            await self._pool.execute(_SAVE, name, position)
