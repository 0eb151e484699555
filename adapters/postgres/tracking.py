"""Where followers stand, beside the events they made: a position that only grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import asyncpg

from adapters.postgres.batch import Track
from adapters.postgres.connections import explained
from domain.errors import AlreadyTracked

_TRACKED: Final = "SELECT position FROM tracking WHERE name = $1"
_TRACK: Final = "SELECT advance_tracking($1, $2)"

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

Statement = tuple[str, Sequence[Any]]
"""SQL with $1, $2, ... and its arguments."""


async def advance(pool: Pool, track: Track, statements: Sequence[Statement] = ()) -> None:
    """Run statements and move a follower, in one transaction; for what is not appended to the log.

    The follower moves last: an append that moves it holds the log's head, and would wait for the statements.

    Raises:
        AlreadyTracked: it stands there already, or further; nothing is done.
        LogUnavailable: the database does not answer, and whether it was done is not known.
    """
    with explained():
        async with pool.acquire() as connection, connection.transaction():
            for sql, arguments in statements:
                await connection.execute(sql, *arguments)
            if not await connection.fetchval(_TRACK, [track.name], [track.position]):
                found = await connection.fetchval(_TRACKED, track.name)
                raise AlreadyTracked(track.name, track.position, found)


async def tracked(pool: Pool, name: str) -> int | None:
    """Where a follower stands; none when it never moved.

    Raises:
        LogUnavailable: the database does not answer.
    """
    with explained():
        position: int | None = await pool.fetchval(_TRACKED, name)
        return position
