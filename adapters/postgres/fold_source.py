"""The log as projections fold it: only what a fold looks at is fetched, and the facts are decoded lean.

An event class costs more to build than its bytes to decode: its fields are set one by one, its time becomes a
datetime. A fold needs the facts alone, so it gets them as the decoder's own struct, which has the same names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from adapters.postgres.codec import decode
from adapters.postgres.connections import explained
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.following import follow
from adapters.postgres.lean import lean_decoder
from domain.errors import DecodeError
from domain.events import EVENT_TYPES, Cause
from projections.ports import FoldEvent, Projection

_PAGE: Final = """
SELECT position, stream, version, type, schema_version, recorded_at, causation_id, correlation_id, actor,
    slot, data
FROM events
WHERE position > $1 AND position <= $2 AND type = ANY ($3) AND category = 'domain'
ORDER BY position LIMIT $4
"""
_END: Final = 2**63 - 1


class FoldRow(NamedTuple):
    """A row of the log as a fold looks at it; see `projections.ports.FoldEvent`."""

    position: int
    stream: str
    version: int
    topic: str
    class_version: int
    recorded_at: int
    causation_id: UUID | None
    correlation_id: UUID
    actor: str
    slot: int | None
    event: Any

    @property
    def cause(self) -> Cause:
        """Correlation, causation and actor."""
        return Cause(self.correlation_id, self.causation_id, self.actor)


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
        self._decoders: dict[tuple[str, int], Callable[[bytes], Any]] = {}
        for topic in projection.topics & EVENT_TYPES.keys():
            cls = EVENT_TYPES[topic]
            self._decoders[topic, cls.class_version] = lean_decoder(cls, projection.facts(topic))

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
        end = _END if through is None else through
        with explained():
            rows = await self._log.pool.fetch(_PAGE, after, end, list(topics), limit)
        return [self._lean(row) for row in map(tuple, rows)]

    def _lean(self, row: tuple[Any, ...]) -> FoldEvent:
        decoder = self._decoders.get((row[3], row[4]))
        if decoder is not None:
            try:
                return FoldRow._make((*row[:-1], decoder(row[-1])))
            except msgspec.MsgspecError:
                pass  # decoded whole below, where the error has a sentence
        return FoldRow._make((*row[:-1], _whole(row)))

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        return await self._log.head()

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[FoldEvent]]:
        """See `projections.ports.EventSource.follow`; waits while the database is away."""
        return follow(self, self._log.bell, after, topics, limit)


def _whole(row: tuple[Any, ...]) -> Any:  # noqa: ANN401 - any event class
    """Facts of another version, brought up to date as everywhere; or why they cannot be."""
    position, stream, version, topic, class_version, data = (*row[:5], row[-1])
    try:
        return decode(topic, class_version, data, stream, version, position)
    except DecodeError as error:
        return Undecodable(error)
