"""A log of any size in a moment, and a hand that alters it: for tests and benchmarks of the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from logged import AT, STORY, order_placed, pool_updated

from adapters.postgres.codec import encode
from adapters.postgres.hash_chain import GENESIS, link
from adapters.postgres.rows import COLUMNS, Row
from domain.events import event_id

EXTRA = "category"
GUARDED = ("events", "audit_checkpoints", "audit_nodes")


def rows(count: int, *, after: int = 0, before: bytes = GENESIS) -> Iterator[tuple[object, ...]]:
    """Rows as the writer makes them: three market events, then one of an order, and so on."""
    digest = before
    placed = encode(order_placed("order-1"))
    for position in range(after + 1, after + count + 1):
        domain = position % 4 == 0
        stream = f"order-{position}" if domain else f"pool-{position % 3}"
        version = 1 if domain else position
        data = placed if domain else encode(pool_updated(position))
        row: Row = (
            position, stream, version, "order.placed" if domain else "market.pool_updated", 1, AT + position,
            event_id(stream, version), UUID(int=position) if domain else None, STORY,
            "coordinator" if domain else "recorder", None if domain else position, data,
        )  # fmt: skip
        digest = link(digest, row)
        yield (*row, digest, "domain" if domain else "market")


async def fill(database_url: str, count: int, *, after: int = 0, before: bytes = GENESIS) -> bytes:
    """Append `count` events past the writer, as the database's owner; returns the last hash."""
    made = list(rows(count, after=after, before=before))
    head_hash = made[-1][-2]
    assert isinstance(head_hash, bytes)
    connection = await asyncpg.connect(database_url)
    try:
        columns = [*COLUMNS.split(", "), EXTRA]
        await connection.copy_records_to_table("events", records=made, columns=columns)
        await connection.execute("UPDATE log_head SET position = $1, hash = $2", after + count, head_hash)
    finally:
        await connection.close()
    return head_hash


@asynccontextmanager
async def altered(
    owner: asyncpg.Connection[asyncpg.Record],
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Inside, the tables' owner may change and remove what the triggers guard: as an attacker would."""
    async with owner.transaction():
        for table in GUARDED:
            await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
        yield owner
        for table in GUARDED:
            await owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER never_changed")
