"""Services side by side: what is away is waited for, what is broken stops all, what is stopped has ended."""

from __future__ import annotations

import asyncio

import pytest
from waiting import until

from daybook.supervise import supervised
from domain.errors import InvariantBroken, LogUnavailable


async def test_what_is_away_is_tried_again() -> None:
    starts = 0

    async def service() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise LogUnavailable("away")
        await asyncio.Event().wait()

    async with supervised({"service": service}):
        await until(lambda: starts == 3)


async def test_what_is_broken_stops_the_others_and_is_raised() -> None:
    ended = asyncio.Event()

    async def broken() -> None:
        raise InvariantBroken("no")

    async def healthy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(InvariantBroken):
        async with supervised({"healthy": healthy, "broken": broken}):
            await asyncio.Event().wait()
    assert ended.is_set()


async def test_a_service_that_swallows_a_cancellation_is_stopped_all_the_same() -> None:
    """As `asyncio.wait_for` does before Python 3.12 when its future is done at that moment."""
    cancelled = 0

    async def deaf() -> None:
        nonlocal cancelled
        while cancelled < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1

    async with supervised({"deaf": deaf}) as supervisor:
        await asyncio.sleep(0)
        await asyncio.wait_for(supervisor.stop("deaf"), timeout=10)
    assert cancelled == 2
