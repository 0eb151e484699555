"""The Solana client on the local network: each call beside solana-py's, and from a swap sent to a state seen.

Rounds alternate between the two clients, so that what else the machine does falls on both. A ratio above 1
says that ours is faster; both spend their time in the same HTTP library, so about 1 is right. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from statistics import median, quantiles
from typing import Any

from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature as RawSignature

from adapters.scanners.websocket import PoolScanner
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from domain.chain import USDC, WSOL, Address, Signature
from domain.market.events import PoolUpdated
from domain.money import Lamports
from domain.trading.events import Leg

Timed = Callable[[], Awaitable[object]]
KEYPAIR = Keypair.from_seed(b"the wallet of the client's bench!"[:32])
WALLET = Address(str(KEYPAIR.pubkey()))


@contextmanager
def local_network() -> Iterator[dict[str, Any]]:
    """Run `daybook localnet` in a process of its own, without a crowd."""
    command = [sys.executable, "-m", "daybook", "localnet", "--port", "0", "--crowd-tps", "0", "--json"]
    with subprocess.Popen(
        [*command, "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin  # noqa: S101 - asked for above
        assert process.stdout  # noqa: S101 - asked for above
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(20)


async def timed_ms(call: Timed, calls: int) -> list[float]:
    """Time each of `calls` calls, one after the other."""
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1_000)
    return taken


async def compare(ours: Timed, theirs: Timed, rounds: int) -> dict[str, float]:
    """Alternate rounds of 25 calls; medians of all calls, and how many times faster ours is."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        taken[0].extend(await timed_ms(ours, 25))
        taken[1].extend(await timed_ms(theirs, 25))
    our_ms, their_ms = median(taken[0]), median(taken[1])
    return {
        "ours_ms": round(our_ms, 3),
        "solana_py_ms": round(their_ms, 3),
        "ratio": round(their_ms / our_ms, 2),
    }


async def compare_calls(network: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """The calls of the hot path on both clients."""
    keys = [network["pools"][n][part] for n in (0, 1) for part in ("address", "vault_a", "vault_b", "config")]
    pubkeys = [Pubkey.from_string(key) for key in keys]
    nobody = str(RawSignature.default())
    rpc = JsonRpc(network["rpc_url"])
    reader, chain = AccountReader(rpc), RpcChain(rpc, PubSub(network["ws_url"], clock=lambda: 0))
    async with AsyncClient(network["rpc_url"]) as theirs:
        answers = {
            "eight_accounts": await compare(
                lambda: reader.read(keys), lambda: theirs.get_multiple_accounts(pubkeys), rounds
            ),
            "signature_status": await compare(
                lambda: chain.status(Signature(nobody)),
                lambda: theirs.get_signature_statuses([RawSignature.default()]),
                rounds,
            ),
            "latest_blockhash": await compare(chain.latest_blockhash, theirs.get_latest_blockhash, rounds),
        }
    await rpc.aclose()
    return answers


async def sent_to_seen(network: dict[str, Any], swaps: int) -> dict[str, float]:
    """Milliseconds from the call that sends a swap to the pool's new state in the scanner's hands."""
    rpc = JsonRpc(network["rpc_url"])
    await rpc.call("localnet_fund", WALLET, {"lamports": 10**10, "wsol": 10**12, "usdc": 10**6})
    reader = AccountReader(rpc)
    directory = PoolDirectory(reader)
    builder = CycleTransactionBuilder(directory, [MemorySigner(KEYPAIR)])
    pool = Address(network["pools"][0]["address"])
    taken = []
    async with PubSub(network["ws_url"], clock=lambda: time.time_ns() // 1_000) as pubsub:
        chain = RpcChain(rpc, pubsub)
        scanner = PoolScanner(
            name="bench",
            accounts=reader,
            pubsub=pubsub,
            directory=directory,
            clock=lambda: time.time_ns() // 1_000,
            pools=[pool],
        )
        states = scanner.observations()
        await anext(states)
        for n in range(swaps):
            signed = await builder.build(
                wallet=WALLET,
                legs=[Leg("raydium_cpmm", pool, WSOL, USDC, 10**9 + n, 1, 1)],
                tip_lamports=Lamports(0),
                compute_unit_limit=200_000,
                compute_unit_price_micro_lamports=0,
                recent=await chain.latest_blockhash(),
            )
            began = time.perf_counter()
            sending = asyncio.ensure_future(chain.send(signed.transaction))
            seen = await anext(states)
            taken.append((time.perf_counter() - began) * 1_000)
            assert isinstance(seen, PoolUpdated)  # noqa: S101 - a gap here would spoil the figure
            await sending
    await rpc.aclose()
    return {"p50": round(median(taken), 2), "p99": round(quantiles(taken, n=100)[98], 2), "swaps": swaps}


async def main() -> None:
    """Measure, print what was found, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--swaps", type=int, default=200)
    wanted = parser.parse_args()
    with local_network() as network:
        calls = await compare_calls(network, wanted.rounds)
        seen = await sent_to_seen(network, wanted.swaps)
    for name, figures in calls.items():
        print(f"{name:<17} {figures['ours_ms']:7.3f} ms   solana-py {figures['solana_py_ms']:7.3f} ms")
    print(f"swap sent to state seen: p50 {seen['p50']} ms, p99 {seen['p99']} ms")
    result = {
        "benchmark": "solana_client",
        "ratios": {name: figures["ratio"] for name, figures in calls.items()},
        "calls": calls,
        "sent_to_seen_ms": seen,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("daybook", "solana", "solders", "httpx2", "websockets")},
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
