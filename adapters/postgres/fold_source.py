"""The log as projections fold it: only what a fold looks at is fetched, and the facts are decoded lean.

An event class costs more to build than its bytes to decode: its fields are set one by one, its time becomes a
datetime. A fold needs the facts alone, so it gets them as the decoder's own struct, which has the same names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from adapters.postgres.connections import explained
from adapters.postgres.envelopes import Columns, Facts, Kind, enveloped, one_by_one, page_query, together
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.following import follow
from adapters.postgres.lean import lean
from domain.errors import DecodeError
from domain.events import EVENT_TYPES
from projections.ports import FoldEvent, Projection


class Undecodable:
    """Stands for facts that could not be decoded: who looks at them is told why."""

    def __init__(self, error: DecodeError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the facts of any event class
        raise self._error


class FoldSource:
    """An `EventSource` over the log for one projection, decoding what its fold looks at.

    What it cannot read lean, market events that may be archived, the log itself reads.
    """

    def __init__(self, log: PostgresEventLog, projection: Projection) -> None:
        self._log = log
        self._facts: dict[Kind, Facts] = {}
        for topic in projection.topics & EVENT_TYPES.keys():
            cls = EVENT_TYPES[topic]
            self._facts[topic, cls.class_version] = together(lean(cls, projection.facts(topic)), _whole)

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[FoldEvent]:
        """See `projections.ports.EventSource.read`.

        Raises:
            LogUnavailable: the database does not answer.
        """
        if topics is None or any(topic.startswith("market.") for topic in topics):
            return [*await self._log.read(after, limit, through=through, topics=topics)]
        query, arguments = page_query(after, through, limit, topics)
        with explained():
            rows = await self._log.pool.fetch(query, *arguments)
        return [*enveloped(rows, lambda kind: self._facts.get(kind, _whole))]

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        return await self._log.head()

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[FoldEvent]]:
        """See `projections.ports.EventSource.follow`; waits while the database is away."""
        return follow(self, self._log.bell, after, topics, limit)


def _whole(columns: Columns) -> Sequence[Any]:
    """Facts brought up to date one by one, as everywhere; or why they cannot be."""
    facts: list[Any] = []
    for row in zip(*columns, strict=True):
        try:
            facts += one_by_one([(value,) for value in row])
        except DecodeError as error:
            facts.append(Undecodable(error))
    return facts
