"""Every implementation of each port, so that one suite holds them all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from logged import Kept, Log

from adapters.memory.bookmarks import MemoryBookmarks
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.snapshots import MemorySnapshots
from adapters.postgres.bookmarks import PostgresBookmarks
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.leases import PostgresLeases
from adapters.postgres.migrate import migrate
from adapters.postgres.snapshots import PostgresSnapshots


@pytest.fixture(params=["memory", "postgres"])
def log_place(request: pytest.FixtureRequest) -> str | None:
    """Nothing for memory, a fresh database for PostgreSQL; a fixture that waits cannot ask for another."""
    return str(request.getfixturevalue("database")) if request.param == "postgres" else None


@pytest.fixture
async def kept(log_place: str | None) -> AsyncIterator[Kept]:
    """Both implementations, empty."""
    if log_place is None:
        memory = MemoryEventLog()
        yield Kept(memory, memory.leases, MemoryBookmarks(), MemorySnapshots())
        return
    await migrate(log_place)
    async with await PostgresEventLog.open(log_place) as log:
        yield Kept(log, PostgresLeases(log.pool), PostgresBookmarks(log.pool), PostgresSnapshots(log.pool))


@pytest.fixture
def log(kept: Kept) -> Log:
    """The log alone."""
    return kept.log
