"""Waiting until something holds, never for a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object], *, timeout_s: float = 20.0) -> None:
    """Return as soon as `holds()` is true; TimeoutError after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)
