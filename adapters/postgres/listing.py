"""Selects rows of the log for people and programs: through the best index, page by page, then live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.exporting import Selection
from adapters.postgres.history import BEGINNING, ROOT_WINDOW
from adapters.postgres.rows import StoredEvent

PAGE: Final = 500
"""Rows of one read; pages of 500 to 1,000 are the fastest."""

STRETCH: Final = 250_000
"""Positions in which one statement looks for the market events of a story: a fraction of a second."""

_END_OF_TIME: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for.

    Attributes:
        wanted: by type, stream and time.
        after: only events above this position.
        correlation_id: of one story.
    """

    wanted: Selection
    after: int = 0
    correlation_id: UUID | None = None

    def has(self, row: StoredEvent) -> bool:
        """Whether this row is asked for."""
        return (
            row.position > self.after
            and (self.correlation_id is None or row.correlation_id == self.correlation_id)
            and self.wanted.wants(row)
        )


async def selected(log: PostgresEventLog, listing: Listing) -> AsyncIterator[list[StoredEvent]]:
    """Pages of what is in the log now, some perhaps empty.

    In log order, but with `since` or `until` in the order of time.

    Raises:
        LogUnavailable: the database does not answer.
    """
    async for page in _pages(log, listing):
        yield [row for row in page if listing.has(row)]


async def _pages(log: PostgresEventLog, listing: Listing) -> AsyncIterator[list[StoredEvent]]:
    """Through the index that leaves the fewest rows; archives have none but the position."""
    archived = bool(await log.shelf.overlapping())
    async for page in _positions(log, listing) if archived else _indexed(log, listing):
        yield page


def _indexed(log: PostgresEventLog, listing: Listing) -> AsyncIterator[list[StoredEvent]]:
    if listing.correlation_id is not None:
        return _story(log, listing.correlation_id, listing.after)
    if len(listing.wanted.streams) == 1:
        return _stream(log, next(iter(listing.wanted.streams)))
    if listing.wanted.since is not None or listing.wanted.until is not None:
        return _times(log, listing.wanted)
    return _positions(log, listing)


async def _story(log: PostgresEventLog, story: UUID, after: int) -> AsyncIterator[list[StoredEvent]]:
    """The market events that began it, then what was decided."""
    first = await log.read_decided_rows(story, limit=1)
    async for page in _roots(log, story, first[0] if first else None, after):
        yield page
    while page := await log.read_decided_rows(story, after, PAGE):
        after = page[-1].position
        yield page


async def _roots(
    log: PostgresEventLog, story: UUID, first: StoredEvent | None, after: int
) -> AsyncIterator[list[StoredEvent]]:
    """Just before the first decision where its cause stands there, else wherever they are before it."""
    end = await log.head() + 1
    if first is not None:
        end = first.position
        near = await log.read_seen_rows(story, end - ROOT_WINDOW - 1, end, PAGE)
        if first.causation_id in (None, *(row.event_id for row in near)):
            yield near
            return
    while after < end - 1:
        stop = min(after + STRETCH + 1, end)
        page = await log.read_seen_rows(story, after, stop, PAGE)
        after = page[-1].position if len(page) == PAGE else stop - 1
        yield page


async def _stream(log: PostgresEventLog, stream: str) -> AsyncIterator[list[StoredEvent]]:
    version = 0
    while page := await log.read_stream_rows(stream, version, limit=PAGE):
        version = page[-1].version
        yield page


async def _times(log: PostgresEventLog, wanted: Selection) -> AsyncIterator[list[StoredEvent]]:
    since, until = wanted.since or 0, _END_OF_TIME if wanted.until is None else wanted.until
    mark = BEGINNING
    while page := await log.read_rows_between(since, until, PAGE, after=mark):
        mark = page[-1].recorded_at, page[-1].position
        yield page


async def _positions(log: PostgresEventLog, listing: Listing) -> AsyncIterator[list[StoredEvent]]:
    after, topics = listing.after, listing.wanted.topics or None
    while page := await log.read_rows(after, PAGE, topics=topics):
        after = page[-1].position
        yield page


async def followed(log: PostgresEventLog, listing: Listing) -> AsyncIterator[list[StoredEvent]]:
    """As `selected` in log order, and then whatever is appended, until closed.

    Raises:
        LogUnavailable: the database does not answer.
    """
    rung, after = asyncio.Event(), listing.after
    ringing = asyncio.create_task(log.ring_for_ever(rung.set), name="event listing bell")
    try:
        while True:
            rung.clear()
            head = await log.head()  # what lies at or below it is complete
            while after < head:
                page = await log.read_rows(after, PAGE, through=head, topics=listing.wanted.topics or None)
                after = page[-1].position if len(page) == PAGE else head
                yield [row for row in page if listing.has(row)]
            await rung.wait()
    finally:
        ringing.cancel()
        await asyncio.gather(ringing, return_exceptions=True)
