"""Waits for news of a signature: woken by the node's subscription, or by the clock when nothing wakes it."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from commands.ports import Chain
from domain.chain import Signature
from domain.errors import ChainError

_log = structlog.get_logger(__name__)


class Watch:
    """Listens for one signature at a time. A hint only: whoever is woken asks the node for the status."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._news = asyncio.Event()
        self._signature: Signature | None = None
        self._listener: asyncio.Task[None] | None = None

    def follow(self, signature: Signature) -> None:
        """Listen for this signature from now on; nothing changes when it is the one listened for."""
        if signature != self._signature:
            self._stop()
            self._signature = signature
            self._listener = asyncio.create_task(self._listen(signature))

    async def wait(self, timeout_s: float) -> None:
        """Until there is news, or `timeout_s` has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    async def close(self) -> None:
        """Listen no more."""
        listener = self._listener
        self._stop()
        if listener is not None:
            await asyncio.gather(listener, return_exceptions=True)

    def _stop(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    async def _listen(self, signature: Signature) -> None:
        try:
            async for _ in self._chain.settlements(signature):
                self._news.set()
        except ChainError as error:
            _log.debug("no subscription; polling goes on", signature=signature, error=str(error))
