"""The demo from beginning to end: servers, local Solana, services, live progress, proof."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.solana.signers import MemorySigner
from daybook.app import Daybook, World, live, start_trading
from daybook.cli.output import DONE, NO, print_json, say
from daybook.demo.folder import demo_servers, refuse_real_log
from daybook.demo.network import Network, NetworkOptions, local_network
from daybook.demo.progress import Progress
from daybook.demo.summary import Summary
from daybook.demo.tally import Tally
from daybook.serve import api_server
from daybook.settings import PREFIX, ArbitrageSettings, RiskSettings, load_settings
from daybook.signals import StopRequest, run_stoppable
from daybook.supervise import Supervisor, supervised
from daybook.web import listen
from domain.chain import Address, Signature
from domain.errors import ChainUnavailable, LogCorrupt
from domain.wallets.wallet import wallet_stream
from projections.pnl import pnl

SLOT_MS: Final = 100
"""A quarter of mainnet's slot: finality takes 3.2 s instead of 12.8, and the demo ends sooner."""

FUNDS: Final = {"lamports": 10_000_000_000, "wsol": 500_000_000_000, "usdc": 1_000_000_000}
"""What the faucet gives the wallet: 10 SOL for fees, 500 wrapped SOL to trade with, 1,000 USDC."""

DRAIN_S: Final = 30.0
"""Orders end within a blockhash's life (150 slots, 15 s) and finality (3.2 s) of the last opportunity."""

SETTLE_S: Final = 15.0
"""Deliveries and projections run milliseconds behind; longer means one of them hangs."""

LOOK_EVERY_S: Final = 0.05
SHOW_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo is run.

    Attributes:
        data_dir: a folder of the demo's own.
        seconds: how long it trades.
        market: recorded prices for the crowd to follow.
        speed: recorded seconds a second.
        seed: of the crowd and the keys.
        keep: go on after the summary, until Ctrl-C.
        as_json: print the figures as one JSON object last.
    """

    data_dir: Path
    seconds: int
    market: Path | None
    speed: int
    seed: int
    keep: bool
    as_json: bool


def run_demo(options: DemoOptions) -> int:
    """Run the demo; 0 only if the books are proven."""
    return run_stoppable(lambda stop: _Demo(options, stop).run())


class _Demo:
    def __init__(self, options: DemoOptions, stop: StopRequest) -> None:
        self._options = options
        self._tally = Tally()
        self._stop = stop

    async def run(self) -> int:
        options = self._options
        refuse_real_log(options.data_dir)
        _mention_unused_settings()
        network_options = NetworkOptions(options.seed, SLOT_MS, options.market, options.speed)
        self._say("starting PostgreSQL, NATS and Valkey, and a local Solana ...")
        # the network first: it refuses a bad market file before any server is started
        async with local_network(network_options) as network, demo_servers(options.data_dir) as servers:
            signer = MemorySigner.from_seed(_seed("wallet", options.seed))
            tips = MemorySigner.from_seed(_seed("tips", options.seed)).address
            pools = tuple(Address(pool) for pool in network.pools)
            world = World(
                servers.database_url, servers.nats_url, servers.redis_url,
                network.rpc_url, network.ws_url, signer, pools, tips,
            )  # fmt: skip
            async with live(world) as daybook:
                return await self._trade(daybook, world, network)

    async def _trade(self, daybook: Daybook, world: World, network: Network) -> int:
        wallet, tip_account = world.signer.address, world.tip_account
        await _fund(daybook, tip_account)
        server = api_server(daybook, world)
        listening = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/graphql"
        services = {
            "api": lambda: server.run_service(listening),
            "tally": lambda: self._tally.follow(daybook.log),
            **daybook.services,
        }
        async with supervised(services) as supervisor:
            deposit = await _fund(daybook, wallet, FUNDS)
            await start_trading(daybook, wallet, ArbitrageSettings(), RiskSettings())
            await _booked(daybook, wallet, deposit)
            self._say(f"trading for {self._options.seconds} s; node {network.rpc_url}, GraphQL {url}")
            with self._stop.heeded():
                await self._watch(daybook, self._asked_to_stop, self._options.seconds)
                summary = await self._finish(daybook, supervisor, wallet)
                self._report(summary)
                if self._options.keep and not self._stop.asked.is_set():
                    await self._keep(daybook, supervisor, url)
        return DONE if summary.proven else NO

    async def _watch(self, daybook: Daybook, ended: Callable[[], Awaitable[bool]], bound_s: float) -> None:
        """Show progress until it has ended, at most `bound_s`."""
        with Progress(enabled=not self._options.as_json or sys.stderr.isatty()) as progress:
            ends, shown = time.monotonic() + bound_s, 0.0
            while (now := time.monotonic()) < ends and not await ended():
                if now - shown >= SHOW_EVERY_S:
                    result = (await pnl(daybook.reads)).overall
                    progress.show(self._tally, result.realised_lamports, ends - now)
                    shown = now
                await asyncio.sleep(LOOK_EVERY_S)

    async def _asked_to_stop(self) -> bool:
        return self._stop.asked.is_set()

    async def _finish(self, daybook: Daybook, supervisor: Supervisor, wallet: Address) -> Summary:
        """Take no more opportunities, let open orders end, then hold everything against everything."""
        await supervisor.stop("planner")
        await supervisor.stop("recorder")
        self._say(
            f"letting {len(self._tally.open_orders)} open orders end: final after 32 slots, and one that the "
            "node refused only when its blockhash has expired (150 slots) ..."
        )
        await self._watch(daybook, lambda: _quiet(daybook, self._tally), DRAIN_S)
        unfinished = len(self._tally.open_orders)
        await supervisor.stop("coordinator", "executor")
        reconciliation = await daybook.reconciler.reconcile(wallet_stream(wallet))
        await _until(lambda: _settled(daybook), SETTLE_S)
        return Summary(
            tally=self._tally,
            log_events=await daybook.log.head(),
            jetstream_events=await daybook.relay.delivered(),
            realised_pnl_lamports=(await pnl(daybook.reads)).overall.realised_lamports,
            reconciliation=reconciliation,
            verified_events=await _verified(daybook),
            lag=max([await runner.lag() for runner in daybook.runners]),
            dead_letters=len(await daybook.reads.dead_letters()),
            unfinished=unfinished,
        )

    async def _keep(self, daybook: Daybook, supervisor: Supervisor, url: str) -> None:
        for name in ("executor", "coordinator", "planner", "recorder"):
            supervisor.start(name, daybook.services[name])
        sys.stderr.write(f"running on; GraphQL {url}; Ctrl-C ends it\n")
        await self._stop.asked.wait()

    def _report(self, summary: Summary) -> None:
        if self._options.as_json:
            print_json(summary.as_json())
        else:
            summary.show()

    def _say(self, text: str) -> None:
        if self._options.as_json:
            sys.stderr.write(text + "\n")
        else:
            say(text)


def _mention_unused_settings() -> None:
    """The demo begins with an empty log and moves play money: never on the user's servers or node."""
    settings = load_settings()
    own = ("database_url", "nats_url", "redis_url", "rpc_url", "ws_url", "keypair_file")
    if unused := [f"{PREFIX}{name.upper()}" for name in own if getattr(settings, name)]:
        sys.stderr.write(f"the demo uses servers and a node of its own, not {', '.join(unused)}\n")


def _seed(purpose: str, seed: int) -> bytes:
    return hashlib.sha256(f"daybook demo {purpose} {seed}".encode()).digest()


async def _fund(
    daybook: Daybook, account: Address | None, amounts: dict[str, int] | None = None
) -> Signature:
    """Let the local network's faucet pay; a bare account gets 1 SOL, enough to exist."""
    signature = await daybook.rpc.call("localnet_fund", account, amounts or {"lamports": 1_000_000_000})
    return Signature(signature)


async def _booked(daybook: Daybook, wallet: Address, deposit: Signature) -> None:
    """Book the deposit once it is final."""
    for _ in range(int(DRAIN_S / LOOK_EVERY_S)):
        try:
            await daybook.wallets.book(wallet, deposit)
        except ChainUnavailable:
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            return
    await daybook.wallets.book(wallet, deposit)


async def _until(reached: Callable[[], Awaitable[bool]], bound_s: float) -> None:
    """Wait until it is reached, at most `bound_s`; the summary tells what is missing."""
    ends = time.monotonic() + bound_s
    while not await reached() and time.monotonic() < ends:  # noqa: ASYNC110 - it is other processes we wait for
        await asyncio.sleep(LOOK_EVERY_S)


async def _quiet(daybook: Daybook, tally: Tally) -> bool:
    """Whether every opportunity was decided and every order is closed."""
    decided = tally.of("order.placed") + tally.of("opportunity.declined")
    caught_up = tally.position == await daybook.log.head()
    return caught_up and not tally.open_orders and decided == tally.of("opportunity.found")


async def _settled(daybook: Daybook) -> bool:
    """Whether everything is delivered and folded."""
    behind = [await runner.lag() for runner in daybook.runners]
    return max(behind) == 0 and await daybook.relay.lag() == 0


async def _verified(daybook: Daybook) -> int | None:
    try:
        count, _ = await daybook.log.verify()
    except LogCorrupt as error:
        sys.stderr.write(f"{error}\n")
        return None
    return count
