"""A connection that cannot be used after all is not left open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import asyncpg
import pytest
from waiting import until

from adapters.postgres.migrate import migrate
from adapters.postgres.relay_source import RelaySource
from adapters.postgres.session import LogSession

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def nobody_connected(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(_OPEN) == 0
    finally:
        await connection.close()


async def cancelled(*_arguments: object) -> NoReturn:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("opened", "step"), [(LogSession.open, "prepare"), (RelaySource.open, "add_listener")]
)
async def test_who_is_stopped_while_he_opens_drops_his_connection(
    opened: Callable[[str], Awaitable[object]], step: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has connected, and is not ready yet."""
    await migrate(database)
    monkeypatch.setattr(asyncpg.Connection, step, cancelled)
    with pytest.raises(asyncio.CancelledError):
        await opened(database)
    await until(lambda: nobody_connected(database))
