"""What a process of the self-test is told on its standard input: when to end, and at which position."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


async def orders() -> asyncio.StreamReader:
    """Standard input, read by the event loop: a thread that waits for it would keep a process from ending."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def until_told_to_end(work: asyncio.Future[list[None]]) -> None:
    """Until standard input closes, or the work ends by itself."""
    closed = asyncio.create_task((await orders()).read())
    either: tuple[asyncio.Future[Any], ...] = (work, closed)
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    closed.cancel()
