"""The log read lean gives every read model the rows of the log read whole, and says what it cannot decode."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from builders import random_history
from running import run_until_halted

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from commands.ports import StreamAppend
from domain.events import derived_id
from projections import pnl, trade_history
from projections.catalogue import READ_MODELS
from projections.runner import ProjectionRunner
from projections.verification import fold_from_nothing


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    """A log with every kind of story in it."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as opened:
        for event in random_history(51, 40).events:
            step = StreamAppend(
                event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
            )
            await opened.append([step], append_id=derived_id("append", event.position))
        yield opened


async def test_every_read_model_folds_the_same_from_lean_rows(log: PostgresEventLog) -> None:
    head = await log.head()
    for model in READ_MODELS:
        whole = await fold_from_nothing(model, log, head, frozenset())
        lean = await fold_from_nothing(model, FoldSource(log, model), head, frozenset())
        assert lean == whole
        assert any(whole.values())


async def test_pages_are_those_of_the_log(log: PostgresEventLog) -> None:
    model = trade_history.READ_MODEL
    source = FoldSource(log, model)
    for after, limit, through in ((0, 7, None), (30, 500, 90), (30, 2, 31)):
        expected = await log.read(after, limit, through=through, topics=model.topics)
        found = await source.read(after, limit, through=through, topics=model.topics)
        assert [(e.position, e.stream, e.topic, e.recorded_at, e.slot, e.cause) for e in found] == [
            (e.position, e.stream, e.topic, e.recorded_at, e.slot, e.cause) for e in expected
        ]
    assert [event.position for event in await source.read(0, 5)] == [1, 2, 3, 4, 5]
    async for batch in source.follow(10, topics=model.topics, limit=3):
        assert [e.position for e in batch] == [e.position for e in await log.read(10, 3, topics=model.topics)]
        break


async def test_bytes_that_cannot_be_decoded_are_poison_with_a_sentence(
    log: PostgresEventLog, database: str
) -> None:
    """The record's guard is lifted for the test: an owner of the database could do this too."""
    owner = await asyncpg.connect(database)
    await owner.execute("ALTER TABLE events DISABLE TRIGGER never_changed")
    position = await owner.fetchval(
        "update events set data = '{}' where position = "
        "(select min(position) from events where type = 'wallet.transferred' and position > 20) "
        "returning position"
    )
    await owner.close()
    runner = ProjectionRunner(pnl.READ_MODEL, FoldSource(log, pnl.READ_MODEL), MemoryReadStore())
    await run_until_halted(runner)
    assert f"at position {position}" in (runner.status.error or "")
    assert "cannot be decoded" in (runner.status.error or "")
