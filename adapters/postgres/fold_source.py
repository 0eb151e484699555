"""The log as projections fold it: only what a fold looks at is fetched, and the facts are decoded lean.

An event class costs more to build than its bytes to decode: its fields are set one by one, its time becomes a
datetime. A fold needs the facts alone, so it gets them as the decoder's own struct, which has the same names.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from typing import Any

from adapters.postgres.connections import explained
from adapters.postgres.envelopes import Columns, Facts, Kind, enveloped, one_by_one, page_query, together
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.following import follow
from adapters.postgres.lean import lean
from adapters.postgres.paging import Fetched, pages
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
        return (await self.fetch(after, limit, through=through, topics=topics)).events()

    async def fetch(
        self,
        after: int,
        limit: int,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> Fetched[FoldEvent]:
        """As `read`, not yet decoded."""
        if topics is None or any(topic.startswith("market.") for topic in topics):
            whole = await self._log.fetch(after, limit, through=through, topics=topics)
            return Fetched(whole.count, whole.last, lambda: [*whole.events()])
        query, arguments = page_query(after, through, limit, topics)
        with explained():
            rows = await self._log.pool.fetch(query, *arguments)
        return Fetched(len(rows), rows[-1][0] if rows else after, lambda: [*enveloped(rows, self._facts_of)])

    def _facts_of(self, kind: Kind) -> Facts:
        return self._facts.get(kind, _whole)

    def pages(
        self, after: int, through: int, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncGenerator[tuple[list[FoldEvent], int]]:
        """See `projections.ports.EventSource.pages`.

        Raises:
            LogUnavailable: the database does not answer.
        """
        return pages(self, after, through, topics, limit)

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
