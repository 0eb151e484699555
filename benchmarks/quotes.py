"""Quotes: per CPU second beside the official SDKs on the same vectors, batches, routes, and both doors.

The SDKs run in Node where `npm install` was done in benchmarks/peers; both sides' CPU time is counted, in
rounds that alternate, so a ratio above 1 says that ours is faster. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

from routing_books import cpmm, listed
from vector_accounts import VECTORS, vector_pools
from vector_book import Clock, vector_book, vector_reading

from adapters.quotes.book import LiveBook
from adapters.quotes.initialiser import Initialiser
from adapters.quotes.reader import PoolReader
from adapters.quotes.service import Quotes
from adapters.solana.accounts import AccountReader, public_key
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_programs import POOL_PROGRAMS
from benchmarks.quote_load import load_grpc, load_http, served
from domain.chain import WSOL, Mint
from domain.errors import NoRoute
from domain.market.amm.pool import Pool, Quote
from domain.market.quotes import QuoteRequest
from domain.market.routing.graph import PoolGraph
from domain.market.routing.routes import best_route

Quoting = Callable[..., Quote]
"""`quote_exact_in` of one pool."""

HERE = Path(__file__).parent
PEERS = HERE / "peers"
WANTED = {
    "raydium_cpmm": 2, "raydium_amm_v4": 10, "raydium_clmm": 1,
    "orca_whirlpool": 10, "meteora_dlmm": 3, "pumpswap": 20,
}  # fmt: skip
"""How many times as fast as its SDK each must be."""
ROUNDS = 3
"""Of both sides in turn: what else the machine does falls on both."""
SELLS_A = {"a_to_b": True, "b_to_a": False, "sell": True, "buy": False}


def graded(protocol: str) -> list[tuple[Pool, int, bool, int]]:
    """Exact inputs that have a whole answer: pool, amount, direction, and what must come out."""
    found = []
    for raw in vector_pools(protocol):
        if protocol != "raydium_amm_v4" and any((raw.get("transferFee") or {}).values()):
            continue  # the SDK is not asked for these
        if protocol == "orca_whirlpool" and raw["accounts"].get("oracle"):
            continue
        reading = vector_reading(protocol, raw)
        key = public_key(reading.found.address)
        pool = POOL_PROGRAMS[protocol].quotable(key, reading.accounts, reading.time)
        for case in raw["cases"]:
            whole = case["mode"] == "exact_in" and not case.get("error") and not case.get("partial")
            carried_out = (case.get("program") or {}).get("ok", True)
            if whole and carried_out and case.get("amountOut", "0") != "0":
                found.append((pool, int(case["amount"]), SELLS_A[case["side"]], int(case["amountOut"])))
    return found


def checked(protocol: str) -> list[tuple[Quoting, int, bool]]:
    """The cases as calls, each found to be what the vector says."""
    cases = graded(protocol)
    for pool, amount, a_to_b, out in cases:
        found = pool.quote_exact_in(amount, a_to_b=a_to_b).amount_out
        if found != out:
            raise SystemExit(f"{protocol}: {amount} gave {found}, the vector says {out}")
    return [(pool.quote_exact_in, amount, a_to_b) for pool, amount, a_to_b, _ in cases]


def per_cpu_s(work: list[tuple[Quoting, int, bool]], seconds: float) -> int:
    """How many of these quotes a CPU second gives."""
    quotes, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        for quote, amount, a_to_b in work:
            quote(amount, a_to_b=a_to_b)
        quotes += len(work)
    return round(quotes / (time.process_time() - began))


def theirs(seconds: float) -> dict[str, Any]:
    """The SDKs' figures by protocol; empty, with a sentence, where they are not installed."""
    node = shutil.which("node")
    if node is None or not (PEERS / "node_modules").is_dir():
        print("SDKs skipped: they need Node and `npm install --ignore-scripts` in benchmarks/peers")
        return {}
    command = [node, "quotes.cjs", str(VECTORS), str(seconds)]
    done = subprocess.run(command, cwd=PEERS, capture_output=True, text=True, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def beside_the_sdks(seconds: float) -> tuple[dict[str, Any], dict[str, float]]:
    """Both sides by protocol, in alternating rounds, and the median of how many times as fast ours is."""
    work = {protocol: checked(protocol) for protocol in WANTED}
    own: dict[str, list[int]] = {protocol: [] for protocol in WANTED}
    sdk: dict[str, list[dict[str, Any]]] = {protocol: [] for protocol in WANTED}
    for _ in range(ROUNDS):
        peers = theirs(seconds / ROUNDS)
        for protocol, calls in work.items():
            own[protocol].append(per_cpu_s(calls, seconds / ROUNDS))
            sdk[protocol] += [peers[protocol]] if "per_cpu_s" in peers.get(protocol, {}) else []
    figures: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    for protocol, asked in WANTED.items():
        rates = [one["per_cpu_s"] for one in sdk[protocol]]
        figures[protocol] = {"cases": len(work[protocol]), "ours": own[protocol], "sdk": rates}
        line = f"{protocol:<15} {median(own[protocol]):>10,.0f} quotes per CPU s"
        if rates:
            pairs = zip(own[protocol], rates, strict=True)
            ratios[protocol] = round(median(mine / other for mine, other in pairs), 1)
            same = f"{sdk[protocol][0]['same']} of {sdk[protocol][0]['cases']}"
            line += f"   SDK {median(rates):>9,.0f} ({same} as the vectors)"
            line += f"   {ratios[protocol]:>6.1f}x, asked {asked}x"
        print(line)
    return figures, ratios


def timed_ms(call: Callable[[], object], calls: int) -> dict[str, float]:
    """p50 and p99 of `calls` calls."""
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1_000)
    cuts = quantiles(taken, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}


def a_thousand_pools(random: Random) -> PoolGraph:
    """1,000 constant product pools of 200 tokens, half of them against two hubs, prices a percent apart."""
    mints = [Mint(f"mint{number:03}") for number in range(200)]
    worth = {mint: 10 ** random.uniform(-3, 3) for mint in mints}
    pools = []
    for number in range(1_000):
        one = mints[number % 2] if random.random() < 0.5 else random.choice(mints)
        other = random.choice([mint for mint in mints if mint != one])
        depth = int(10 ** random.uniform(9, 13))
        reserve = int(depth * worth[one] / worth[other] * random.uniform(0.99, 1.01))
        pools.append(
            listed(f"pool{number:04}", one, other, cpmm(depth, reserve, random.choice([100, 2_500])))
        )
    return PoolGraph(pools)


def routes(searches: int) -> dict[str, Any]:
    """Best routes of up to three legs and four parts over 1,000 pools; single paths beside them."""
    random = Random(4)
    graph = a_thousand_pools(random)
    mints = graph.mints()
    questions = _questions(random, mints)
    parts: list[int] = []

    def search(max_parts: int) -> None:
        mint_in, mint_out, amount = next(questions)
        try:
            parts.append(len(best_route(graph, mint_in, mint_out, amount, max_parts=max_parts).paths))
        except NoRoute:
            parts.append(0)

    return {
        "divided": timed_ms(lambda: search(4), searches),
        "single_path": timed_ms(lambda: search(1), searches),
        "found": sum(map(bool, parts)),
        "searches": len(parts),
    }


def _questions(random: Random, mints: list[Mint]) -> Iterator[tuple[Mint, Mint, int]]:
    """Two tokens and an amount, for ever."""
    while True:
        mint_in, mint_out = random.sample(mints, 2)
        yield mint_in, mint_out, int(10 ** random.uniform(6, 12))


def batches(calls: int) -> dict[str, Any]:
    """100 questions across all six protocols: never asked before, and asked again."""
    clock = Clock()
    quotes = Quotes(vector_book(clock), clock, max_stale_us=5_000_000)
    pools = [pool for pool, *_ in quotes.pools()]
    wanted = [
        QuoteRequest(pool.mint_a, pool.mint_b, 1_000_000 + number)
        for number, pool in enumerate((pools * 2)[:100])
    ]

    def ask(*, anew: bool) -> None:
        if anew:
            quotes.forget()
        asyncio.run(quotes.quote_many(wanted))

    return {
        "new_questions": timed_ms(lambda: ask(anew=True), calls),
        "known_questions": timed_ms(lambda: ask(anew=False), calls),
    }


async def start(pools: int) -> dict[str, Any]:
    """Find and read so many pools on a local network; all calls over HTTP."""
    command = [sys.executable, "-P", str(HERE / "many_pools.py"), str(pools)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as network:  # noqa: ASYNC220 - nothing else runs yet
        facts = json.loads(network.stdout.readline())  # type: ignore[union-attr] # it is a pipe
        rpc = JsonRpc(facts["rpc_url"], timeout_s=60)
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000  # noqa: E731 - two words
        quotes = Quotes(LiveBook(clock), clock, max_stale_us=60_000_000)
        accounts = AccountReader(rpc)
        initialiser = Initialiser(
            accounts,
            PoolReader(accounts),
            quotes,
            list(POOL_PROGRAMS.values()),
            [Mint(WSOL)],
            lambda *_: None,
        )
        loaded = await initialiser.load()
        await rpc.aclose()
        network.communicate("")
    return {"pools": loaded.quotable, "seconds": round(loaded.took_ms / 1_000, 1)}


async def main() -> None:
    """Measure, print what was found, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="per protocol and side, and per load")
    parser.add_argument("--searches", type=int, default=1_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--pools", type=int, default=10_000, help="on the local network of the start")
    wanted = parser.parse_args()
    figures, ratios = beside_the_sdks(wanted.seconds)
    found: dict[str, Any] = {
        "per_protocol": figures,
        "batch_of_100": await asyncio.to_thread(batches, wanted.batches),
    }
    print(f"batch of 100      {found['batch_of_100']}")
    found["route_over_1000_pools"] = routes(wanted.searches)
    print(f"best route        {found['route_over_1000_pools']}")
    with served() as facts:
        for name, load in (("http", load_http), ("grpc", load_grpc)):
            found[name] = await load(facts, wanted.seconds)
            print(f"{name} at 32        {found[name]}")
    found["start"] = await start(wanted.pools)
    print(f"start             {found['start']}")
    versions = {
        "python": platform.python_version(),
        **{n: version(n) for n in ("daybook", "grpcio", "uvicorn")},
    }
    print(json.dumps({"benchmark": "quotes", "ratios": ratios, **found, "versions": versions}))


if __name__ == "__main__":
    asyncio.run(main())
