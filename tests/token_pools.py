"""CPMM pools written straight onto a local chain, each of SOL and a token of its own."""

from __future__ import annotations

from hashlib import sha256

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN_PROGRAM

from adapters.localnet.founding import WSOL_MINT
from adapters.localnet.ledger import Ledger
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from domain.chain import Mint

DEPTH = 10**12


def write(ledger: Ledger, address: Pubkey, data: bytes, owner: Pubkey) -> None:
    """Put one account on the chain."""
    ledger.set_account(address, Account(ledger.rent(len(data)) + DEPTH, data, owner))


def key(name: str, number: int) -> Pubkey:
    """An address for a name."""
    return Pubkey(sha256(f"{name} {number}".encode()).digest())


def own_mint(number: int) -> Mint:
    """The token that only pool number `number` trades."""
    return Mint(str(key("mint", number)))


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
    set_sol(ledger, number, DEPTH)
    write(ledger, vaults[1], token.encode_token_account(mint, cpmm.AUTHORITY, DEPTH + number), TOKEN_PROGRAM)


def set_sol(ledger: Ledger, number: int, lamports: int) -> None:
    """Have pool number `number` hold so much wrapped SOL."""
    rent = ledger.rent(token.TOKEN_ACCOUNT_LENGTH)
    sol = token.encode_token_account(WSOL_MINT, cpmm.AUTHORITY, lamports, native_reserve=rent)
    write(ledger, key("vault a", number), sol, TOKEN_PROGRAM)
