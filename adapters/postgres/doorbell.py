"""Wakes the followers of a log; a missed ring costs a poll interval, never an event."""

from __future__ import annotations

import asyncio


class Doorbell:
    """Any number of followers wait; every ring wakes them all.

    Attributes:
        position: the newest head that was rung; the log may be further.
    """

    def __init__(self) -> None:
        self.position = 0
        self._rung = asyncio.Event()

    def ring(self, position: int = 0) -> None:
        """Wake everybody who waits now; `position` is the head, where the one who rings knows it."""
        self.position = max(position, self.position)
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    def listen(self) -> asyncio.Event:
        """The next ring: take it before looking at the log, so that no ring falls between look and wait."""
        return self._rung


async def wait(ring: asyncio.Event, at_most_s: float) -> None:
    """Until the ring, or for so long."""
    try:
        async with asyncio.timeout(at_most_s):
            await ring.wait()
    except TimeoutError:
        return
