"""The local Solana: swaps a second in process and through JSON-RPC, and a book of quotes beside the chain.

The baseline runs in the same rounds: LiteSVM alone, executing signed transfers. Rounds alternate and count
CPU time, so that what else the machine does falls on all alike; through JSON-RPC the clock is the wall's,
since two processes take part. The last part sends mixed swaps over six protocols, each quoted from a book
that only quotes move, and compares wallet, fees and every pool with the chain: the figure asked for is 0. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from statistics import median
from typing import Any

import aiohttp
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction_metadata import TransactionMetadata

from adapters.localnet.genesis import OPENERS
from adapters.localnet.history import Executed
from benchmarks.localnet_book import SOL, WALLET, Chain, book_beside_chain, signed


def per_cpu_second(count: int, act: Callable[[], None]) -> float:
    """How many of `count` things are done in a second of this process's CPU time."""
    began = time.process_time()
    act()
    return count / (time.process_time() - began)


def bare_transfers(count: int) -> float:
    """The baseline: LiteSVM alone, signatures checked."""
    vm = LiteSVM()
    vm.airdrop(WALLET, 10_000 * SOL)
    blockhash = vm.latest_blockhash()
    to = Pubkey(bytes(31) + b"\x07")
    sent = [
        signed(
            transfer(TransferParams(from_pubkey=WALLET, to_pubkey=to, lamports=10**7 + n)), blockhash, n + 1
        )
        for n in range(count)
    ]

    def run() -> None:
        assert all(isinstance(vm.send_transaction(one), TransactionMetadata) for one in sent)  # noqa: S101 - or the figure is void

    return per_cpu_second(count, run)


def in_process(protocol: str, count: int) -> float:
    """Swaps of one protocol, signed before: the ledger checks signatures and rules and keeps the history."""
    chain = Chain()
    (pool,) = (one for one in chain.world.pools if one.protocol == protocol)
    built = [chain.swap(pool, amount, a_to_b=side) for amount, side in ((SOL, True), (150 * 10**6, False))]
    blockhash = chain.ledger.blocks.open.blockhash
    sent = [signed(built[n % 2], blockhash, n + 1) for n in range(count)]

    def run() -> None:
        for one in sent:
            executed = chain.ledger.submit(one)
            assert isinstance(executed, Executed), executed  # noqa: S101 - or the figure is void
            assert executed.outcome.error is None, executed.outcome.logs  # noqa: S101 - or the figure is void

    return per_cpu_second(count, run)


@contextmanager
def local_network() -> Iterator[dict[str, Any]]:
    """Run `daybook localnet` in a process of its own, without a crowd."""
    command = [sys.executable, "-m", "daybook", "localnet", "--port", "0", "--crowd-tps", "0", "--json"]
    pools = [word for protocol in OPENERS for word in ("--pools", f"{protocol}=1")]
    with subprocess.Popen(
        [*command, *pools, "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin  # noqa: S101 - asked for above
        assert process.stdout  # noqa: S101 - asked for above
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(20)


async def through_rpc(network: dict[str, Any], count: int, *, preflight: bool) -> float:
    """Swaps a second that eight connections send; a chain of the same seed here knows the accounts."""
    chain = Chain()
    swaps = [chain.swap(pool, SOL // 100, a_to_b=True) for pool in chain.world.pools]
    async with aiohttp.ClientSession() as session:

        async def call(method: str, *params: object) -> Any:  # noqa: ANN401 - any JSON
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            async with session.post(network["rpc_url"], json=body) as response:
                answer = await response.json()
            assert "error" not in answer, answer  # noqa: S101 - or the figure is void
            return answer["result"]

        await call("localnet_fund", str(WALLET), {"lamports": 100 * SOL, "wsol": 10**5 * SOL, "usdc": 10**6})
        latest = await call("getLatestBlockhash", {"commitment": "processed"})
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        serial = 1 + preflight * 10**6
        ready = [signed(swaps[n % len(swaps)], blockhash, serial + n) for n in range(count)]
        texts = iter([b64encode(bytes(one)).decode() for one in ready])
        options = {
            "encoding": "base64",
            "skipPreflight": not preflight,
            "preflightCommitment": "processed",
        }

        async def send_all() -> None:
            for text in texts:  # shared: each connection takes the next
                await call("sendTransaction", text, options)

        began = time.perf_counter()
        await asyncio.gather(*(send_all() for _ in range(8)))
        return count / (time.perf_counter() - began)


def rounds_of(rounds: int, measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Medians of alternating rounds."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: median(values) for name, values in taken.items()}


def main() -> None:
    """Measure, print what was found, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--swaps", type=int, default=2_000, help="of each protocol in each round")
    parser.add_argument("--mixed", type=int, default=10_000, help="for the book beside the chain")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, solders {version('solders')}, {platform.machine()}")
    count = options.swaps
    found = rounds_of(
        options.rounds,
        {
            "bare transfers": lambda: bare_transfers(count),
            **{name: lambda name=name: in_process(name, count) for name in OPENERS},  # type: ignore[misc]  # mypy cannot type a default
        },
    )
    bare = found["bare transfers"]
    for name, rate in found.items():
        print(f"{name:<16} {rate:>9,.0f} a CPU second, {rate / bare:.2f} of LiteSVM's bare signed transfers")
    with local_network() as network:
        blind = asyncio.run(through_rpc(network, count, preflight=False))
        checked = asyncio.run(through_rpc(network, count, preflight=True))
    print(f"through JSON-RPC, 8 connections: {blind:,.0f} swaps/s, with preflight {checked:,.0f} swaps/s")
    mixed = book_beside_chain(options.mixed, seed=1)
    print(
        f"{mixed['swaps']:,} mixed swaps over six protocols ({mixed['without_quote']} more had no quote): "
        f"book and chain differ by {mixed['difference']} base units"
    )
    rates = {name: round(rate) for name, rate in found.items()}
    rpc = {"skip_preflight": round(blind), "preflight": round(checked)}
    result = {
        "benchmark": "localnet",
        "per_cpu_second": rates,
        "of_bare_transfers": {name: round(rate / bare, 2) for name, rate in found.items()},
        "json_rpc_per_second": rpc,
        "book": mixed,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("daybook", "solders", "aiohttp")},
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
