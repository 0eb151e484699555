"""Turns: so many at once, in the order they came, and nobody holds the others up for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A gate that so many pass at once.

    Args:
        at_once: how many.
        patience_s: who takes longer goes on, but lets the next one in.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._patience_s = patience_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is ours; first come, first served."""
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        await self._free.acquire()
        late = asyncio.get_running_loop().call_later(self._patience_s, leave)
        try:
            yield
        finally:
            late.cancel()
            leave()
