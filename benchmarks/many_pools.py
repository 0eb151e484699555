"""A local Solana with as many CPMM pools as wanted, each of SOL and a token of its own.

Run in a process of its own, until standard input ends: what it costs is not the reader's.
"""

from __future__ import annotations

import asyncio
import json
import sys

from token_pools import open_pool

from adapters.localnet.server import LocalnetConfig, serve


async def main() -> None:
    """Write the pools, say where the network is, and wait."""
    async with serve(LocalnetConfig(port=0, slot_ms=400, crowd_tps=0)) as network:
        for number in range(int(sys.argv[1])):
            open_pool(network.ledger, network.world.pools[0].config, number)
        print(json.dumps({"rpc_url": network.rpc_url, "ws_url": network.ws_url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
