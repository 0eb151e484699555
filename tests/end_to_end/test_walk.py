"""One trade, left to right: the drawing of docs/explanation/one-trade.md, executed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from databases import fresh_database
from waiting import until

from adapters.embedded.stack import StackUrls, attach
from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.postgres.migrate import migrate
from adapters.solana.accounts import AccountReader
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from commands.ports import RecentBlockhash
from daybook.app import Daybook, World, live, start_trading
from daybook.settings import ArbitrageSettings, RiskSettings
from daybook.supervise import supervised
from domain.chain import USDC, WSOL, Address, Signature
from domain.errors import ChainUnavailable
from domain.events import RecordedEvent
from domain.money import Lamports
from domain.trading.events import Leg
from domain.wallets.wallet import wallet_stream
from projections.pnl import pnl
from projections.trade_history import TradeFilter, trades

TRADER = MemorySigner.from_seed(bytes([7] * 32))
WHALE = MemorySigner.from_seed(bytes([8] * 32))
TIPS = MemorySigner.from_seed(bytes([9] * 32))

WHOLE_GAP = ArbitrageSettings(max_input_lamports=10**12)
ANY_SIZE = RiskSettings(max_order_input_lamports=10**12)
"""Large enough for one trade to take the whole gap."""

STORY = [
    ("market.pool_updated", None),
    ("opportunity.found", "market.pool_updated"),
    ("wallet.funds_reserved", "opportunity.found"),
    ("order.placed", "opportunity.found"),
    ("order.signed", "order.placed"),
    ("order.submitted", "order.signed"),
    ("order.observed", "order.submitted"),
    ("order.landed", "order.observed"),
    ("order.filled", "order.observed"),
    ("order.filled", "order.observed"),
    ("wallet.transferred", "order.landed"),
    ("wallet.funds_released", "order.landed"),
]
"""Every event of one landed trade and what caused it."""


@pytest.fixture
async def network() -> AsyncIterator[LocalnetHandle]:
    """A local network that nobody but the test moves."""
    async with serve(LocalnetConfig(port=0, slot_ms=20, crowd_tps=0)) as network:
        yield network


@asynccontextmanager
async def wired(
    stack: StackUrls, database: str, network: LocalnetHandle
) -> AsyncIterator[tuple[Daybook, World]]:
    """The real daybook on a migrated database and the test's network."""
    await migrate(database)
    pools = tuple(Address(str(pool.address)) for pool in network.world.pools)
    world = World(
        database_url=database,
        nats_url=stack.nats_url,
        redis_url=stack.redis_url,
        rpc_url=network.rpc_url,
        ws_url=network.ws_url,
        signer=TRADER,
        pools=pools,
        tip_account=TIPS.address,
    )
    async with live(world) as daybook:
        yield daybook, world


async def fund(daybook: Daybook, account: Address, **amounts: int) -> Signature:
    """Let the faucet pay."""
    return Signature(await daybook.rpc.call("localnet_fund", account, amounts))


async def sell(daybook: Daybook, pool: Address, lamports: int) -> None:
    """The whale sells wrapped SOL into one pool: a real signed swap."""
    await fund(daybook, WHALE.address, lamports=1_000_000_000, wsol=lamports, usdc=1)
    builder = CycleTransactionBuilder(PoolDirectory(AccountReader(daybook.rpc)), [WHALE])
    recent: RecentBlockhash = await daybook.chain.latest_blockhash()
    leg = Leg("raydium_cpmm", pool, WSOL, USDC, lamports, 1, 1)
    signed = await builder.build(
        wallet=WHALE.address,
        legs=[leg],
        tip_lamports=Lamports(0),
        compute_unit_limit=200_000,
        compute_unit_price_micro_lamports=0,
        recent=recent,
    )
    await daybook.chain.send(signed.transaction)


async def booked(daybook: Daybook, deposit: Signature) -> bool:
    """Whether the deposit is in the books; it is once it is final."""
    try:
        await daybook.wallets.book(TRADER.address, deposit)
    except ChainUnavailable:
        return False
    return True


async def whole_log(daybook: Daybook) -> list[RecordedEvent]:
    """Every event, first to last."""
    return await daybook.log.read(0, 10_000)


def told(events: list[RecordedEvent], correlation_of: str) -> list[tuple[str, str | None]]:
    """The story of a stream as (type, type of the cause), in log order."""
    topics = {event.event_id: event.topic for event in events}
    (story,) = {event.cause.correlation_id for event in events if event.stream == correlation_of}
    return [
        (event.topic, topics.get(event.cause.causation_id) if event.cause.causation_id else None)
        for event in events
        if event.cause.correlation_id == story
    ]


async def test_one_trade_walks_from_market_event_to_books(tmp_path: Path, network: LocalnetHandle) -> None:
    """A whale opens a gap between two pools; daybook closes it, and the log tells the whole story."""
    with attach(tmp_path / "stack") as stack:  # a stack of its own: JetStream's streams belong to one log
        async with (
            fresh_database(stack.database_url) as database,
            wired(stack, database, network) as (daybook, world),
        ):
            await fund(daybook, TIPS.address, lamports=1_000_000_000)
            deposit = await fund(daybook, TRADER.address, lamports=10**10, wsol=10**12, usdc=1)
            await start_trading(daybook, TRADER.address, WHOLE_GAP, ANY_SIZE)
            await until(lambda: booked(daybook, deposit))
            async with supervised(daybook.services):
                await until(lambda: seen(daybook, "market.pool_updated", 2))
                await sell(daybook, world.pools[0], 400_000_000_000)
                await until(lambda: seen(daybook, "wallet.funds_released", 1))
                await until(lambda: settled(daybook))
                await check(daybook)


async def test_what_was_signed_before_a_stop_is_settled_after_the_restart(
    tmp_path: Path, network: LocalnetHandle
) -> None:
    """Ended with an order in flight and its strategy stopped: started again it is booked, none is placed."""
    with attach(tmp_path / "stack") as stack:
        async with fresh_database(stack.database_url) as database:
            async with wired(stack, database, network) as (daybook, world):
                await fund(daybook, TIPS.address, lamports=1_000_000_000)
                deposit = await fund(daybook, TRADER.address, lamports=10**10, wsol=10**12, usdc=1)
                assert await start_trading(daybook, TRADER.address, WHOLE_GAP, ANY_SIZE) is None
                await until(lambda: booked(daybook, deposit))
                async with supervised(daybook.services) as services:
                    await until(lambda: seen(daybook, "market.pool_updated", 2))
                    await sell(daybook, world.pools[0], 400_000_000_000)
                    await until(lambda: seen(daybook, "order.signed", 1))
                    await services.stop("executor")
                    assert not await seen(daybook, "order.landed", 1)
                await daybook.strategies.stop("arbitrage", "max_loss_lamports")
            async with wired(stack, database, network) as (daybook, world):
                refusal = await start_trading(daybook, TRADER.address, WHOLE_GAP, ANY_SIZE)
                assert refusal is not None
                assert "max_loss_lamports" in refusal.found
                async with supervised(daybook.services):
                    await until(lambda: seen(daybook, "wallet.funds_released", 1))
                    await sell(daybook, world.pools[0], 400_000_000_000)
                    await until(lambda: settled(daybook))
                assert not await seen(daybook, "strategy.resumed", 1)
                assert not await seen(daybook, "order.placed", 2)
                assert (await daybook.reconciler.reconcile(wallet_stream(TRADER.address))).agrees


async def check(daybook: Daybook) -> None:
    """The story, the answers, the delivery, the books."""
    events = await whole_log(daybook)
    order = next(event.stream for event in events if event.topic == "order.landed")
    assert told(events, order) == STORY
    result = (await pnl(daybook.reads)).overall
    assert (result.landed, result.failed) == (1, 0)
    assert result.realised_lamports > 0
    page = await trades(daybook.reads, TradeFilter())
    (trade,) = page.items
    assert order.endswith(trade.order_id)
    assert await daybook.relay.delivered() == len(events)
    assert (await daybook.log.verify())[0] == len(events)
    reconciliation = await daybook.reconciler.reconcile(wallet_stream(TRADER.address))
    assert reconciliation.agrees, reconciliation


async def seen(daybook: Daybook, topic: str, times: int) -> bool:
    """Whether the log holds that many events of a type."""
    return len(await daybook.log.read(0, 10_000, topics={topic})) >= times


async def settled(daybook: Daybook) -> bool:
    """Whether everything is delivered and folded."""
    lags = [await runner.lag() for runner in daybook.runners]
    return max(lags) == 0 and await daybook.relay.lag() == 0
