"""A local Solana with as many CPMM pools as wanted, each of SOL and a token of its own.

Run in a process of its own, until standard input ends: what it costs is not the reader's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from hashlib import sha256

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.founding import WSOL_MINT
from adapters.localnet.ledger import Ledger
from adapters.localnet.server import LocalnetConfig, serve
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token

DEPTH = 10**12


def write(ledger: Ledger, address: Pubkey, data: bytes, owner: Pubkey) -> None:
    """Put one account on the chain."""
    ledger.set_account(address, Account(ledger.rent(len(data)) + DEPTH, data, owner))


def key(name: str, number: int) -> Pubkey:
    """An address for a name."""
    return Pubkey(sha256(f"{name} {number}".encode()).digest())


def open_pool(ledger: Ledger, config: Pubkey, number: int) -> None:
    """Pool number `number`: SOL against a token nobody else trades."""
    pool, mint = key("pool", number), key("mint", number)
    vaults = key("vault a", number), key("vault b", number)
    state = cpmm.PoolState(
        config, mint, *vaults, mint, WSOL_MINT, mint, TOKEN_PROGRAM, TOKEN_PROGRAM, mint,
        cpmm.AUTHORITY_BUMP, 0, 9, 9, 6, DEPTH, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    write(ledger, pool, cpmm.encode_pool(state), cpmm.PROGRAM_ID)
    write(ledger, mint, token.encode_mint(None, DEPTH, 6), TOKEN_PROGRAM)
    rent = ledger.rent(token.TOKEN_ACCOUNT_LENGTH)
    sol = token.encode_token_account(WSOL_MINT, cpmm.AUTHORITY, DEPTH, native_reserve=rent)
    write(ledger, vaults[0], sol, TOKEN_PROGRAM)
    write(ledger, vaults[1], token.encode_token_account(mint, cpmm.AUTHORITY, DEPTH + number), TOKEN_PROGRAM)


async def main() -> None:
    """Write the pools, say where the network is, and wait."""
    async with serve(LocalnetConfig(port=0, slot_ms=400, crowd_tps=0)) as network:
        for number in range(int(sys.argv[1])):
            open_pool(network.ledger, network.world.pools[0].config, number)
        print(json.dumps({"rpc_url": network.rpc_url, "ws_url": network.ws_url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
