"""Run services side by side: what is away is waited for, what is broken stops everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from domain.errors import ChainUnavailable, DeliveryError, LogUnavailable

Service = Callable[[], Awaitable[None]]
"""Runs until cancelled; every start is also a recovery."""

AWAY: Final = (LogUnavailable, ChainUnavailable, DeliveryError)
"""Errors that pass when the other side comes back."""

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
"""A server that restarts is back within seconds; asking more often only fills the log."""

CANCEL_AGAIN_S: Final = 0.5
"""Closing a connection takes milliseconds; a service that still runs after this has not heard."""

log = structlog.get_logger()


class Supervisor:
    """Keeps services running, and lets one be stopped by name."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, service: Service) -> None:
        """Run a service from now on."""
        self._tasks[name] = self._group.create_task(_keep_running(name, service), name=name)

    async def stop(self, *names: str) -> None:
        """Cancel these services and wait until they have ended; unknown names are an error of the caller."""
        await asyncio.gather(*(_end(self._tasks.pop(name)) for name in names))

    async def stop_all(self) -> None:
        """Cancel what still runs, newest first."""
        await self.stop(*reversed(self._tasks))


@asynccontextmanager
async def supervised(services: Mapping[str, Service]) -> AsyncIterator[Supervisor]:
    """Run the services while the block runs; the first that breaks ends the block with its error."""
    try:
        async with asyncio.TaskGroup() as group:
            supervisor = Supervisor(group)
            for name, service in services.items():
                supervisor.start(name, service)
            yield supervisor
            await supervisor.stop_all()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: before Python 3.12 `wait_for` may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


async def _keep_running(name: str, service: Service) -> None:
    pause_s = FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        try:
            await service()
        except AWAY as error:
            if time.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S  # it ran well: this is another outage
            log.warning("service waits", service=name, error=str(error), pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        else:
            return
