"""Connections of the read models, their failures told as the read side's errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from adapters.postgres.connections import AWAY, lent
from domain.errors import InvalidInput, ProjectionError, ReadStoreUnavailable

CALL_S: Final = 30.0
"""No statement of ours runs longer: a batch of 1,000 events takes milliseconds, an index build seconds."""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class ReadPool:
    """Lends connections of a pool, which stays the caller's to close."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    @asynccontextmanager
    async def _connection(self, doing: str, name: str) -> AsyncIterator[Connection]:
        try:
            async with lent(self._pool, CALL_S) as connection:
                yield connection
        except asyncpg.DataError as error:  # also the driver's word for a value that does not fit its column
            raise InvalidInput(f"could not {doing} read model {name!r}: {error}") from error
        except AWAY as error:
            raise ReadStoreUnavailable(
                f"could not {doing} read model {name!r}: PostgreSQL did not answer "
                f"({type(error).__name__}: {error}); start it or look at DAYBOOK_DATABASE_URL"
            ) from error
        except asyncpg.PostgresError as error:
            raise ProjectionError(
                f"could not {doing} read model {name!r}: PostgreSQL refused "
                f"({type(error).__name__}: {error}); nothing was written. Mend what it names, then rebuild it"
            ) from error
