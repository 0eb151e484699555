"""Ctrl-C and SIGTERM: the first one ends a run gracefully, or a set-up at once; the second ends anything."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvloop

from adapters.postgres.lost_copies import keep_quiet_about_lost_copies

STOPPED: Final = 128 + signal.SIGINT
"""Exit code of a command that was stopped before it had an answer, as a shell says it of Ctrl-C."""


class StopRequest:
    """Whether somebody wants this process to end.

    Attributes:
        asked: set by the first signal.
    """

    def __init__(self, task: asyncio.Task[int]) -> None:
        self.asked = asyncio.Event()
        self._task = task
        self._heeded = False
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._signal)

    def _signal(self) -> None:
        if self.asked.is_set() or not self._heeded:
            self._task.cancel()
        self.asked.set()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While this lasts, the block watches `asked` and ends by itself; elsewhere a signal cancels."""
        self._heeded = True
        try:
            yield
        finally:
            self._heeded = False


def run_stoppable(main: Callable[[StopRequest], Awaitable[int]]) -> int:
    """Run `main` until it returns its exit code, or a signal ends it; what it opened is closed either way."""

    async def stoppable() -> int:
        keep_quiet_about_lost_copies()

        async def body() -> int:
            return await main(stop)

        task = asyncio.ensure_future(body())
        stop = StopRequest(task)
        try:
            return await task
        except asyncio.CancelledError:
            sys.stderr.write("daybook: stopped before it was done; nothing was left running\n")
            return STOPPED

    return uvloop.run(stoppable())
