"""The read side over the real log: appended in PostgreSQL, folded in PostgreSQL, followed live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from builders import History, landed_trade, random_history

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from commands.ports import StreamAppend
from domain.errors import ReadStoreUnavailable
from domain.events import RecordedEvent, derived_id
from projections import opportunities, pnl, stories, trade_history, wallet_balances
from projections.runner import ProjectionRunner

MODELS = tuple(module.READ_MODEL for module in (wallet_balances, pnl, trade_history, opportunities, stories))


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    await migrate(database)
    async with await PostgresEventLog.open(database) as opened:
        yield opened


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresReadStore]:
    async with open_read_store(database) as opened:
        yield opened


async def append(log: PostgresEventLog, events: list[RecordedEvent]) -> None:
    """Write a history down, in its order, one append for each event."""
    for event in events:
        step = StreamAppend(
            event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
        )
        await log.append([step], append_id=derived_id("append", event.position))


async def test_what_is_followed_live_equals_what_is_folded_afterwards(
    log: PostgresEventLog, store: PostgresReadStore
) -> None:
    """While the log grows the runners follow it; who waits for the last position sees it all."""
    events = random_history(21, 25).events
    runners = [ProjectionRunner(model, FoldSource(log, model), store, idle_s=0.02) for model in MODELS]
    running = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        await append(log, events)
        assert await log.read(limit=10_000) == events
        for model in MODELS:
            assert await store.wait_for(model.name, len(events), timeout_s=20) == len(events)
        assert [await runner.lag() for runner in runners] == [0] * len(MODELS)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    again = MemoryReadStore()
    for model in MODELS:
        await ProjectionRunner(model, log, again).catch_up()
    everything = trade_history.TradeFilter()
    assert await trade_history.trades(store, everything, first=500) == await trade_history.trades(
        again, everything, first=500
    )
    assert await pnl.pnl(store, by=pnl.Grouping.DAY) == await pnl.pnl(again, by=pnl.Grouping.DAY)
    assert await wallet_balances.wallet_balances(store) == await wallet_balances.wallet_balances(again)
    found = await opportunities.opportunities(store, first=500)
    assert found == await opportunities.opportunities(again, first=500)
    assert found.items
    assert await store.dead_letters() == []


async def test_a_story_is_read_back_from_the_log(log: PostgresEventLog, store: PostgresReadStore) -> None:
    """The events of one trade, found among others by its correlation id, its market event first."""
    history = History()
    history.open_wallet()
    for number in range(3):
        landed_trade(history, f"trade-{number}")
    await append(log, history.events)
    await ProjectionRunner(stories.READ_MODEL, log, store).catch_up()
    for root in (event for event in history.events if event.topic == "market.pool_updated"):
        told, position = await stories.story(store, log, root.cause.correlation_id)
        mine = [e for e in history.events if e.cause.correlation_id == root.cause.correlation_id]
        assert (told, position) == (mine, len(history.events))


async def test_read_models_without_a_server_are_refused_with_a_sentence() -> None:
    with pytest.raises(ReadStoreUnavailable, match="DAYBOOK_DATABASE_URL"):
        async with open_read_store("postgresql://nobody@127.0.0.1:1/nothing"):
            pass
