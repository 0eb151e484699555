"""From a pool state seen to the trade executed: daybook, all on record, beside a bot with no record.

The bare bot uses the same scanner, decider, transaction builder and node, and writes nothing down: what it
takes is what the chain takes, and the rest of daybook's time is the price of the record. Rounds alternate
between the two on fresh local networks with the same crowd. The last line is JSON; a ratio is daybook's time
divided by the bare bot's, so lower is better and 1 would be free. The end is the first sighting on chain, at
commitment processed; the start is the pool state in hand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing, suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from adapters.scanners.websocket import PoolScanner
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from daybook.clock import now_us
from daybook.demo.network import Network, NetworkOptions, local_network
from domain.chain import WSOL, Address
from domain.errors import ChainError
from domain.market.events import PoolUpdated
from domain.market.pools import PoolBook
from domain.money import Lamports
from domain.strategies.arbitrage import Finding, decide
from domain.strategies.events import ArbitrageParameters

SIGNER = MemorySigner.from_seed(b"the wallet of the latency bench!")
FUNDS = {"lamports": 10_000_000_000, "wsol": 500_000_000_000, "usdc": 1_000_000_000}
PARAMETERS = ArbitrageParameters(
    mint=WSOL,
    min_profit_lamports=Lamports(20_000),
    max_input=20_000_000_000,
    compute_unit_limit=400_000,
    compute_unit_price_micro_lamports=10_000,
    tip_lamports=Lamports(0),
    max_quote_age_slots=20,
)


class BareBot:
    """Sees, decides, signs, sends, waits; remembers nothing but its times."""

    def __init__(self, rpc: JsonRpc, pubsub: PubSub, network: Network) -> None:
        accounts = AccountReader(rpc)
        directory = PoolDirectory(accounts)
        pools = [Address(pool) for pool in network.pools]
        self._chain = RpcChain(rpc, pubsub)
        self._builder = CycleTransactionBuilder(directory, [SIGNER])
        self._scanner = PoolScanner(
            name="bare", accounts=accounts, pubsub=pubsub, directory=directory, clock=now_us, pools=pools
        )
        self._book = PoolBook()
        self.taken_ms: list[float] = []

    async def run(self) -> None:
        """Trade until cancelled."""
        async with aclosing(self._scanner.observations()) as observations:  # type: ignore[type-var] # scanners are async generators
            async for seen in observations:
                if isinstance(seen, PoolUpdated) and self._book.fold(seen):
                    began = time.perf_counter()
                    finding = decide(PARAMETERS, self._book, FUNDS["wsol"])
                    if finding is not None and await self._executed(finding):
                        self.taken_ms.append((time.perf_counter() - began) * 1_000)

    async def _executed(self, finding: Finding) -> bool:
        signed = await self._builder.build(
            wallet=SIGNER.address,
            legs=finding.legs,
            tip_lamports=Lamports(0),
            compute_unit_limit=PARAMETERS.compute_unit_limit,
            compute_unit_price_micro_lamports=PARAMETERS.compute_unit_price_micro_lamports,
            recent=await self._chain.latest_blockhash(),
        )
        with suppress(ChainError):  # the pool moved first: no trade, no time
            await self._chain.send(signed.transaction)
            while (status := await self._chain.status(signed.signature)).slot is None:  # noqa: ASYNC110 - executed on arrival
                await asyncio.sleep(0.001)
            return status.error is None
        return False


async def bare_round(seconds: float, seed: int) -> list[float]:
    """Milliseconds of each trade of the bare bot."""
    async with local_network(NetworkOptions(seed, 100, None, 600)) as network:
        rpc = JsonRpc(network.rpc_url)
        async with PubSub(network.ws_url, clock=now_us) as pubsub:
            await rpc.call("localnet_fund", SIGNER.address, FUNDS)
            bot = BareBot(rpc, pubsub, network)
            with suppress(TimeoutError):
                await asyncio.wait_for(bot.run(), seconds)
        await rpc.aclose()
        return bot.taken_ms


def daybook_round(seconds: int, seed: int, folder: Path) -> dict[str, Any]:
    """The demo's own figures."""
    command = [sys.executable, "-m", "daybook", "demo", "--json", "--seconds", str(seconds)]
    command += ["--seed", str(seed), "--data-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def percentile(values: list[float], percent: int) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def main() -> None:
    """Alternate the two and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="of trading, each side of a round")
    options = parser.parse_args()
    bare: list[float] = []
    ours: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, options.rounds + 1):
            bare += asyncio.run(bare_round(options.seconds, seed))
            ours.append(daybook_round(options.seconds, seed, Path(folder) / "demo"))
            print(f"round {seed}: bare {len(bare)} trades so far; daybook {ours[-1]['detect_to_land_ms']}")
    result = {f"p{p}": median(figures["detect_to_land_ms"][f"p{p}"] for figures in ours) for p in (50, 99)}
    baseline = {f"p{p}": round(percentile(bare, p), 3) for p in (50, 99)}
    print(
        json.dumps(
            {
                "benchmark": "detect_to_land",
                "daybook_ms": result,
                "bare_ms": baseline,
                "trades": {"daybook": sum(f["trades_landed"] for f in ours), "bare": len(bare)},
                "p99_under_500_ms": result["p99"] < 500,
                "ratios": {name: round(result[name] / baseline[name], 2) for name in result},
                "versions": {"python": platform.python_version(), "daybook": version("daybook")},
            }
        )
    )


if __name__ == "__main__":
    main()
