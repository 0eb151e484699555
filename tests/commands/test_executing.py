"""The executor as a service: it finds what is open, keeps its place, and gives way to who comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from uuid import uuid4

import pytest
from ended import ended
from eventsourcing.domain import BaseAggregate
from fake_chain import NO_FAULTS, TIPPED, FakeChain
from given import CORRELATION, OWNER, a_strategy, a_wallet, an_opportunity, moved
from waiting import until

from adapters.memory.bookmarks import MemoryBookmarks
from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import Aggregates, decisions, fold
from commands.executing import Executor
from commands.ports import unobserved
from commands.pursuing import Means, Pace
from commands.settling import Settlement
from domain.chain import NATIVE, Signature, Slot
from domain.errors import FencedOut, LogUnavailable
from domain.events import Cause
from domain.trading.order import Order, order_stream
from domain.wallets.wallet import Wallet

STORY = Cause(CORRELATION, None, "test")
NAMES = [f"opportunity-{number}" for number in range(5)]


class World:
    """A log with five intended orders, a healthy chain, and executors over them."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.bookmarks = MemoryBookmarks()
        self.chain = FakeChain(Random(1), NO_FAULTS)
        self.means = self._means()

    def _means(self) -> Means:
        aggregates = Aggregates(self.log)
        settlement = Settlement(self.log, aggregates, self.chain, self.chain.clock, {TIPPED})
        pace = Pace(poll_every_s=0, resend_every_s=2, lifetime_us=10**12)
        clock = self.chain.clock
        return Means(self.log, aggregates, self.chain, self.chain, settlement, clock, unobserved, pace)

    async def put(self, *aggregates: BaseAggregate[str]) -> None:
        for aggregate in aggregates:
            await self.log.append(decisions(aggregate, STORY, 1), append_id=uuid4())

    async def begin(self, booked: Sequence[Signature] = ()) -> None:
        wallet = a_wallet()
        for signature in booked:
            wallet.book("deposit", signature, Slot(1), moved(NATIVE, 1), at=3)
        orders = [self._order(name) for name in NAMES]
        for order in orders:
            leg, costs = order.placed.legs[0], order.placed.costs
            wallet.reserve(order.id, leg.mint_in, leg.amount_in, costs.total_lamports, at=3)
        await self.put(a_strategy(), wallet, *orders)

    def _order(self, name: str) -> Order:
        return Order.place(
            an_opportunity(name).found,
            compute_unit_limit=200_000,
            compute_unit_price_micro_lamports=1_000,
            at=self.chain.clock(),
        )

    def executor(self, holder: str = "test", max_orders: int = 16) -> Executor:
        wallet, leases = f"wallet-{OWNER}", self.log.leases
        return Executor(wallet, self.means, leases, self.bookmarks, holder=holder, max_orders=max_orders)

    async def all_landed(self) -> bool:
        return len(await self.log.read(topics={"order.landed"})) == len(NAMES)


async def test_what_was_booked_by_hand_before_is_closed_without_a_second_booking() -> None:
    """Five open orders whose signatures are in the books already: all close, funds free, booked once."""
    world = World()
    await world.begin([Signature(f"signature-{number}") for number in range(1, 6)])
    task = asyncio.create_task(world.executor().run())
    await until(world.all_landed)
    await ended(task)
    wallet = await fold(world.log, f"wallet-{OWNER}")
    assert isinstance(wallet, Wallet)
    assert wallet.reserved == {}
    transfers = [r.event for r in await world.log.read(topics={"wallet.transferred"})]
    assert len(transfers) == len({event.signature for event in transfers}) == 1 + len(NAMES)
    assert {event.kind for event in transfers} == {"deposit"}
    assert len(world.chain.executed()) == len(NAMES)


@pytest.mark.parametrize("max_orders", [1, 16])
async def test_every_open_order_is_driven_to_its_end(max_orders: int) -> None:
    """Five orders wait in the log: all land once, none is left, and the bookmark passes them."""
    world = World()
    await world.begin()
    executor = world.executor(max_orders=max_orders)
    task = asyncio.create_task(executor.run())
    await until(world.all_landed)
    await until(lambda: executor.open_orders == 0)
    await ended(task)
    assert len(world.chain.executed()) == len(NAMES)
    placed = await world.log.read(topics={"order.placed"})
    assert await world.bookmarks.load(executor.name) >= placed[-1].position
    wallet = await fold(world.log, f"wallet-{OWNER}")
    assert wallet is not None
    assert wallet.reserved == {}  # type: ignore[attr-defined]  # it is a wallet


async def test_a_restart_goes_on_where_the_log_stands() -> None:
    """Killed in the middle, started again: what landed is not done again."""
    world = World()
    await world.begin()
    for _ in range(6):
        task = asyncio.create_task(world.executor(max_orders=2).run())
        await asyncio.sleep(0.01)
        await ended(task)
        world.means = world._means()
    task = asyncio.create_task(world.executor().run())
    await until(world.all_landed)
    await ended(task)
    assert len(world.chain.executed()) == len(NAMES)
    for name in NAMES:
        order = await fold(world.log, order_stream(name))
        assert isinstance(order, Order)
        assert order.attempt == 1


class BrittleBookmarks(MemoryBookmarks):
    """Bookmarks whose database is away when the first order has ended."""

    broke = False

    async def save(self, name: str, position: int) -> None:
        if position and not self.broke:
            self.broke = True
            raise LogUnavailable("away")
        await super().save(name, position)


async def test_run_again_after_the_log_was_away_it_goes_on() -> None:
    """The error comes out plain, so that whoever keeps services running knows it will pass."""
    world = World()
    world.bookmarks = BrittleBookmarks()
    await world.begin()
    executor = world.executor(max_orders=2)
    with pytest.raises(LogUnavailable):
        await asyncio.wait_for(executor.run(), timeout=10)
    task = asyncio.create_task(executor.run())
    await until(world.all_landed)
    await until(lambda: executor.open_orders == 0)
    await ended(task)
    assert len(world.chain.executed()) == len(NAMES)


async def test_the_former_executor_stops_when_another_takes_the_wallet() -> None:
    """Its next append is refused, and it says so instead of going on."""
    world = World()
    await world.begin()
    former = asyncio.create_task(world.executor("former").run())
    await asyncio.sleep(0)
    await until(lambda: world.log.leases.epoch(f"executor:{OWNER}") == 1)
    await world.log.leases.take(f"executor:{OWNER}", "successor")
    with pytest.raises(FencedOut, match="another process took over"):
        await asyncio.wait_for(former, timeout=10)
