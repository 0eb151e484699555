"""A trader as a process that can be killed: coordinator and executor on the real log and a node.

    python trader_process.py '{"database_url": ..., "rpc_url": ..., "ws_url": ..., "seed": ..., ...}'

`kill_at` names the crash point at which it kills itself; `hold_at` one at which it stops until the file
`release` exists. It says `ready` when its connections stand, and ends with 0 when the order is closed and
with 3 when another executor took over.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from adapters.postgres.bookmarks import PostgresBookmarks
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.leases import PostgresLeases
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from commands.aggregates import Aggregates
from commands.coordinating import Coordinator
from commands.executing import Executor
from commands.pursuing import Means, Pace
from commands.settling import Settlement
from domain.errors import FencedOut
from domain.wallets.wallet import wallet_stream

READY: Final = "ready"
DONE: Final = 0
TAKEN_OVER: Final = 3
HELD_AT_MOST_S: Final = 30.0
CLOSING: Final = frozenset({"order.landed", "order.failed", "order.abandoned", "opportunity.declined"})
PACE: Final = Pace(poll_every_s=0.02, resend_every_s=0.2, lifetime_us=120_000_000)


def now_us() -> int:
    return time.time_ns() // 1_000


class CrashHook:
    """Dies, or waits, at the named point."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def __call__(self, step: str) -> None:
        if step == self._config.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._config.get("hold_at"):
            release = Path(self._config["release"])
            release.with_suffix(".held").touch()
            ends = time.monotonic() + HELD_AT_MOST_S
            while not release.exists() and time.monotonic() < ends:
                time.sleep(0.01)


async def trade(config: dict[str, Any]) -> int:
    signer = MemorySigner.from_seed(bytes.fromhex(config["seed"]))
    rpc = JsonRpc(config["rpc_url"])
    step = CrashHook(config)
    async with (
        PubSub(config["ws_url"], clock=now_us) as pubsub,
        await PostgresEventLog.open(config["database_url"]) as log,
    ):
        chain, directory = RpcChain(rpc, pubsub), PoolDirectory(AccountReader(rpc))
        aggregates, bookmarks = Aggregates(log), PostgresBookmarks(log.pool)
        settlement = Settlement(log, aggregates, directory, now_us)
        builder = CycleTransactionBuilder(directory, [signer])
        means = Means(log, aggregates, chain, builder, settlement, now_us, step, PACE)
        wallet = wallet_stream(signer.address)
        executor = Executor(wallet, means, PostgresLeases(log.pool), bookmarks, holder=str(os.getpid()))
        coordinator = Coordinator(log, aggregates, bookmarks, now_us, step)
        await pubsub.connected()
        print(READY, flush=True)  # noqa: T201 - the test lets slots pass from here on
        running = [asyncio.create_task(executor.run()), asyncio.create_task(coordinator.run())]
        closed = asyncio.create_task(_closed(log, executor))
        await asyncio.wait([*running, closed], return_when=asyncio.FIRST_COMPLETED)
        for task in (*running, closed):
            task.cancel()
        outcomes = await asyncio.gather(*running, closed, return_exceptions=True)
    await rpc.aclose()
    return _exit_code(outcomes)


async def _closed(log: PostgresEventLog, executor: Executor) -> None:
    """Until the log has the order's end and the executor has nothing left to do."""
    async for _ in log.follow(0, topics=CLOSING):
        while executor.open_orders:  # noqa: ASYNC110 - a moment; the executor tells nobody
            await asyncio.sleep(0.01)
        return


def _exit_code(outcomes: list[Any]) -> int:
    for outcome in outcomes:
        if isinstance(outcome, FencedOut):
            return TAKEN_OVER
        if isinstance(outcome, Exception):
            raise outcome
    return DONE


if __name__ == "__main__":
    sys.exit(asyncio.run(trade(json.loads(sys.argv[1]))))
