"""Rings the doorbells of all processes: what one appends, the others hear.

A NOTIFY inside the append would cost a lone append a fifth of its time, and commits would queue up behind
the server's one lock of notices. So it follows the commit, on the connection that listens, and not more often
than followers can use. Who misses it polls.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncpg
import structlog

from adapters.postgres.connections import connect, explain
from adapters.postgres.doorbell import Doorbell
from domain.errors import DaybookError

CHANNEL: Final = "daybook_events"

GAP_S: Final = 0.005
"""Between two notices: a follower in another process is late by this at most."""

RELISTEN_PAUSE_S: Final = 1.0
"""Between attempts to listen again; meanwhile followers poll."""

FAREWELL_S: Final = 1.0
"""For the last notice, at the end."""

_NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', $1)"
_log = structlog.get_logger(__name__)


class Ringing:
    """Between this process's doorbell and the others'.

    Args:
        bell: rung for every append, ours and theirs.
    """

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._head = 0
        self._told = 0
        self._due = asyncio.Event()

    def appended(self, position: int) -> None:
        """Ring here at once, and elsewhere soon."""
        self._bell.ring(position)
        self._head = max(self._head, position)
        self._due.set()

    async def run(self, database_url: str) -> None:
        """Listen and notify until cancelled; connects again when the connection is lost."""
        while True:
            try:
                connection = await connect(database_url)
            except DaybookError as error:
                _log.warning("followers poll: listening failed", error=str(error))
            else:
                await self._until_lost(connection)
            await asyncio.sleep(RELISTEN_PAUSE_S)

    async def _until_lost(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        connection.add_termination_listener(lambda _connection: self._due.set())
        own = connection.get_server_pid()
        try:
            await connection.add_listener(
                CHANNEL, lambda _on, pid, _to, position: None if pid == own else self._heard(position)
            )
            self._bell.ring()
            while not connection.is_closed():
                await self._due.wait()
                self._due.clear()
                await self._notify(connection)
                await asyncio.sleep(GAP_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            _log.warning("followers poll: listening failed", error=str(explain(error)))
        finally:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await asyncio.wait_for(self._notify(connection), FAREWELL_S)
            connection.terminate()

    def _heard(self, position: object) -> None:
        self._bell.ring(int(str(position)))

    async def _notify(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        if self._head > self._told and not connection.is_closed():
            head = self._head
            await connection.execute(_NOTIFY, str(head))
            self._told = head
