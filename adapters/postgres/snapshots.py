"""Snapshots of long aggregates in PostgreSQL, one a stream; the log does without them."""

from __future__ import annotations

from typing import Final

import asyncpg
import msgspec
import structlog
from eventsourcing.domain import BaseAggregate

from adapters.postgres.connections import explained
from adapters.postgres.states import class_version_of, decode_state, encode_state
from commands.ports import AnAggregate

_LOAD: Final = """
SELECT version, type, class_version, state FROM snapshots WHERE stream = $1 ORDER BY version DESC LIMIT 1
"""
_SAVE: Final = """
WITH kept AS (
    INSERT INTO snapshots (stream, version, type, class_version, taken_at, state)
    VALUES ($1, $2, $3, $4, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $5)
    ON CONFLICT DO NOTHING
)
DELETE FROM snapshots WHERE stream = $1 AND version < $2
"""
_DISCARD: Final = "DELETE FROM snapshots WHERE stream = $1"
_log = structlog.get_logger(__name__)


class PostgresSnapshots:
    """Implements `commands.ports.Snapshots`.

    Args:
        pool: of the log, `PostgresEventLog.pool`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def load(self, kind: type[AnAggregate], stream: str) -> AnAggregate | None:
        """See `commands.ports.Snapshots.load`."""
        with explained():
            row = await self._pool.fetchrow(_LOAD, stream)
        if row is None:
            return None
        if (row["type"], row["class_version"]) == (_type(kind), class_version_of(kind)):
            try:
                return decode_state(kind, stream, row["version"], row["state"])
            except msgspec.MsgspecError as error:
                _log.warning("a snapshot cannot be read and is removed", stream=stream, error=str(error))
        await self.discard(stream)
        return None

    async def save(self, aggregate: BaseAggregate[str]) -> None:
        """See `commands.ports.Snapshots.save`."""
        kind, state = type(aggregate), encode_state(aggregate)
        with explained():
            await self._pool.execute(
                _SAVE, aggregate.id, aggregate.version, _type(kind), class_version_of(kind), state
            )

    async def discard(self, stream: str) -> None:
        """See `commands.ports.Snapshots.discard`."""
        with explained():
            await self._pool.execute(_DISCARD, stream)


def _type(kind: type[BaseAggregate[str]]) -> str:
    """The aggregate's stable name."""
    return str(kind.TOPIC)  # type: ignore[attr-defined]  # ours all name theirs
