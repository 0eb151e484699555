"""Everything that goes wrong on purpose: connections cut, transactions that take their time, kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import asyncpg

from adapters.embedded import stack
from adapters.postgres.connections import AWAY, CONNECT_TIMEOUT_S
from domain.errors import SetupError

CUT_EVERY_S: Final = (0.05, 0.4)
"""Between two cuts of a connection."""

SERVER_EVERY_S: Final = (1.5, 5.0)
"""Between a server that answers and its next kill."""

WRITER_EVERY_S: Final = (1.0, 4.0)
"""Between two kills of a writing process."""

HOLD_FENCE_S: Final = 0.02
"""A stranger that locks the log's head and sits on it: every writer must wait for it."""

HOLD_TRANSACTION_S: Final = 0.5
"""A client that has written something, keeps its transaction open, and holds its connection."""

RETURN_S: Final = 60.0
"""A killed server is back in about two seconds."""

COMMAND_TIMEOUT_S: Final = 10.0
_CONNECTIONS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daybook'"
)
_FENCE: Final = "SELECT FROM log_head WHERE single FOR UPDATE"


@dataclass(slots=True)
class Damage:
    """What was done.

    Attributes:
        connection_kills: connections cut with pg_terminate_backend.
        server_kills: kill -9 of the whole PostgreSQL.
        writer_kills: kill -9 of a writing process, which was started again.
        slow_transactions: transactions that a client held open.
    """

    connection_kills: int = 0
    server_kills: int = 0
    writer_kills: int = 0
    slow_transactions: int = 0

    @property
    def kills(self) -> int:
        """All of them."""
        return self.connection_kills + self.server_kills + self.writer_kills


class Saboteur:
    """Does damage at random moments, the same ones for the same seed as far as the machine allows.

    Args:
        url: the scratch database.
        random: chooses moments and victims.
    """

    def __init__(self, url: str, random: Random) -> None:
        self.damage = Damage()
        self._url = url
        self._random = random

    async def cut_connections(self) -> None:
        """Terminate one connection of writers or reader after the other, until cancelled."""

        async def cut(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            while True:
                await self._pause(CUT_EVERY_S)
                pids = [row["pid"] for row in await connection.fetch(_CONNECTIONS)]
                if pids:
                    victim = self._random.choice(sorted(pids))
                    self.damage.connection_kills += await connection.fetchval(
                        "SELECT pg_terminate_backend($1)::int", victim
                    )

        await self._again_and_again(cut)

    async def hold_the_fence(self) -> None:
        """A stranger locks the row every append moves, and keeps it for 20 ms, until cancelled."""

        async def hold(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            while True:
                async with connection.transaction():
                    await connection.execute(_FENCE)
                    await asyncio.sleep(HOLD_FENCE_S)
                self.damage.slow_transactions += 1
                await self._pause(CUT_EVERY_S)

        await self._again_and_again(hold)

    async def hold_transactions(self) -> None:
        """A client with a transaction id and an old snapshot sits on its connection, until cancelled."""

        async def hold(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            while True:
                async with connection.transaction(isolation="repeatable_read"):
                    await connection.execute("SELECT pg_current_xact_id()")
                    await asyncio.sleep(HOLD_TRANSACTION_S)
                self.damage.slow_transactions += 1

        await self._again_and_again(hold)

    async def kill_servers(self, stack_folder: Path) -> None:
        """Kill -9 of the whole PostgreSQL, again as soon as it is back for a while, until cancelled."""
        while True:
            await self._pause(SERVER_EVERY_S)
            os.kill(await _postgres(stack_folder), signal.SIGKILL)
            self.damage.server_kills += 1
            await self._answers()

    async def kill_writers(self, kill_one: Callable[[], Awaitable[None]]) -> None:
        """Kill -9 of a writing process, until cancelled."""
        while True:
            await self._pause(WRITER_EVERY_S)
            await kill_one()
            self.damage.writer_kills += 1

    async def _again_and_again(
        self, act: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[None]]
    ) -> None:
        """The saboteur's own connection dies with the server, too."""
        while True:
            with contextlib.suppress(*AWAY, asyncpg.SerializationError):
                connection = await asyncpg.connect(
                    self._url, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S
                )
                try:
                    await act(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(CUT_EVERY_S[1])

    async def _answers(self) -> None:
        try:
            async with asyncio.timeout(RETURN_S):
                while not await answers(self._url):  # noqa: ASYNC110 - a server that starts sets no event
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise SetupError(
                f"PostgreSQL was killed and did not come back within {RETURN_S:.0f} s: see logs/postgres.log "
                "and logs/supervisor.log in the data folder"
            ) from error

    async def _pause(self, between_s: tuple[float, float]) -> None:
        await asyncio.sleep(self._random.uniform(*between_s))


async def answers(url: str) -> bool:
    """Whether the server takes a query now."""
    with contextlib.suppress(*AWAY):
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        try:
            return bool(await connection.fetchval("SELECT true", timeout=CONNECT_TIMEOUT_S))
        finally:
            connection.terminate()
    return False


async def _postgres(stack_folder: Path) -> int:
    """The process id of the stack's PostgreSQL, as soon as there is one."""
    async with asyncio.timeout(RETURN_S):
        while True:
            for server in await asyncio.to_thread(stack.status, stack_folder):
                if server.name == "postgres" and server.pid is not None:
                    return server.pid
            await asyncio.sleep(0.1)
