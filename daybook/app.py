"""The composition root: the one place where adapters meet ports. Read it top to bottom."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from adapters.jetstream.consumers import Consumer, Subscription
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS
from adapters.postgres.bookmarks import PostgresBookmarks
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.leases import PostgresLeases
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from adapters.postgres.snapshots import PostgresSnapshots
from adapters.redis.hot_prices import HotPrices
from adapters.scanners.websocket import PoolScanner
from adapters.solana.accounts import AccountReader, public_key
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import Signer
from adapters.solana.transactions import CycleTransactionBuilder
from commands.aggregates import Aggregates
from commands.coordinating import Coordinator
from commands.executing import Executor
from commands.planning import Planner
from commands.ports import unobserved
from commands.pursuing import Means, Pace
from commands.reconciling import Reconciler
from commands.recording import Recorder
from commands.settling import Settlement
from commands.strategies import Strategies
from commands.wallets import Wallets
from daybook.auditing import AuditPlan, audit
from daybook.clock import now_us
from daybook.settings import ArbitrageSettings, RiskSettings
from daybook.supervise import Service
from domain.chain import USDC, WSOL, Address
from domain.money import Lamports
from domain.refusal import Refusal
from domain.strategies.events import ArbitrageParameters, RiskLimits
from domain.wallets.events import TokenAccount
from domain.wallets.wallet import wallet_stream
from projections.catalogue import READ_MODELS
from projections.runner import ProjectionRunner

STRATEGY = "arbitrage"
"""The name of the one strategy `daybook run` and the demo start."""


@dataclass(frozen=True, slots=True)
class World:
    """What daybook stands on.

    Attributes:
        database_url, nats_url, redis_url: the servers, the first migrated.
        rpc_url, ws_url: the Solana node.
        signer: the trading wallet's key.
        pools: pool accounts to watch.
        tip_account: where tips go; none where none are paid.
        replicas: copies of each JetStream stream.
        pace: how patiently orders are pursued.
        audit: how the record is signed; none leaves it to `daybook audit checkpoint`.
    """

    database_url: str
    nats_url: str
    redis_url: str
    rpc_url: str
    ws_url: str
    signer: Signer
    pools: tuple[Address, ...]
    tip_account: Address | None = None
    replicas: int = 1
    pace: Pace = field(default_factory=Pace)
    audit: AuditPlan | None = None

    @property
    def tip_accounts(self) -> tuple[Address, ...]:
        """Accounts whose receipts are tips: one or none."""
        return () if self.tip_account is None else (self.tip_account,)


@dataclass(frozen=True, slots=True)
class Daybook:
    """Everything wired. `services` run it; the rest is for those who ask and command."""

    log: PostgresEventLog
    reads: PostgresReadStore
    rpc: JsonRpc
    chain: RpcChain
    wallets: Wallets
    strategies: Strategies
    reconciler: Reconciler
    relay: Relay
    runners: tuple[ProjectionRunner, ...]
    services: dict[str, Service]


@asynccontextmanager
async def live(world: World) -> AsyncIterator[Daybook]:
    """Wire daybook on real servers and a real node; nothing runs until its services are started.

    Raises:
        SetupError: the database is not migrated, or an address is none.
        LogUnavailable, ReadStoreUnavailable: PostgreSQL does not answer.
    """
    rpc = JsonRpc(world.rpc_url)
    try:
        async with (
            PubSub(world.ws_url, clock=now_us) as pubsub,
            await PostgresEventLog.open(world.database_url) as log,
            open_read_store(world.database_url) as reads,
            HotPrices.open(world.redis_url) as prices,
        ):
            yield _wire(world, rpc, pubsub, log, reads, prices)
    finally:
        await rpc.aclose()


def _wire(
    world: World,
    rpc: JsonRpc,
    pubsub: PubSub,
    log: PostgresEventLog,
    reads: PostgresReadStore,
    prices: HotPrices,
) -> Daybook:
    # the chain
    accounts = AccountReader(rpc)
    directory = PoolDirectory(accounts)
    chain = RpcChain(rpc, pubsub)
    builder = CycleTransactionBuilder(directory, [world.signer], tip_account=world.tip_account)
    scanner = PoolScanner(
        name="pools", accounts=accounts, pubsub=pubsub, directory=directory, clock=now_us, pools=world.pools
    )
    # deciding and acting
    aggregates = Aggregates(log, PostgresSnapshots(log.pool))
    bookmarks = PostgresBookmarks(log.pool)
    settlement = Settlement(log, aggregates, directory, now_us, world.tip_accounts)
    means = Means(log, aggregates, chain, builder, settlement, now_us, unobserved, world.pace)
    executor = _executor(world, log, means, bookmarks)
    # answering
    runners = tuple(ProjectionRunner(model, FoldSource(log, model), reads) for model in READ_MODELS)
    relay = Relay(world.database_url, world.nats_url, replicas=world.replicas)
    services: dict[str, Service] = {
        "relay": relay.run,
        "hot prices": _hot_prices(world, log, bookmarks, reads, prices).run,
        **{
            f"projection {model.name}": runner.run for model, runner in zip(READ_MODELS, runners, strict=True)
        },
        "executor": executor.run,
        "coordinator": Coordinator(log, aggregates, bookmarks, now_us).run,
        "planner": lambda: Planner(log, now_us).run(),  # each start folds its outlook anew
        "recorder": lambda: Recorder(log, scanner, now_us).run(),
    }
    if world.audit is not None:
        services["auditor"] = partial(audit, log, world.audit)
    return Daybook(
        log=log,
        reads=reads,
        rpc=rpc,
        chain=chain,
        wallets=Wallets(log, aggregates, chain, now_us),
        strategies=Strategies(log, aggregates, now_us),
        reconciler=Reconciler(log, aggregates, chain, now_us),
        relay=relay,
        runners=runners,
        services=services,
    )


def _executor(world: World, log: PostgresEventLog, means: Means, bookmarks: PostgresBookmarks) -> Executor:
    """Drives the orders of the world's one wallet, under that wallet's lease."""
    wallet = wallet_stream(world.signer.address)
    return Executor(wallet, means, PostgresLeases(log.pool), bookmarks, holder=_who_we_are())


def _hot_prices(
    world: World,
    log: PostgresEventLog,
    bookmarks: PostgresBookmarks,
    reads: PostgresReadStore,
    prices: HotPrices,
) -> Consumer:
    """Keeps the newest prices in Valkey, from what JetStream delivers."""
    return Consumer(
        Subscription("hot_prices", STREAMS["market"]),
        prices,
        nats_url=world.nats_url,
        log=log,
        bookmarks=bookmarks,
        letters=reads,
    )


def token_accounts(wallet: Address) -> tuple[TokenAccount, ...]:
    """Where a wallet holds what the arbitrage trades: wrapped SOL and USDC."""
    owner = public_key(wallet)
    return tuple(
        TokenAccount(mint, Address(str(associated_address(owner, public_key(mint))))) for mint in (WSOL, USDC)
    )


async def start_trading(
    daybook: Daybook, wallet: Address, arbitrage: ArbitrageSettings, risk: RiskSettings
) -> Refusal | None:
    """Open the wallet's books where they are new; start or reconfigure the strategy as the settings say.

    Returns:
        Why the strategy does not trade; none when it does. Everything else runs all the same.

    Raises:
        InvalidInput: figures that cannot be meant.
    """
    await daybook.wallets.open(wallet, token_accounts(wallet), Lamports(risk.reserve_lamports))
    parameters = ArbitrageParameters(
        mint=WSOL,
        min_profit_lamports=Lamports(arbitrage.min_profit_lamports),
        max_input=arbitrage.max_input_lamports,
        compute_unit_limit=arbitrage.compute_unit_limit,
        compute_unit_price_micro_lamports=arbitrage.compute_unit_price_micro_lamports,
        tip_lamports=Lamports(arbitrage.tip_lamports),
        max_quote_age_slots=arbitrage.max_quote_age_slots,
    )
    limits = RiskLimits(risk.max_order_input_lamports, risk.max_open_orders, Lamports(risk.max_loss_lamports))
    return await daybook.strategies.start(
        STRATEGY, wallet=wallet_stream(wallet), parameters=parameters, limits=limits
    )


def _who_we_are() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
