"""Keeps an event loop from reporting a COPY's lost connection, which its caller was told of.

uvloop refuses to write to a lost connection, where asyncio ignores it. asyncpg (0.32.0, `Protocol.copy_in`)
meets that refusal while it ends the COPY, raises it, and leaves the future that tells of the loss unread.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg


def keep_quiet_about_lost_copies() -> None:
    """For the running event loop; whatever else it has to report, it reports as before."""

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(report)
