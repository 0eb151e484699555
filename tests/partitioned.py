"""Logs with partitions so small that tests cross many, and rows that are chained outside a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg
import pytest
from logged import new_id, order_placed, pool_updated, to

from adapters.postgres import session, writer
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import GENESIS, link
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import Row, StoredEvent
from domain.events import event_id

SPAN = 50
"""Positions of one partition."""


async def migrate_with_small_partitions(url: str) -> None:
    """An empty log whose partitions hold `SPAN` positions."""
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "DROP TABLE events_market_000000, events_domain_000000;"
            "CREATE OR REPLACE FUNCTION partition_span() RETURNS bigint LANGUAGE sql IMMUTABLE "
            f"AS 'SELECT {SPAN}::bigint'; SELECT extend_events(0)"
        )
    finally:
        await connection.close()


@contextmanager
def partitions_made_in_time(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The writers look ahead in proportion to partitions of `SPAN`."""
    with patch.context() as patched:
        patched.setattr(session, "EXTEND_AHEAD", 20 * SPAN)
        patched.setattr(writer, "EXTEND_EVERY", 2 * SPAN)
        yield


async def fill(log: PostgresEventLog, events: int, *, pools: int = 5, first: int = 0) -> None:
    """Stories of three market events, in turns over the pools, and one order."""
    for number in range(first, first + events // 4):
        order = f"order-{number}"
        market = [pool_updated(number * 3 + n) for n in range(3)]
        await log.append(
            [to(f"pool-{number % pools}", *market), to(order, order_placed(order), expected=0)],
            append_id=new_id(),
        )


def chained(rows: Sequence[Row], before: bytes = GENESIS) -> list[tuple[StoredEvent, bytes]]:
    """Rows with their hashes, and the hash before each."""
    made = []
    for row in rows:
        digest = link(before, row)
        made.append((StoredEvent._make((*row, digest)), before))
        before = digest
    return made


def row(position: int, stream: str, version: int, data: bytes, topic: str = "market.pool_updated") -> Row:
    """A row whose bytes are whatever is given."""
    id_ = event_id(stream, version)
    return (position, stream, version, topic, 1, 1_000 + position, id_, None, id_, "tests", None, data)
