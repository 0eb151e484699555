"""Runs a local Solana: ledger, faucet, pools, crowd, slot clock, and the server in front of them.

    async with serve(LocalnetConfig(port=0)) as network:
        print(network.rpc_url, network.ws_url)

Everything shares one event loop and listens on loopback only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import uvicorn

from adapters.localnet.bundles import BlockEngine
from adapters.localnet.cheats import CheatMethods, describe, pass_slot
from adapters.localnet.crowd import Crowd, RandomMarket, RecordedMarket
from adapters.localnet.faucet import Faucet
from adapters.localnet.faults import Faults, Standing
from adapters.localnet.genesis import DEFAULT_POOLS, DEFAULT_PRICE, World, create_world
from adapters.localnet.klines import PricePath, read_klines
from adapters.localnet.ledger import Ledger
from adapters.localnet.prices import Publisher
from adapters.localnet.program_files import ProgramFile
from adapters.localnet.pubsub import Subscriptions
from adapters.localnet.rpc import Rpc
from adapters.localnet.rpc_accounts import AccountMethods
from adapters.localnet.rpc_blocks import BlockMethods
from adapters.localnet.rpc_bundles import BundleMethods
from adapters.localnet.rpc_chain import ChainMethods
from adapters.localnet.rpc_cluster import ClusterMethods
from adapters.localnet.rpc_transactions import TransactionMethods
from adapters.localnet.web import Web
from adapters.localnet.web_bundles import BundleDoor
from domain.errors import SetupError

HOST: Final = "127.0.0.1"
"""Loopback only: the faucet and the fault switches are for whoever is on this machine."""

DEFAULT_SPEED: Final = 600
"""Ten recorded minutes a second: a minute of watching is ten hours of market."""

_START_TIMEOUT_S: Final = 10.0  # binding is done before; what is left takes milliseconds
_STOP_TIMEOUT_S: Final = 1  # for answers under way; there is nothing to save
_KEEP_ALIVE_S: Final = 75  # longer than clients keep idle connections, so that they never race a close
_PORT_TRIES: Final = 50  # pairs of neighbouring free ports are common


@dataclass(frozen=True, slots=True)
class LocalnetConfig:
    """How to run a local network.

    Attributes:
        port: JSON-RPC and WebSocket; WebSocket also on the next port. 0 for a free pair.
        seed: of every address, the crowd and the blockhashes.
        slot_ms: milliseconds a slot; None for slots that pass only by `localnet_advanceSlots`.
        crowd_tps: the crowd's trades a second; 0 for none.
        market: a recorded price file for the crowd to follow, at `speed` recorded seconds a second.
        pools: how many of each protocol; see `genesis.OPENERS`.
        programs: real binaries to run instead of the emulations.
        faults: what goes wrong by chance.
    """

    port: int = 8899
    seed: int = 1
    slot_ms: int | None = 400
    crowd_tps: int = 10
    market: Path | None = None
    speed: int = DEFAULT_SPEED
    pools: Mapping[str, int] = field(default_factory=lambda: DEFAULT_POOLS)
    programs: tuple[ProgramFile, ...] = ()
    faults: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalnetHandle:
    """A running local network; `stopped` is set when its slots or its crowd came to an end."""

    rpc_url: str
    ws_url: str
    ledger: Ledger
    world: World
    faucet: Faucet
    faults: Faults
    publisher: Publisher
    crowd: Crowd | None
    stopped: asyncio.Event

    def ready(self) -> dict[str, Any]:
        """What a program that started it needs to know."""
        urls = {
            "rpc_url": self.rpc_url,
            "ws_url": self.ws_url,
            "block_engine_url": f"{self.rpc_url}/api/v1",
        }
        return {**urls, **describe(self.world), "pid": os.getpid()}

    def totals(self) -> dict[str, int]:
        """What happened so far."""
        return {
            "slots": self.ledger.blocks.open.slot - self.ledger.first_slot,
            "transactions": self.ledger.history.total,
            "swaps": self.crowd.swaps if self.crowd else 0,
            "price_updates": self.publisher.updates,
        }


@asynccontextmanager
async def serve(
    config: LocalnetConfig, *, clock: Callable[[], int] = lambda: time.time_ns() // 1_000
) -> AsyncIterator[LocalnetHandle]:
    """Run a local network until the block ends; `clock` gives microseconds since the epoch.

    Raises:
        SetupError: a port is in use, or the market file cannot be read; nothing was started.
    """
    path = read_klines(config.market) if config.market is not None else None
    sockets = _bind(config.port)
    try:
        handle, web = _build(config, path, clock, sockets[0].getsockname()[1])
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    server = _Server(
        uvicorn.Config(
            web,
            http="h11",
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_TIMEOUT_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    loops = [asyncio.create_task(loop) for loop in _loops(config, handle, clock)]
    for loop in loops:
        loop.add_done_callback(lambda _: handle.stopped.set())
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await server.up.wait()
        yield handle
    finally:
        for loop in loops:
            loop.cancel()
        server.should_exit = True
        ended = await asyncio.gather(serving, *loops, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


def _build(
    config: LocalnetConfig, path: PricePath | None, clock: Callable[[], int], port: int
) -> tuple[LocalnetHandle, Web]:
    ledger = Ledger(clock, seed=config.seed, programs=config.programs)
    price = path.first_price if path is not None else DEFAULT_PRICE
    world = create_world(ledger, seed=config.seed, price=price, pools=config.pools)
    faucet = Faucet(ledger, world.faucet)
    rng = Random(config.seed)  # noqa: S311 - a repeatable crowd, no secrets
    target = (
        RandomMarket(rng, price, len(world.pools))
        if path is None
        else RecordedMarket(rng, path, config.speed, len(world.pools), clock())
    )
    crowd = None
    if config.crowd_tps and world.pools:
        crowd = Crowd(ledger, faucet, world.pools, target, seed=config.seed, rng=rng)
    ledger.advance()  # what made the world lies in the first block, which is final from the start
    publisher = Publisher(ledger, world.publisher, lambda: target.price(clock()))
    faults = Faults(config.faults, seed=config.seed)
    web = _web(ledger, world, faucet, faults, clock)
    urls = (f"http://{HOST}:{port}", f"ws://{HOST}:{port + 1}")
    return LocalnetHandle(*urls, ledger, world, faucet, faults, publisher, crowd, asyncio.Event()), web


def _web(ledger: Ledger, world: World, faucet: Faucet, faults: Faults, clock: Callable[[], int]) -> Web:
    transactions = TransactionMethods(ledger, faucet)
    bundles = BundleMethods(ledger, BlockEngine(ledger))
    methods = {
        **AccountMethods(ledger).methods(),
        **ChainMethods(ledger).methods(),
        **ClusterMethods(ledger).methods(),
        **BlockMethods(ledger).methods(),
        **transactions.methods(),
        **bundles.methods(),
        **CheatMethods(ledger, world, faucet, faults).methods(),
    }
    rpc = Rpc(ledger, faults, methods, {"sendTransaction": transactions.accept, **bundles.sending()})
    now = lambda: datetime.fromtimestamp(clock() / 1e6, UTC).isoformat()  # noqa: E731 - a clock in words
    return Web(rpc, Subscriptions(ledger), BundleDoor(ledger, faults, transactions, bundles, now))


def _loops(config: LocalnetConfig, handle: LocalnetHandle, clock: Callable[[], int]) -> Iterator[Any]:
    if config.slot_ms:
        yield _every(config.slot_ms / 1_000, lambda: pass_slot(handle.ledger, handle.faults))
    crowd = handle.crowd
    if crowd is not None:
        yield _every(1 / config.crowd_tps, lambda: crowd.trade(clock()))


async def _every(period_s: float, act: Callable[[], object]) -> None:
    """Act once a period until cancelled; after a stall it goes on from now instead of catching up."""
    loop = asyncio.get_running_loop()
    due = loop.time() + period_s
    while True:  # until the network stops
        await asyncio.sleep(max(due - loop.time(), 0))
        act()
        due = max(due + period_s, loop.time())


def _bind(port: int) -> tuple[socket.socket, socket.socket]:
    """Take `port` and the next; for 0 any free pair."""
    if port:
        return _bind_one(port), _bind_one(port + 1)
    for _ in range(_PORT_TRIES):
        first = _bind_one(0)
        try:
            return first, _bind_one(first.getsockname()[1] + 1)
        except (SetupError, OverflowError):
            first.close()
    raise SetupError(f"starting the local network: no two neighbouring free ports in {_PORT_TRIES} tries")


def _bind_one(port: int) -> socket.socket:
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an acknowledgement.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise SetupError(
            f"starting the local network: port {port} on {HOST} cannot be used ({error.strerror}); "
            "stop what listens there or give another --port (it takes that port and the next)"
        ) from error
    return bound


class _Server(uvicorn.Server):
    """Says when it is up, and leaves signals to the program: it may run more than this server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
