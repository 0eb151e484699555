"""A JetStream that may be killed, and a log, for the tests of the relay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats_server import NatsServer

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    started = NatsServer(tmp_path)
    await started.start()
    yield started
    started.stop()


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    await migrate(database)
    async with await PostgresEventLog.open(database) as opened:
        yield opened
