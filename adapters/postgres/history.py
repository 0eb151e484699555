"""The log by stream, by story and by time: each question through the index made for it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import asyncpg

from adapters.postgres.connections import explained
from adapters.postgres.rows import COLUMNS, StoredEvent
from domain.events import RecordedEvent

ROOT_WINDOW: Final = 5_000
"""Positions before a story's first decision in which the market events that led to it are looked for: a
second of a busy log, where the planner answers within milliseconds. They are too many to be indexed."""

TimeMark = tuple[int, int]
"""A place in the order of time: recorded_at in microseconds since the epoch, then the position."""

BEGINNING: Final[TimeMark] = (-1, 0)

_END: Final = 2**63 - 1
_SELECT: Final = f"SELECT {COLUMNS} FROM events WHERE"  # noqa: S608 - constants
_STREAM: Final = f"{_SELECT} stream = $1 AND version > $2 AND version <= $3 ORDER BY version"
_STORY: Final = (
    f"{_SELECT} category = 'domain' AND correlation_id = $1 AND position > $2 ORDER BY position LIMIT $3"
)
_ROOTS: Final = (
    f"{_SELECT} category = 'market' AND position > $2 AND position < $3 AND correlation_id = $1 "
    "ORDER BY position LIMIT $4"
)
_TIME: Final = (
    f"{_SELECT} recorded_at >= $1 AND recorded_at < $2 AND (recorded_at, position) > ($3, $4) "
    "ORDER BY recorded_at, position LIMIT $5"
)


class LogHistory:
    """Reads of the log beyond those by position; the log itself derives from it.

    Attributes:
        pool: connections in the writer's role, shared with leases and bookmarks.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool

    async def read_stream_rows(
        self,
        stream: str,
        after_version: int = 0,
        *,
        through_version: int | None = None,
        limit: int = 10_000,
        newest_first: bool = False,
    ) -> list[StoredEvent]:
        """Up to `limit` rows of one stream with `after_version` < version <= `through_version`, undecoded.

        Not from archives.

        Raises:
            LogUnavailable: the database does not answer.
        """
        through = _END if through_version is None else through_version
        query = f"{_STREAM} {'DESC' if newest_first else 'ASC'} LIMIT $4"
        return await self._fetch(query, stream, after_version, through, limit)

    async def read_story(self, correlation_id: UUID, limit: int = 500) -> list[RecordedEvent]:
        """The first `limit` events of one story in log order, the market events that began it before them.

        Those are looked for in the `ROOT_WINDOW` positions before its first decision. Empty for a market
        event that led to nothing: those are not indexed by story. What was archived is not found.

        Raises:
            LogUnavailable: the database does not answer.
        """
        told = await self.read_decided_rows(correlation_id, limit=limit)
        if not told:
            return []
        first = told[0].position
        roots = await self.read_seen_rows(correlation_id, first - ROOT_WINDOW - 1, first, limit)
        return [row.recorded() for row in [*roots, *told][:limit]]

    async def read_decided_rows(
        self, correlation_id: UUID, after: int = 0, limit: int = 500
    ) -> list[StoredEvent]:
        """Up to `limit` rows of one story above a position, undecoded; no market events.

        Raises:
            LogUnavailable: the database does not answer.
        """
        return await self._fetch(_STORY, correlation_id, after, limit)

    async def read_seen_rows(
        self, correlation_id: UUID, after: int, before: int, limit: int = 500
    ) -> list[StoredEvent]:
        """Up to `limit` market events of one story with `after` < position < `before`, undecoded.

        They are not indexed by story: every market event in between is looked at. Not from archives.

        Raises:
            LogUnavailable: the database does not answer.
        """
        return await self._fetch(_ROOTS, correlation_id, after, before, limit)

    async def read_between(
        self, since: int, until: int, limit: int = 500, *, after: TimeMark = BEGINNING
    ) -> list[RecordedEvent]:
        """Up to `limit` events with `since` <= recorded_at < `until`, in the order of time.

        Recorders' clocks may differ, so that order is not quite the log's; each event comes exactly once.
        What was archived is not found: it is read by position.

        Args:
            since: microseconds since the epoch.
            until: the same; itself not included.
            limit: of the page.
            after: the last event of the page before: its recorded_at and position.

        Raises:
            LogUnavailable: the database does not answer.
        """
        rows = await self.read_rows_between(since, until, limit, after=after)
        return [row.recorded() for row in rows]

    async def read_rows_between(
        self, since: int, until: int, limit: int = 500, *, after: TimeMark = BEGINNING
    ) -> list[StoredEvent]:
        """As `read_between`, undecoded."""
        return await self._fetch(_TIME, since, until, *after, limit)

    async def _fetch(self, query: str, *arguments: Any) -> list[StoredEvent]:  # noqa: ANN401 - SQL's values
        with explained():
            return [StoredEvent._make(row) for row in await self.pool.fetch(query, *arguments)]
