"""Pages whose facts are decoded together are what their rows are one by one, and errors name their row."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from builders import random_history
from logged import new_id, pool_updated, to

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from commands.ports import StreamAppend
from domain.errors import DecodeError
from domain.events import derived_id, event_id


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    """Market events between the events of many orders."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as opened:
        for event in random_history(7, 8).events:
            step = StreamAppend(
                event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
            )
            await opened.append([step], append_id=derived_id("append", event.position))
            await opened.append([to("pool-1", pool_updated(event.position))], append_id=new_id())
        yield opened


async def test_a_page_is_what_its_rows_are(log: PostgresEventLog) -> None:
    rows = await log.read_rows(0, 1_000)
    page = await log.read(0, 1_000)
    assert len({event.topic for event in page}) > 5
    assert page == [row.recorded() for row in rows]
    for event, row in zip(page, rows, strict=True):
        assert event.event_id == row.event_id == event_id(row.stream, row.version)
        assert event.cause == (row.correlation_id, row.causation_id, row.actor)
    assert await log.read(0, 0) == []


@pytest.mark.parametrize("data", ["{}", "", "[]", "{},{}", "not json"])
@pytest.mark.parametrize("topic", ["market.pool_updated", "order.placed"])
async def test_bytes_that_do_not_fit_are_named_by_their_position(
    log: PostgresEventLog, database: str, topic: str, data: str
) -> None:
    """Whatever one row does to those decoded with it, the others are not blamed."""
    owner = await asyncpg.connect(database)
    await owner.execute("ALTER TABLE events DISABLE TRIGGER never_changed")
    position = await owner.fetchval(
        "update events set data = $2 where position = "
        "(select min(position) from events where type = $1 and position > 10) returning position",
        topic,
        data.encode(),
    )
    await owner.close()
    with pytest.raises(DecodeError, match=f"at position {position},"):
        await log.read(0, 1_000)
    assert len(await log.read(0, position - 1)) == position - 1
