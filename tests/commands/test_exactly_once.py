"""Exactly once or provably never: the executor against a chain that breaks every promise but the chain's own.

Each trial is one order, a seeded chain and a seeded list of crashes; the same seed is the same trial. A
mutant that signs again without proof goes through the same trials and must be caught.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

import pytest
import structlog
from fake_chain import ALL_FAULTS, FEE, NO_FAULTS, TIP, TIPPED, FakeChain, Faults
from given import CORRELATION, OWNER, SOL, a_strategy, a_wallet, an_opportunity

from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import Aggregates, content_id, decisions, fold
from commands.ports import (
    Appended,
    ChainPoint,
    Fence,
    SignatureStatus,
    SignedTransaction,
    StreamAppend,
)
from commands.pursuing import Means, Pace, Pursuit
from commands.settling import Settlement
from domain.chain import NATIVE, USDC, WSOL, BlockHeight, Slot
from domain.errors import FencedOut, InvariantBroken, LogUnavailable
from domain.events import Cause
from domain.trading.order import Order, OrderState
from domain.wallets.wallet import Wallet

TRIALS = 2_000
LEASE = f"executor:{OWNER}"
CRASH_POINTS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
STORY = Cause(CORRELATION, None, "test")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Thousands of unanswered questions need not be told."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


class CrashedHere(Exception):
    """The process dies."""


class UnreliableLog(MemoryEventLog):
    """A log whose database goes away now and then, before an append or after it was committed."""

    def __init__(self, die: Random, chance: float) -> None:
        super().__init__()
        self.die, self.chance = die, chance

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        if fence is not None and self.die.random() < self.chance:
            raise LogUnavailable("the database went away")
        appended = await super().append(appends, append_id=append_id, fence=fence)
        if fence is not None and self.die.random() < self.chance:
            raise LogUnavailable("the database went away after the commit")
        return appended


class World:
    """A log with one intended order, a chain, and an executor that can be killed and started again."""

    def __init__(self, seed: int, faults: Faults = ALL_FAULTS, lifetime_us: int = 10**12) -> None:
        self.die = Random(seed)
        self.chain = FakeChain(Random(seed + 1), faults)
        self.log = UnreliableLog(Random(seed + 2), 0.1 if faults is ALL_FAULTS else 0.0)
        self.lifetime_us = lifetime_us
        self.crash_at: dict[int, str] = {}
        self.steps: list[str] = []
        self.order = Order.place(
            an_opportunity().found,
            compute_unit_limit=200_000,
            compute_unit_price_micro_lamports=1_000,
            at=self.chain.clock(),
        )

    async def begin(self) -> None:
        wallet = a_wallet()
        leg, costs = self.order.placed.legs[0], self.order.placed.costs
        refused = wallet.reserve(self.order.id, leg.mint_in, leg.amount_in, costs.total_lamports, at=3)
        assert refused is None
        for aggregate in (a_strategy(), wallet, self.order):
            (append,) = decisions(aggregate, STORY, 1)
            await self.log.append([append], append_id=content_id(append))

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.crash_at.pop(len(self.steps), None) is not None:
            raise CrashedHere(name)

    def means(self) -> Means:
        aggregates = Aggregates(self.log)
        settlement = Settlement(self.log, aggregates, self.chain, self.chain.clock, {TIPPED})
        pace = Pace(poll_every_s=0, resend_every_s=2, lifetime_us=self.lifetime_us)
        return Means(
            self.log, aggregates, self.chain, self.chain, settlement, self.chain.clock, self.step, pace
        )

    async def live(self, pursuit: type[Pursuit] = Pursuit) -> None:
        """One life of the process: take the lease, load the order, pursue it."""
        fence = await self.log.leases.take(LEASE, "test")
        await pursuit(await self.loaded(), STORY, self.means(), fence).run()

    async def live_through(self, pursuit: type[Pursuit] = Pursuit) -> int:
        """As many lives as it takes; how many deaths there were."""
        deaths = 0
        while True:
            try:
                await self.live(pursuit)
            except CrashedHere:
                deaths += 1
                self.chain.tick(self.die.choice([0, 5, 60, 200]))
            except LogUnavailable:
                continue  # as the executor does: load the order again
            else:
                return deaths

    async def loaded(self) -> Order:
        order = await fold(self.log, self.order.id)
        assert isinstance(order, Order)
        return order

    async def wallet(self) -> Wallet:
        wallet = await fold(self.log, f"wallet-{OWNER}")
        assert isinstance(wallet, Wallet)
        return wallet

    async def topics(self) -> list[str]:
        return [recorded.topic for recorded in await self.log.read_stream(self.order.id)]


async def _trial(seed: int, pursuit: type[Pursuit] = Pursuit) -> tuple[World, int]:
    world = World(seed, lifetime_us=10**12 if seed % 3 else 120_000_000)
    world.crash_at = dict.fromkeys(world.die.sample(range(1, 24), seed % 5), "die")
    await world.begin()
    deaths = await asyncio.wait_for(world.live_through(pursuit), timeout=20)
    world.chain.tick(600)  # whatever could still land has landed
    return world, deaths


async def _verdict(world: World) -> str | None:
    """What is wrong with how it ended; none when the log, the books and the chain tell one story."""
    order, wallet = await world.loaded(), await world.wallet()
    executed, charged = world.chain.executed(), world.chain.charged()
    if len(charged) > 1:
        return f"{len(charged)} signatures landed"
    if (order.state is OrderState.LANDED) != (len(executed) == 1):
        return f"the log says {order.state}, the chain executed {executed}"
    if (order.state is OrderState.ABANDONED) != (not charged):
        return f"the log says {order.state}, the chain charged {charged}"
    legs = order.placed.legs
    gain = legs[-1].quoted_amount_out - legs[0].amount_in if executed else 0
    cost = FEE * len(charged) + TIP * len(executed)
    holds = {WSOL: 100 * SOL + gain, NATIVE: 10 * SOL - cost, USDC: 0}
    if {mint: wallet.expected.get(mint, 0) for mint in holds} != holds:
        return f"the books hold {wallet.expected}, the chain {holds}"
    return "funds are still set aside" if wallet.reserved else None


@pytest.mark.timeout(300)  # 2,000 trials take 15 s on one idle core
async def test_every_order_is_executed_once_or_provably_never() -> None:
    """Over all faults and up to four deaths each: one landing at most, and the books are the chain's."""
    ends: Counter[str] = Counter()
    deaths = signatures = 0
    for seed in range(TRIALS):
        world, died = await _trial(seed)
        wrong = await _verdict(world)
        assert wrong is None, f"seed {seed}: {wrong}; {await world.topics()}"
        deaths += died
        signatures += len(world.chain.transactions)
        ends[(await world.loaded()).state] += 1
    print(dict(ends), f"deaths={deaths} signatures={signatures}")  # noqa: T201 - shown with -s
    assert set(ends) == {OrderState.LANDED, OrderState.FAILED, OrderState.ABANDONED}
    assert signatures > TRIALS  # the way over expiry was taken


class ImpatientPursuit(Pursuit):
    """The obvious mistake: not seen yet, so sign it again."""

    async def _take_silence(self, status: SignatureStatus) -> None:
        if self._order.state is OrderState.SIGNED and self._order.sends > 1:
            tip = ChainPoint(Slot(0), BlockHeight(self._order.open_attempt.last_valid_block_height + 1))
            await self._expire(tip, status)
        else:
            await super()._take_silence(status)


async def test_a_mutant_that_signs_again_without_proof_is_caught() -> None:
    """The same trials find a double execution in fewer than 50."""
    for seed in range(50):
        try:
            world, _ = await _trial(seed, ImpatientPursuit)
        except InvariantBroken:
            continue
        if len(world.chain.charged()) > 1:
            return
    pytest.fail("50 trials did not catch an executor that signs twice")


@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_a_crash_at_each_point_changes_nothing_but_time(point: str) -> None:
    """On a healthy chain: killed at the point, started again, executed once."""
    faults = Faults(unforwarded=1.0) if point == "c7" else NO_FAULTS
    world = World(7, faults, lifetime_us=30_000_000)
    await world.begin()

    def step(name: str) -> None:
        if name == point and point not in world.steps:
            world.steps.append(name)
            raise CrashedHere(name)

    world.step = step  # type: ignore[method-assign]  # the hook is what this test is about
    assert await world.live_through() == 1
    assert await _verdict(world) is None
    landed = (await world.loaded()).state is OrderState.LANDED
    assert landed == (point != "c7")


async def test_the_old_executor_cannot_send_after_another_took_over() -> None:
    """C9: the lease is taken while the old one signs in memory; its append is refused and no byte leaves."""
    world = World(7, NO_FAULTS)
    await world.begin()
    sign = world.chain.build

    async def sign_slowly(**order: Any) -> SignedTransaction:  # noqa: ANN401 - whatever the builder is given
        signed = await sign(**order)
        await world.log.leases.take(LEASE, "the new one")
        return signed

    world.chain.build = sign_slowly  # type: ignore[method-assign]  # the other process acts in this moment
    with pytest.raises(FencedOut):
        await world.live()
    assert world.chain.sent == []
    assert (await world.topics())[-1] == "order.placed"


async def test_the_story_of_a_quiet_day() -> None:
    """Without faults the log tells it in one line each, and every event names the one before it."""
    world = World(7, NO_FAULTS)
    await world.begin()
    await world.live()
    story = await world.log.read_stream(world.order.id)
    assert [recorded.topic for recorded in story] == [
        "order.placed",
        "order.signed",
        "order.submitted",
        "order.observed",
        "order.landed",
        "order.filled",
        "order.filled",
    ]
    causes = {recorded.cause.causation_id for recorded in story[1:]}
    assert causes <= {recorded.event_id for recorded in story}
    booked = (await world.log.read_stream(f"wallet-{OWNER}"))[-2:]
    assert [recorded.topic for recorded in booked] == ["wallet.transferred", "wallet.funds_released"]
    assert {recorded.cause.causation_id for recorded in booked} == {story[4].event_id}
    assert {recorded.cause.correlation_id for recorded in (*story, *booked)} == {CORRELATION}


async def test_a_refused_order_is_not_sent_again_and_expires() -> None:
    """Preflight says no: the bytes wait for their proven expiry and the order is given up, without a fee."""
    world = World(7, Faults(refused=1.0), lifetime_us=30_000_000)
    await world.begin()
    await world.live()
    topics = await world.topics()
    assert topics.count("order.submitted") == 1
    assert topics[-2:] == ["order.expired", "order.abandoned"]
    assert await _verdict(world) is None


async def test_an_order_found_too_late_is_given_up_unsigned() -> None:
    world = World(7, NO_FAULTS, lifetime_us=30_000_000)
    await world.begin()
    world.chain.tick(100)
    await world.live()
    assert await world.topics() == ["order.placed", "order.abandoned"]
    assert await _verdict(world) is None
