"""The writer's conversation with PostgreSQL: insert a planned batch, or survey the log and then insert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from adapters.postgres.batch import Known, Plan, Request, plan
from commands.ports import Appended
from domain.errors import LogError

_INSERT: Final = "SELECT append_events(" + ", ".join(f"${place}" for place in range(1, 25)) + ")"
_SURVEY: Final = "SELECT * FROM survey_log($1, $2, $3)"
_EXTEND: Final = "SELECT position FROM log_head, extend_events(position + $1)"
_EVENT_IDS: Final = "SELECT event_id FROM events WHERE position BETWEEN $1 AND $2 ORDER BY position"

EXTEND_AHEAD: Final = 10_000_000
"""Positions for which partitions are made in advance: an hour of the busiest market."""


class LogSession:
    """The writer's own connection."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    def terminate(self) -> None:
        """Drop the connection at once; the server rolls back what was open."""
        self._connection.terminate()

    async def extend(self) -> int:
        """Make partitions long before they are needed; returns the head they were counted from."""
        return int(await self._connection.fetchval(_EXTEND, EXTEND_AHEAD))

    async def insert(self, made: Plan) -> bool:
        """Append a planned batch in one round trip; false, with nothing written, when the log is not so.

        Raises:
            asyncpg.PostgresError, OSError: whatever the server or the connection says.
        """
        try:
            return bool(await self._connection.fetchval(_INSERT, *_arguments(made)))
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "appends_pkey" and not self._connection.is_in_transaction():
                return False
            raise

    async def write_surveyed(self, batch: Sequence[Request]) -> tuple[Known, Plan]:
        """Survey, decide and insert while holding the fence: what is decided here is certain."""
        async with self._connection.transaction():
            known = await self._survey(batch)
            made = plan(batch, known)
            if made.rows and not await self.insert(made):
                raise LogError("the log changed under the fence that guards it: look for writers without it")
            return known, made

    async def _survey(self, batch: Sequence[Request]) -> Known:
        streams = list({append.stream for request in batch for append in request.appends})
        leases = list({request.fence.lease for request in batch if request.fence is not None})
        ids = [request.append_id for request in batch]
        found = await self._connection.fetchrow(_SURVEY, streams, ids, leases)
        if found is None:
            raise LogError("the survey of the log gave no row: run `daybook migrate`")
        return Known(
            found["head"],
            found["head_hash"],
            dict(zip(streams, found["versions"] or (), strict=True)),
            dict(zip(leases, found["epochs"] or (), strict=True)),
            await self._appended(found),
        )

    async def _appended(self, found: asyncpg.Record) -> dict[UUID, Appended]:
        """The first results of append ids that are in the log already."""
        results: dict[UUID, Appended] = {}
        for append_id, first, last in zip(
            found["known"] or (), found["firsts"] or (), found["lasts"] or (), strict=True
        ):
            ids = await self._connection.fetch(_EVENT_IDS, first, last)
            results[append_id] = Appended(first, last, tuple(row["event_id"] for row in ids))
        return results


def _arguments(made: Plan) -> tuple[Any, ...]:
    """The arguments of append_events, in its order."""
    new = [(request, result) for request, result in made.results if not result.repeated]
    (_, streams, versions, types, schema_versions, recorded, event_ids, causations, correlations, actors,
     slots, bodies, hashes) = zip(*made.rows, strict=True)  # fmt: skip
    return (
        *made.before, *made.head,
        list(made.fences), list(made.fences.values()), list(made.unseen), list(made.unseen.values()),
        [request.append_id for request, _ in new],
        [result.first_position for _, result in new], [result.last_position for _, result in new],
        versions, recorded, slots, schema_versions, event_ids, correlations, causations,
        ["market" if topic.startswith("market.") else "domain" for topic in types],
        streams, types, actors, bodies, hashes,
    )  # fmt: skip
