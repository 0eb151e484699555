"""Pages of a log's history: while one is made into events and worked on, the log fetches the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

WHOLE_PAGES_AHEAD: Final = 2
"""With two of them the server is never idle; a third would only wait."""

EventT = TypeVar("EventT")


@dataclass(frozen=True, slots=True)
class Fetched(Generic[EventT]):
    """A page as it came from the log.

    Attributes:
        count: how many events it holds.
        last: the position of the last one; where it holds none, the position the page was asked for after.
        events: makes them of it, which takes as long as fetching them did.
    """

    count: int
    last: int
    events: Callable[[], list[EventT]]


class Readable(Protocol[EventT]):
    """What reading on needs of a log."""

    async def fetch(
        self,
        after: int,
        limit: int,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> Fetched[EventT]:
        """Up to `limit` events after a position, in order."""
        ...

    async def head(self) -> int:
        """The newest position."""
        ...


async def pages(
    log: Readable[EventT], after: int, through: int, topics: Collection[str] | None, limit: int
) -> AsyncGenerator[tuple[list[EventT], int]]:
    """The events with `after` < position <= `through`: pages, and the position each is complete through.

    The next page is asked for before this one is decoded, so that the server and its reader work at once.
    Where a page of a selection ends is known when it is there; of the whole log it is known before, so two
    are on their way.

    Raises:
        DecodeError: when the bytes of an event do not fit its type.
        LogUnavailable: the log does not answer.
    """
    coming: deque[tuple[int, asyncio.Task[Fetched[EventT]]]] = deque()
    asked, fetched = after, None
    try:
        while True:
            while asked < through and len(coming) < (1 if topics is not None else WHOLE_PAGES_AHEAD):
                end = through if topics is not None else min(asked + limit, through)
                coming.append((end, await _begun(log.fetch(asked, limit, through=end, topics=topics))))
                asked = end
            if fetched is not None:
                yield fetched.events(), after
            if after >= through:
                return
            end, task = coming.popleft()
            fetched = await task
            after = fetched.last if fetched.count == limit else end
            asked = after if topics is not None else asked
    finally:
        for _, task in coming:
            task.cancel()
        await asyncio.gather(*(task for _, task in coming), return_exceptions=True)


async def _begun(fetch: Coroutine[Any, Any, Fetched[EventT]]) -> asyncio.Task[Fetched[EventT]]:
    """A fetch that is on its way to the server."""
    task = asyncio.create_task(fetch)
    await asyncio.sleep(0)
    return task
