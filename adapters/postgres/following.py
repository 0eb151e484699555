"""Follows a log: history, then live, without gap or double, for any log that is read by position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from typing import Any, Final, Protocol, TypeVar

import structlog

from adapters.postgres.doorbell import Doorbell, wait
from domain.errors import LogUnavailable

POLL_S: Final = 1.0
"""How late a follower may be when the ring is lost with its connection."""

PAGE: Final = 250
"""Events of one page at most: with all they are made of they fit the cache of a core, as pages of 1,000
do not."""

AWAY_PAUSE_S: Final = 0.5
"""Between attempts while the log is away; a follower waits it out, for as long as it is wanted."""

_log = structlog.get_logger(__name__)


class Positioned(Protocol):
    """An event of any form."""

    @property
    def position(self) -> int:
        """Its place in the log."""
        ...


EventT = TypeVar("EventT", bound=Positioned)


class Readable(Protocol[EventT]):
    """What following needs of a log."""

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[EventT]:
        """Up to `limit` events after a position, in order."""
        ...

    async def head(self) -> int:
        """The newest position."""
        ...


async def follow(
    log: Readable[EventT], bell: Doorbell, after: int, topics: Collection[str] | None, limit: int
) -> AsyncIterator[list[EventT]]:
    """Batches of at most `limit` events after `after`, until closed.

    Commit order is position order, so whatever lies at or below the head read first is complete: once a page
    up to it comes back short, the follower has seen all of it, also where `topics` leaves events out.
    """
    ahead: asyncio.Task[list[EventT]] | None = None
    head, limit = 0, min(limit, PAGE)
    try:
        while True:
            ring = bell.listen()
            try:
                if ahead is not None:
                    page = await ahead
                else:
                    head = bell.position if bell.position > after else await log.head()
                    page = await log.read(after, limit, through=head, topics=topics) if head > after else []
            except LogUnavailable as error:
                ahead = None
                _log.warning("following waits for the event log", after=after, error=str(error))
                await wait(ring, AWAY_PAUSE_S)
                continue
            after = page[-1].position if len(page) == limit else max(after, head)
            ahead = (
                None if after >= head else await _begun(log.read(after, limit, through=head, topics=topics))
            )
            if page:
                yield page
            if len(page) < limit:
                await wait(ring, POLL_S)
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def _begun(read: Coroutine[Any, Any, list[EventT]]) -> asyncio.Task[list[EventT]]:
    """A read that is on its way: while the follower works on a page of history, the log fetches the next."""
    task = asyncio.create_task(read)
    await asyncio.sleep(0)
    return task
