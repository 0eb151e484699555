"""Each question to the log goes through the index made for it, in every partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from logged import AT, new_id, order_placed, pool_updated, to

from adapters.postgres import history
from adapters.postgres.envelopes import page_query
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    await migrate(database)
    owner = await asyncpg.connect(database)
    await owner.execute("SELECT extend_events(25_000_000)")  # three partitions of each category
    await owner.close()
    async with await PostgresEventLog.open(database) as opened:
        await opened.append([to("pool-1", *[pool_updated(n) for n in range(300)])], append_id=new_id())
        for n in range(30):
            order = to(f"order-{n}", order_placed(f"order-{n}"), expected=0, at=AT + n)
            await opened.append([order], append_id=new_id())
        yield opened


async def plan(log: PostgresEventLog, query: str, *arguments: object) -> str:
    """How PostgreSQL means to answer."""
    return "\n".join(row[0] for row in await log.pool.fetch(f"EXPLAIN {query}", *arguments))


@pytest.mark.parametrize(
    ("query", "arguments", "index"),
    [
        (f"{history._STREAM} LIMIT $4", ("pool-1", 5, 2**62, 10), "stream_version_key"),
        (f"{history._STREAM} DESC LIMIT $4", ("pool-1", 5, 2**62, 10), "stream_version_key"),
        (history._STORY, (uuid4(), 0, 10), "correlation_id_position_idx"),
        (history._ROOTS, (uuid4(), 5, 50, 10), "pkey"),
        (history._TIME, (AT, AT + 9, AT, 5, 10), "recorded_at_position_idx"),
        (*page_query(5, 50, 10, None), "pkey"),
        (*page_query(5, 50, 10, ["order.placed"]), "pkey"),
    ],
    ids=["stream", "stream backwards", "story", "roots of a story", "time", "position", "type"],
)
async def test_a_question_uses_its_index(
    log: PostgresEventLog, query: str, arguments: tuple[Any, ...], index: str
) -> None:
    """Every leaf that is looked at is looked at through it; nothing is sorted, nothing read whole."""
    said = await plan(log, query, *arguments)
    scans = [line for line in said.splitlines() if "Scan" in line]
    assert scans
    assert all(index in line for line in scans), said
    assert "Sort" not in said.replace("Sort Key", ""), said
    assert "Index Cond" in said
