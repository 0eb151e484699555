"""The appends that wait for the writer: in the order they came, and not without bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from adapters.postgres.batch import Request


class Waiting:
    """A bounded queue; `asyncio.Queue` would be a twentieth of an append's cost.

    Of several readers that have nothing to do, the one that had something last is woken: a lone caller's
    appends all go the same way, while the other readers sleep.

    Args:
        limit: requests that may wait.
        limit_bytes: of events that may wait; one request is let in below it, however large.

    Attributes:
        size: bytes of events that wait.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self.size = 0
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._requests: deque[Request] = deque()
        self._readers: list[asyncio.Future[None]] = []
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def offer(self, request: Request) -> bool:
        """Queue a request; false when there is no room."""
        if len(self._requests) >= self._limit or self.size >= self._limit_bytes:
            return False
        self.size += request.size
        self._requests.append(request)
        if len(self._requests) == 1:
            self.wake()
        return True

    async def room(self) -> None:
        """Sleep until a request was taken; others may have filled its place by then."""
        self._room.clear()
        await self._room.wait()

    def wake(self) -> None:
        """Wake a reader, if there is one that sleeps."""
        while self._readers:
            reader = self._readers.pop()
            if not reader.done():  # else it was cancelled
                reader.set_result(None)
                return

    async def some(self) -> None:
        """Sleep until something waits; another reader may have taken it by then."""
        if not self._requests:
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            await reader

    def take(self) -> Request:
        """The request that waits longest, of a queue that is not empty."""
        self._room.set()
        request = self._requests.popleft()
        self.size -= request.size
        return request
