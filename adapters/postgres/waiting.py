"""The appends that wait for the writer: in the order they came, and not without bound."""

from __future__ import annotations

import asyncio
from collections import deque

from adapters.postgres.batch import Request


class Waiting:
    """A bounded queue for one reader; `asyncio.Queue` would be a twentieth of an append's cost.

    Args:
        limit: requests that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: deque[Request] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._requests)

    def offer(self, request: Request) -> bool:
        """Queue a request; false when there is no room."""
        if len(self._requests) >= self._limit:
            return False
        self._requests.append(request)
        if self._reader is not None:
            self._wake()
        return True

    async def put(self, request: Request) -> None:
        """Queue a request as soon as there is room."""
        while not self.offer(request):
            self._room.clear()
            await self._room.wait()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def first(self) -> Request:
        """The request that waits longest; for one reader at a time."""
        while not self._requests:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self.take()

    def take(self) -> Request:
        """The same, of a queue that is not empty."""
        self._room.set()
        return self._requests.popleft()
