"""Waiting until something holds, never for a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from adapters.postgres.event_log import PostgresEventLog
from domain.errors import LogUnavailable


async def until(holds: Callable[[], object | Awaitable[object]], *, timeout_s: float = 20.0) -> None:
    """Return as soon as `holds()` is true, awaited where it must be; TimeoutError after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await _answer(holds()):  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)


async def _answer(given: object | Awaitable[object]) -> object:
    return await given if isinstance(given, Awaitable) else given


async def until_open(url: str, *, timeout_s: float = 60.0) -> PostgresEventLog:
    """The log, as soon as its server answers; LogUnavailable after `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            return await PostgresEventLog.open(url)
        except LogUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)
