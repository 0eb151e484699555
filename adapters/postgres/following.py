"""Follows a log: history, then live, without gap or double, for any log that is read by position."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Final, TypeVar

import structlog

from adapters.postgres.doorbell import Doorbell, wait
from adapters.postgres.paging import Readable, pages
from domain.errors import LogUnavailable

POLL_S: Final = 1.0
"""How late a follower may be when the ring is lost with its connection."""

PAGE: Final = 500
"""Events of one page at most: with all they are made of they fit the cache of a core, as pages of 1,000 do
not; smaller ones cost more round trips."""

AWAY_PAUSE_S: Final = 0.5
"""Between attempts while the log is away; a follower waits it out, for as long as it is wanted."""

_log = structlog.get_logger(__name__)

EventT = TypeVar("EventT")


async def follow(
    log: Readable[EventT], bell: Doorbell, after: int, topics: Collection[str] | None, limit: int
) -> AsyncIterator[list[EventT]]:
    """Batches of at most `limit` events after `after`, until closed.

    Commit order is position order, so whatever lies at or below the head read first is complete, also where
    `topics` leaves events out. Appends while it is read have rung by its end, and are read next.
    """
    limit = min(limit, PAGE)
    while True:
        ring = bell.listen()
        try:
            head = bell.position if bell.position > after else await log.head()
            async with aclosing(pages(log, after, head, topics, limit)) as history:
                async for page, through in history:
                    after = through
                    if page:
                        yield page
        except LogUnavailable as error:
            _log.warning("following waits for the event log", after=after, error=str(error))
            await wait(ring, AWAY_PAUSE_S)
        else:
            await wait(ring, POLL_S)
