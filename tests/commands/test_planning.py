"""The planner: history is folded, news is decided on once, and a finding names the tick that caused it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from ended import ended
from eventsourcing.domain import BaseAggregate
from given import CORRELATION, POOL_A, POOL_B, a_strategy, a_wallet, pool
from waiting import until

from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import decisions
from commands.planning import Planner
from commands.ports import StreamAppend
from domain.events import ANY_VERSION, Cause, RecordedEvent
from domain.market.events import PoolUpdated

DEAR = 165_000_000_000
STORY = Cause(CORRELATION, None, "test")


async def _see(log: MemoryEventLog, *updates: PoolUpdated) -> None:
    """What the recorder would append."""
    for update in updates:
        cause = Cause(uuid4(), None, "recorder")
        append = StreamAppend(f"pool-{update.pool}", ANY_VERSION, [update], cause, 77)
        await log.append([append], append_id=uuid4())


async def _put(log: MemoryEventLog, *aggregates: BaseAggregate[str]) -> None:
    for aggregate in aggregates:
        await log.append(decisions(aggregate, STORY, 1), append_id=uuid4())


@asynccontextmanager
async def _planning(log: MemoryEventLog) -> AsyncIterator[None]:
    task = asyncio.create_task(Planner(log, lambda: 99).run())
    for _ in range(20):  # a log in memory answers in a turn of the loop: history is folded by then
        await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.05)  # a planner that would find too much has had its time
    finally:
        await ended(task)


async def _found(log: MemoryEventLog) -> list[RecordedEvent]:
    return await log.read(topics={"opportunity.found"})


async def test_news_that_opens_a_cycle_is_found_once_and_names_its_cause() -> None:
    log = MemoryEventLog()
    await _put(log, a_strategy(), a_wallet())
    async with _planning(log):
        await _see(log, pool(), pool(POOL_B, usdc=DEAR))
        await until(lambda: _found(log))
    (found,) = await _found(log)
    tick = (await log.read_stream(f"pool-{POOL_B}"))[0]
    assert found.cause == tick.leads_to("planner")
    assert (found.event.seen_at, found.event.slot) == (77, 100)
    assert [leg.pool for leg in found.event.legs] == [POOL_B, POOL_A]


async def test_history_is_not_decided_on() -> None:
    """What was worth doing before the start has passed; the next tick is looked at."""
    log = MemoryEventLog()
    await _put(log, a_strategy(), a_wallet())
    await _see(log, pool(), pool(POOL_B, usdc=DEAR))
    async with _planning(log):
        assert await _found(log) == []
        await _see(log, pool(slot=101))
        await until(lambda: _found(log))


async def test_a_stopped_strategy_and_a_wallet_without_money_find_nothing() -> None:
    log = MemoryEventLog()
    stopped = a_strategy("stopped")
    stopped.stop("user", at=2)
    await _put(log, stopped, a_strategy("poor", wallet="wallet-unknown"), a_wallet())
    async with _planning(log):
        await _see(log, pool(), pool(POOL_B, usdc=DEAR))
    assert await _found(log) == []


async def test_two_planners_find_the_same_once() -> None:
    """The opportunity's id follows from the states: the second is a repetition."""
    log = MemoryEventLog()
    await _put(log, a_strategy(), a_wallet())
    async with _planning(log), _planning(log):
        await _see(log, pool(), pool(POOL_B, usdc=DEAR))
        await until(lambda: _found(log))
    assert len(await _found(log)) == 1
