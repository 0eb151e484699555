"""The coordinator: stale, too risky or unpaid for is declined; else intent and funds are one append."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from ended import ended
from eventsourcing.domain import BaseAggregate
from given import (
    CORRELATION,
    OWNER,
    SOL,
    a_strategy,
    a_wallet,
    an_opportunity,
    an_order,
    limits,
    moved,
    pool,
    signed,
)
from waiting import until

from adapters.memory.bookmarks import MemoryBookmarks
from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import Aggregates, decisions
from commands.coordinating import Coordinator
from commands.ports import Appended, Fence, StreamAppend
from commands.strategies import Strategies
from domain.chain import NATIVE, Signature, Slot
from domain.errors import LogUnavailable
from domain.events import ANY_VERSION, Cause, RecordedEvent
from domain.money import Lamports
from domain.strategies.strategy import Strategy
from domain.trading.order import order_stream
from domain.wallets.wallet import Wallet

STORY = Cause(CORRELATION, None, "test")
NOW = 1_000_000


class World:
    """A log with a strategy and a wallet, and coordinators over it."""

    def __init__(self, log: MemoryEventLog | None = None) -> None:
        self.log = log or MemoryEventLog()
        self.bookmarks = MemoryBookmarks()
        self.now = NOW

    async def put(self, *aggregates: BaseAggregate[str]) -> None:
        for aggregate in aggregates:
            await self.log.append(decisions(aggregate, STORY, NOW), append_id=uuid4())

    @asynccontextmanager
    async def coordinating(self, bookmarks: MemoryBookmarks | None = None) -> AsyncIterator[None]:
        coordinator = Coordinator(
            self.log, Aggregates(self.log), bookmarks or self.bookmarks, lambda: self.now
        )
        task = asyncio.create_task(coordinator.run())
        try:
            yield
            await asyncio.sleep(0.05)  # one that would decide too much has had its time
        finally:
            await ended(task)

    async def decided(self, name: str = "opportunity-1") -> list[str]:
        """The reasons it was declined for, or the topics of its order."""
        declined = [r.event.reason for r in (await self.log.read_stream(name))[1:]]
        return declined or [r.topic for r in await self.log.read_stream(order_stream(name))]


async def _decide(
    strategy: Strategy | None = None, wallet: Wallet | None = None, *others: BaseAggregate[str], late: int = 0
) -> tuple[World, list[str]]:
    world = World()
    await world.put(strategy or a_strategy(), wallet or a_wallet(), *others)
    async with world.coordinating():
        world.now += late
        await world.put(an_opportunity())
        await until(world.decided)
    return world, await world.decided()


async def test_a_good_opportunity_becomes_an_order_with_its_funds_in_one_append() -> None:
    world, decided = await _decide()
    assert decided == ["order.placed"]
    found, reserved, placed = (await world.log.read())[-3:]
    assert (reserved.topic, placed.topic) == ("wallet.funds_reserved", "order.placed")
    assert reserved.cause == placed.cause == found.leads_to("coordinator")
    assert reserved.event.order == placed.stream
    assert (reserved.event.amount, reserved.event.native_lamports) == (SOL, 6_200)
    assert placed.event.seen_at == found.event.seen_at


def _stopped() -> Strategy:
    strategy = a_strategy()
    strategy.stop("user", at=2)
    return strategy


def _halted() -> Wallet:
    wallet = a_wallet()
    wallet.compare(NATIVE, 1, Slot(9), at=3)
    return wallet


@pytest.mark.parametrize(
    ("strategy", "wallet", "late", "reason"),
    [
        (None, None, 5_000_001, "stale"),
        (_stopped(), None, 0, "strategy_stopped"),
        (a_strategy(limits=limits(max_order_input=1)), None, 0, "order_too_large"),
        (None, a_wallet(wsol=SOL - 1), 0, "insufficient_funds"),
        (None, _halted(), 0, "wallet_halted"),
    ],
)
async def test_what_must_not_be_done_is_declined(
    strategy: Strategy | None, wallet: Wallet | None, late: int, reason: str
) -> None:
    """The reason is on record in the opportunity's stream."""
    _, decided = await _decide(strategy, wallet, late=late)
    assert decided == [reason]


async def test_old_by_slots_is_stale() -> None:
    """The market has moved 151 slots past the state it was decided on."""
    world = World()
    await world.put(a_strategy(), a_wallet())
    tick = StreamAppend("pool-x", ANY_VERSION, [pool(slot=251)], STORY, NOW)
    await world.log.append([tick], append_id=uuid4())
    async with world.coordinating():
        await world.put(an_opportunity(slot=100))
        await until(world.decided)
    assert await world.decided() == ["stale"]


async def test_open_orders_are_counted_at_once() -> None:
    """Three opportunities in one batch, two open orders allowed."""
    world = World()
    await world.put(a_strategy(), a_wallet())
    names = ["opportunity-1", "opportunity-2", "opportunity-3"]
    await world.put(*(an_opportunity(name) for name in names))
    async with world.coordinating():
        await until(lambda: world.decided("opportunity-3"))
    assert [await world.decided(name) for name in names] == [
        ["order.placed"],
        ["order.placed"],
        ["too_many_open_orders"],
    ]


async def test_the_loss_that_trips_the_limit_stops_the_strategy() -> None:
    """A failed order cost more than may be lost: declined, and the strategy's stop is in the same append."""
    wallet, order = a_wallet(), signed(an_order("opportunity-0"))
    order.fail(Slot(9), "slippage", Lamports(SOL), at=3)
    wallet.book("fee", Signature("sig-1"), Slot(9), moved(NATIVE, -SOL), 4, order.id)
    world = World()
    await world.put(a_strategy(), order, wallet)
    async with world.coordinating():
        await world.put(an_opportunity())
        await until(world.decided)
    assert await world.decided() == ["max_loss_lamports"]
    stopped = (await world.log.read_stream("strategy-one"))[-1]
    assert (stopped.topic, stopped.event.reason) == ("strategy.stopped", "max_loss_lamports")


async def test_a_resumed_strategy_counts_its_losses_anew() -> None:
    """The loss that stopped it stops it no more, also for a coordinator that is started later."""
    wallet, order = a_wallet(), signed(an_order("opportunity-0"))
    order.fail(Slot(9), "slippage", Lamports(SOL), at=3)
    wallet.book("fee", Signature("sig-1"), Slot(9), moved(NATIVE, -SOL), 4, order.id)
    world = World()
    await world.put(a_strategy(), order, wallet)
    strategies = Strategies(world.log, Aggregates(world.log), lambda: NOW)
    async with world.coordinating():
        await world.put(an_opportunity())
        await until(world.decided)
        await strategies.resume("one", "looked into it")
        await world.put(an_opportunity("opportunity-2"))
        await until(lambda: world.decided("opportunity-2"))
    async with world.coordinating():
        await world.put(an_opportunity("opportunity-3"))
        await until(lambda: world.decided("opportunity-3"))
    names = ("opportunity-1", "opportunity-2", "opportunity-3")
    outcomes = [await world.decided(name) for name in names]
    assert outcomes == [["max_loss_lamports"], ["order.placed"], ["order.placed"]]


async def test_a_lost_bookmark_decides_nothing_twice() -> None:
    """A coordinator that reads everything again finds its own decisions, however late it is."""
    world, _ = await _decide()
    head = await world.log.head()
    world.now += 60_000_000
    async with world.coordinating(MemoryBookmarks()):
        await asyncio.sleep(0.05)
    assert await world.log.head() == head


class ForgetfulLog(MemoryEventLog):
    """A log that commits the first decision and loses the answer."""

    forgot = False

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        appended = await super().append(appends, append_id=append_id, fence=fence)
        if not self.forgot and appends[0].cause.actor == "coordinator":
            self.forgot = True
            raise LogUnavailable("the answer was lost")
        return appended


async def test_a_lost_answer_decides_nothing_twice() -> None:
    """Committed but not answered: the next look finds the order, and funds are set aside once."""
    world = World(ForgetfulLog())
    await world.put(a_strategy(), a_wallet())
    async with world.coordinating():
        await world.put(an_opportunity(), an_opportunity("opportunity-2"))
        await until(lambda: world.decided("opportunity-2"))
    topics = [recorded.topic for recorded in await world.log.read_stream(f"wallet-{OWNER}")]
    assert topics.count("wallet.funds_reserved") == 2
    assert await world.decided() == await world.decided("opportunity-2") == ["order.placed"]


async def test_run_again_it_counts_losses_once() -> None:
    """A coordinator that is started again after an error folds what is at stake from nothing."""
    wallet, order = a_wallet(), signed(an_order("opportunity-0"))
    order.fail(Slot(9), "slippage", Lamports(SOL * 6 // 10), at=3)
    wallet.book("fee", Signature("sig-1"), Slot(9), moved(NATIVE, -SOL * 6 // 10), 4, order.id)
    world = World()
    await world.put(a_strategy(), order, wallet)
    await world.bookmarks.save("coordinator", await world.log.head())
    coordinator = Coordinator(world.log, Aggregates(world.log), world.bookmarks, lambda: world.now)
    for name in ("opportunity-1", "opportunity-2"):
        task = asyncio.create_task(coordinator.run())
        await world.put(an_opportunity(name))
        await until(lambda name=name: world.decided(name))  # type: ignore[misc]  # mypy cannot infer this lambda
        await ended(task)
    assert await world.decided("opportunity-2") == ["order.placed"]


class LateLog(MemoryEventLog):
    """A log whose followers hear of opportunities only when they may."""

    def __init__(self, log: MemoryEventLog) -> None:
        self.__dict__.update(log.__dict__)
        self.listens, self.may_hear = asyncio.Event(), asyncio.Event()

    async def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        self.listens.set()
        async for batch in super().follow(after, topics=topics, limit=limit):
            if any(recorded.topic == "opportunity.found" for recorded in batch):
                await self.may_hear.wait()
            yield batch


@pytest.mark.parametrize(
    ("strategy", "outcome"), [(a_strategy(), "order.placed"), (_stopped(), "strategy_stopped")]
)
async def test_a_coordinator_that_comes_late_finds_it_decided(strategy: Strategy, outcome: str) -> None:
    """Placed or declined by another process meanwhile: nothing is appended, and it goes on deciding."""
    world = World()
    await world.put(strategy, a_wallet())
    log = LateLog(world.log)
    late = World(log)
    async with late.coordinating():
        await log.listens.wait()  # what comes from here on is news to it, not history
        async with world.coordinating():
            await world.put(an_opportunity())
            await until(world.decided)
        head = await world.log.head()
        log.may_hear.set()
        await until(lambda: late.bookmarks.load("coordinator"))
        assert await world.log.head() == head
        await world.put(an_opportunity("opportunity-2"))
        await until(lambda: world.decided("opportunity-2"))
    assert await world.decided() == await world.decided("opportunity-2") == [outcome]


async def test_two_coordinators_decide_once() -> None:
    world = World()
    await world.put(a_strategy(), a_wallet())
    async with world.coordinating(), world.coordinating(MemoryBookmarks()):
        await world.put(an_opportunity())
        await until(world.decided)
    topics = [recorded.topic for recorded in await world.log.read_stream(f"wallet-{OWNER}")]
    assert topics.count("wallet.funds_reserved") == 1
