"""A connection that cannot be used after all is not left open."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import asyncpg
import pytest
from waiting import until

from adapters.postgres.migrate import migrate
from adapters.postgres.relay_source import RelaySource
from adapters.postgres.session import LogSession
from domain.errors import SetupError

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def nobody_connected(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(_OPEN) == 0
    finally:
        await connection.close()


async def cancelled(*_arguments: object) -> NoReturn:
    raise asyncio.CancelledError


async def test_a_session_of_a_database_without_a_log_is_dropped(database: str) -> None:
    """Nothing of the log is there to speak of."""
    with pytest.raises(SetupError, match="daybook migrate"):
        await LogSession.open(database)
    await until(lambda: nobody_connected(database))


async def test_a_relay_that_is_stopped_while_it_connects_drops_its_connection(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has connected, and does not listen yet."""
    await migrate(database)
    monkeypatch.setattr(asyncpg.Connection, "add_listener", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await RelaySource.open(database)
    await until(lambda: nobody_connected(database))
