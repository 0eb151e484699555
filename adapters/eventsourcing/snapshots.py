"""The library's snapshots, in the table of ours: disposable, not events, not in the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
from eventsourcing.persistence import AggregateRecorder, StoredEvent

from adapters.eventsourcing.engine import Engine
from adapters.eventsourcing.stored import stream_of
from adapters.postgres.connections import explained
from adapters.postgres.foreign import PREFIX

_INSERT: Final = (
    "INSERT INTO snapshots (stream, version, type, class_version, taken_at, state) "
    "VALUES ($1, $2, $3, 1, $4, $5)"
)
_SELECT: Final = (
    "SELECT version, type, state FROM snapshots WHERE stream = $1 AND version > $2 AND version <= $3 "
    "ORDER BY version"
)
_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1


class LogSnapshotRecorder(AggregateRecorder):
    """Any number of snapshots of a sequence, at any versions.

    Args:
        engine: of the factory.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def insert_events(self, stored_events: Sequence[StoredEvent], **_kwargs: Any) -> Sequence[int] | None:  # noqa: ANN401 - the library's signature
        """Store snapshots, all or none.

        Raises:
            IntegrityError: there is one at that version.
        """
        self._engine.run(self._insert(stored_events))
        return None

    async def _insert(self, snapshots: Sequence[StoredEvent]) -> None:
        now = time.time_ns() // 1_000
        rows = [
            (_key(one.originator_id), one.originator_version, f"{PREFIX}{one.topic}", now, one.state)
            for one in snapshots
        ]
        with explained():
            await self._engine.log.pool.executemany(_INSERT, rows)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Snapshots of one sequence with `gt` < version <= `lte`, oldest first unless `desc`."""
        query = f"{_SELECT} {'DESC' if desc else 'ASC'} LIMIT $4"
        low, high = _LOWEST if gt is None else gt, _HIGHEST if lte is None else lte
        rows = self._engine.run(self._fetch(query, _key(originator_id), low, high, limit))
        return [
            StoredEvent(originator_id, row["version"], row["type"].removeprefix(PREFIX), row["state"])
            for row in rows
        ]

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401 - SQL's values
        with explained():
            return list(await self._engine.log.pool.fetch(query, *arguments))


def _key(originator_id: UUID | str) -> str:
    """Apart from the snapshots of our own aggregates, which may have the same streams."""
    return f"{PREFIX}{stream_of(originator_id)}"
