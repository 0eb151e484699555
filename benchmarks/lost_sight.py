"""How soon every watched pool is in sight: after the start, and after the node was cut off for some seconds.

A local Solana in a process of its own, thousands of pools, a watcher, and a cable between that is cut. All
pools count as in sight when none of them was last known to hold longer ago than the quote service gives out.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import structlog
import uvloop
from cable import Cable

from adapters.quotes.book import LiveBook
from adapters.quotes.reader import PoolReader
from adapters.quotes.watcher import PoolWatcher
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.pubsub import PubSub
from daybook.clock import now_us

GIVEN_OUT_US = 5_000_000
"""As `DAYBOOK_QUOTES__MAX_STALE_MS`."""
MOST_S = 300.0
"""A wait that takes longer is given up, and the figure is none."""


async def seconds_until(holds: Callable[[], bool], most_s: float = MOST_S) -> float | None:
    """How long it took until `holds()`; none where it did not."""
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > most_s:
            return None
        await asyncio.sleep(0.1)
    return round(time.perf_counter() - began, 1)


async def measured(book: LiveBook, cable: Cable, cut_s: float) -> dict[str, float | None]:
    """Seconds to full sight after the start and after the cut; book and watcher are running."""

    def all_seen() -> bool:
        return book.oldest_us() <= GIVEN_OUT_US

    unwatched_s = GIVEN_OUT_US / 1_000_000
    await asyncio.sleep(unwatched_s)  # the first reading vouches for nothing any more
    started = await seconds_until(all_seen)
    print(f"all in sight; now {cut_s} s without the node", flush=True)
    await cable.cut()
    await asyncio.sleep(cut_s)
    lost = not all_seen()
    await cable.mend()
    back = await seconds_until(all_seen)
    return {"start_s": None if started is None else started + unwatched_s, "lost": lost, "back_s": back}


async def on_a_network(rpc_port: int, cut_s: float) -> dict[str, float | None]:
    """Find and read the pools, watch them over the cable, and measure."""
    async with Cable(rpc_port) as cable:
        rpc = JsonRpc(f"http://127.0.0.1:{cable.port}", timeout_s=30)
        reader, book = PoolReader(AccountReader(rpc)), LiveBook(now_us)
        async for readings in reader.read(await reader.find(POOL_PROGRAMS["raydium_cpmm"], [])):
            book.take(readings)
        connect = partial(PubSub, f"ws://127.0.0.1:{cable.port}", clock=now_us)
        watching = asyncio.ensure_future(PoolWatcher(book, reader, connect, now_us).run())
        try:
            return {"pools": len(book.graph), **await measured(book, cable, cut_s)}
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await rpc.aclose()


def main() -> None:
    """Measure, print what was found, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=10_000)
    parser.add_argument("--cut", type=float, default=8.0, help="seconds without the node")
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    command = [sys.executable, "-P", str(Path(__file__).parent / "many_pools.py"), str(wanted.pools)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as network:
        facts = json.loads(network.stdout.readline())  # type: ignore[union-attr] # it is a pipe
        port = urlsplit(facts["rpc_url"]).port or 0
        found = uvloop.run(on_a_network(port, wanted.cut))
        network.communicate("")
    print(f"{found['pools']} pools in sight {found['start_s']} s after the start", end=", ")
    print(f"and {found['back_s']} s after the node was back from {wanted.cut} s away")
    versions = {"python": platform.python_version(), "daybook": version("daybook")}
    print(json.dumps({"benchmark": "lost_sight", "cut_s": wanted.cut, **found, "versions": versions}))


if __name__ == "__main__":
    main()
