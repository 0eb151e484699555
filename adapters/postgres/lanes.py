"""The writer's connections, and the watch over who waits for them: a frozen server answers nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Final

from adapters.postgres.batch import Request
from adapters.postgres.session import LogSession
from adapters.postgres.waiting import Waiting
from domain.errors import LogUnavailable

SHORTEST_WATCH_S: Final = 0.05
"""Between two looks at who waits: so much later than promised a caller may be answered."""


class Lane:
    """A connection of the writer; opened when needed, dropped after any error.

    Attributes:
        batch: who waits for it.
        session: the connection, if there is one.
    """

    def __init__(self, database_url: str) -> None:
        self.batch: list[Request] = []
        self.session: LogSession | None = None
        self._url = database_url
        self._limit: asyncio.Timeout | None = None

    async def opened(self) -> LogSession:
        """The session, a new one if there is none."""
        if self.session is None:
            self.session = await LogSession.open(self._url)
        return self.session

    def lose(self) -> None:
        """After an error nothing is sure of a connection."""
        session, self.session = self.session, None
        if session is not None:
            session.terminate()

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """What is done in here ends with an error when it is given up."""
        try:
            async with asyncio.timeout(None) as self._limit:
                yield
        finally:
            self._limit = None

    def give_up(self) -> None:
        """End what is on its way: the connection first, or a frozen server would be asked to roll back."""
        self.lose()
        limit, self._limit = self._limit, None
        if limit is not None:
            limit.reschedule(0)


async def watch(
    waiting: Waiting, lanes: Sequence[Lane], patience_s: float, reason: Callable[[], LogUnavailable]
) -> None:
    """Answer at its deadline whoever has not been, and give up what is written for nobody any more.

    One look serves all who wait: the deadline of who comes after it is at least `patience_s` away.
    """
    loop = asyncio.get_running_loop()
    while True:
        now = loop.time()
        next_look = now + patience_s
        for request in chain(waiting, *(lane.batch for lane in lanes)):
            if request.deadline <= now:
                request.resolve(reason())
            elif not request.answer.done():
                next_look = min(next_look, request.deadline)
        for lane in lanes:
            if lane.batch and all(request.deadline <= now for request in lane.batch):
                lane.give_up()
        await asyncio.sleep(max(next_look - now, SHORTEST_WATCH_S))
