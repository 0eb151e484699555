"""Crash points C0 to C9 (docs/explanation/executor.md): the process is really killed, and started again.

A trader process runs on the real PostgreSQL log against the local Solana and kills itself with SIGKILL at the
named point; a second one finds the log and finishes. Whatever the point, the chain executed the order exactly
once, the books equal the chain to the lamport, and the log tells what happened. No slot passes while the
process is dead unless the test lets it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from given import SOL, limits, parameters
from waiting import until

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.solana.accounts import public_key
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import MemorySigner
from commands.aggregates import Aggregates, decisions
from commands.reconciling import Reconciler
from commands.strategies import Strategies
from commands.wallets import Wallets
from daybook.app import token_accounts
from daybook.clock import now_us
from domain.chain import USDC, WSOL, Address, Signature, Slot
from domain.events import Cause, derived_id, to_datetime
from domain.money import Lamports
from domain.trading.events import Costs, Leg, OpportunityFound
from domain.trading.opportunity import Opportunity
from domain.trading.order import order_stream
from domain.wallets.wallet import wallet_stream

TRADER = Path(__file__).with_name("trader_process.py")
RUN_S = 60
SLOT_S = 0.04
"""Ten times faster than life; a blockhash then lives for six seconds of a busy machine."""
FRESH_FOR_US = 60_000_000
"""The opportunity is dated a minute ahead, so that however slow the machine, a restart finds it fresh."""

STRAIGHT = ["placed", "signed", "submitted", "observed", "landed", "filled", "filled"]

pytestmark = pytest.mark.timeout(180)  # two processes and some hundred slots for each test


@pytest.fixture(scope="module")
async def network() -> AsyncIterator[LocalnetHandle]:
    async with serve(LocalnetConfig(port=0, slot_ms=None, crowd_tps=0)) as network:
        yield network


class Stage:
    """A funded wallet with open books, a running strategy, one opportunity, and processes that take it."""

    def __init__(self, database: str, network: LocalnetHandle, folder: Path, log: PostgresEventLog) -> None:
        self.database, self.network, self.folder, self.log = database, network, folder, log
        self.seed = sha256(database.encode()).digest()
        self.signer = MemorySigner.from_seed(self.seed)
        self.opportunity = f"opportunity-{derived_id('crash', database)}"

    @property
    def wallet(self) -> str:
        return wallet_stream(self.signer.address)

    async def set(self, chain: RpcChain) -> None:
        address = self.signer.address
        deposit = self.network.faucet.fund(
            public_key(address), lamports=10 * SOL, wsol=5 * SOL, usdc=1_000_000_000
        )
        self.pass_slots(40)
        wallets = Wallets(self.log, Aggregates(self.log), chain, now_us)
        await wallets.open(address, token_accounts(address), Lamports(SOL))
        await wallets.book(address, Signature(str(deposit)))
        strategies = Strategies(self.log, Aggregates(self.log), now_us)
        await strategies.start("one", wallet=self.wallet, parameters=parameters(), limits=limits())
        await self._find()

    async def _find(self) -> None:
        """A cycle over both pools that loses a little, which no program forbids: the pools need no gap."""
        first, second = (Address(str(pool.address)) for pool in self.network.world.pools)
        now = now_us() + FRESH_FOR_US
        opportunity = Opportunity._create(
            OpportunityFound,
            id=self.opportunity,
            timestamp=to_datetime(now),
            strategy="strategy-one",
            wallet=self.wallet,
            legs=(
                Leg("raydium_cpmm", first, WSOL, USDC, SOL // 10, 10_000_000, 10_000_000),
                Leg("raydium_cpmm", second, USDC, WSOL, 10_000_000, 1, 1),
            ),
            costs=Costs(Lamports(5_000), Lamports(200), Lamports(0)),
            expected_profit_lamports=Lamports(1),
            slot=Slot(self.network.ledger.blocks.open.slot),
            seen_at=now,
        )
        cause = Cause(derived_id("story", self.opportunity), None, "test")
        await self.log.append(decisions(opportunity, cause, now), append_id=derived_id(self.opportunity))

    def pass_slots(self, count: int) -> None:
        for _ in range(count):
            self.network.ledger.advance()

    async def start(self, **config: str) -> asyncio.subprocess.Process:
        values: dict[str, Any] = {
            "database_url": self.database,
            "rpc_url": self.network.rpc_url,
            "ws_url": self.network.ws_url,
            "seed": self.seed.hex(),
            **config,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(TRADER), json.dumps(values), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), RUN_S) == b"ready\n"
        return process

    async def run(self, **config: str) -> int:
        """Start a trader and let slots pass until it ends; its exit code."""
        process = await self.start(**config)
        try:
            return await self.ended(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def ended(self, process: asyncio.subprocess.Process) -> int:
        ending = asyncio.create_task(process.wait())
        async with asyncio.timeout(RUN_S):
            while not ending.done():
                self.network.ledger.advance()
                await asyncio.wait([ending], timeout=SLOT_S)
        return ending.result()

    async def story(self) -> list[str]:
        """What the log says happened to the order, without the repetitions of polling."""
        events = await self.log.read_stream(order_stream(self.opportunity))
        topics = [recorded.topic.removeprefix("order.") for recorded in events]
        return [
            topic
            for before, topic in zip(["", *topics], topics, strict=False)
            if topic != before or topic == "filled"
        ]

    def executed(self) -> list[str]:
        """Successful transactions of the wallet on chain, without its deposit."""
        key = public_key(self.signer.address)
        paid = (one for one in self.network.ledger.history.of(key) if one.loaded.keys[0] == key)
        return [str(one.signature) for one in paid if one.outcome.error is None]

    async def verify(self, chain: RpcChain) -> None:
        """Executed once; the same signature in the log; books equal to the chain; the hash chain whole."""
        self.pass_slots(200)  # whatever could still land has landed
        (executed,) = self.executed()
        landed = [r.event.signature for r in await self.log.read(topics={"order.landed"})]
        assert landed == [executed]
        reconciler = Reconciler(self.log, Aggregates(self.log), chain, now_us)
        reconciliation = await reconciler.reconcile(self.wallet)
        assert reconciliation.agrees, reconciliation
        assert (await self.log.verify())[0] == await self.log.head()


@pytest.fixture
async def chain(network: LocalnetHandle) -> AsyncIterator[RpcChain]:
    rpc = JsonRpc(network.rpc_url)
    async with PubSub(network.ws_url, clock=now_us) as pubsub:
        yield RpcChain(rpc, pubsub)
    await rpc.aclose()


@pytest.fixture
async def stage(
    database: str, network: LocalnetHandle, chain: RpcChain, tmp_path: Path
) -> AsyncIterator[Stage]:
    await migrate(database)
    async with await PostgresEventLog.open(database) as log:
        stage = Stage(database, network, tmp_path, log)
        await stage.set(chain)
        yield stage


@asynccontextmanager
async def _killed_at(stage: Stage, point: str) -> AsyncIterator[None]:
    """Killed at the point; the block runs while nobody trades; then another process finishes."""
    assert await stage.run(kill_at=point) == -signal.SIGKILL
    yield
    assert await stage.run() == 0


@pytest.mark.parametrize(
    ("point", "before", "story"),
    [
        ("c0", [], STRAIGHT),
        ("c1", ["placed"], STRAIGHT),
        ("c2", ["placed"], STRAIGHT),
        ("c3", ["placed", "signed"], STRAIGHT),
        ("c4", ["placed", "signed"], ["placed", "signed", "observed", "landed", "filled", "filled"]),
        ("c5", ["placed", "signed", "submitted", "observed"], STRAIGHT),
        ("c8", STRAIGHT, STRAIGHT),
    ],
)
async def test_killed_and_started_again_it_is_executed_once(
    stage: Stage, chain: RpcChain, point: str, before: list[str], story: list[str]
) -> None:
    """The log says exactly how far it came; the second process goes on from there."""
    async with _killed_at(stage, point):
        assert await stage.story() == before
    assert await stage.story() == story
    await stage.verify(chain)


async def test_c6_a_rolled_back_slot_sends_the_same_bytes_again(stage: Stage, chain: RpcChain) -> None:
    """Killed after it was seen in a slot that a fork then leaves behind."""
    async with _killed_at(stage, "c6"):
        assert await stage.story() == ["placed", "signed", "submitted", "observed"]
        (seen,) = await stage.log.read(topics={"order.observed"})
        ledger = stage.network.ledger
        ledger.roll_back(ledger.blocks.open.slot - seen.event.slot + 1)  # the blockhash it names stays
        assert stage.executed() == []
        stage.pass_slots(20)  # the new fork is longer than the slot it was seen in
    assert await stage.story() == [
        "placed", "signed", "submitted", "observed", "rolled_back",
        "submitted", "observed", "landed", "filled", "filled",
    ]  # fmt: skip
    await stage.verify(chain)


async def test_c7_expired_while_down_is_proven_before_it_is_signed_again(
    stage: Stage, chain: RpcChain
) -> None:
    """Signed, never sent, the blockhash dies meanwhile; and killed once more when the proof is at hand."""
    async with _killed_at(stage, "c3"):
        stage.pass_slots(200)
        assert await stage.run(kill_at="c7") == -signal.SIGKILL
        assert await stage.story() == ["placed", "signed"]
    assert await stage.story() == ["placed", "signed", "expired", *STRAIGHT[1:]]
    await stage.verify(chain)


async def test_c9_of_two_executors_the_older_is_refused(stage: Stage, chain: RpcChain) -> None:
    """The first has signed in memory when the second takes over; its append is refused and it stops."""
    release = stage.folder / "release"
    first = await stage.start(hold_at="c2", release=str(release))
    try:
        await until(release.with_suffix(".held").exists)
        assert await stage.run() == 0
        release.touch()
        assert await stage.ended(first) == 3
    finally:
        if first.returncode is None:
            first.kill()
            await first.wait()
    assert await stage.story() == STRAIGHT
    await stage.verify(chain)
