"""What the tests of every pool program ask alike: that spoilt surroundings are refused, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram
from domain.errors import DecodeError, QuoteError

TOKEN_ACCOUNT_MINT = slice(0, 32)
TOKEN_ACCOUNT_OWNER = slice(32, 64)


def read_around(program: PoolProgram, pool: Pubkey, accounts: Accounts) -> dict[Pubkey, Account | None]:
    """What a directory would have read: round after round until the program names nothing more."""
    known: dict[Pubkey, Account | None] = {}
    for _ in range(8):
        wanted = program.around(pool, known)
        if not wanted:
            return known
        known |= {key: accounts.get(key) for key in wanted}
    raise AssertionError(f"{program.protocol} still asks for accounts after eight rounds")


def altered(accounts: Accounts, key: Pubkey, part: slice, value: bytes) -> dict[Pubkey, Account | None]:
    """The accounts with some bytes of one of them exchanged."""
    account = accounts[key]
    assert account is not None
    data = bytearray(account.data)
    data[part] = value
    return {**accounts, key: replace(account, data=bytes(data))}


def spoilt_surroundings(
    program: PoolProgram, pool: Pubkey, accounts: Accounts, vaults: tuple[Pubkey, Pubkey]
) -> Iterator[dict[Pubkey, Account | None]]:
    """Each account missing, each owned by another program, each vault of another mint or owner."""
    other = Pubkey.from_bytes(b"\x07" * 32)
    for key in read_around(program, pool, accounts):
        account = accounts.get(key)
        if account is None:
            continue
        yield {**accounts, key: None}
        yield {**accounts, key: replace(account, owner=other)}
    for vault in vaults:
        for part in (TOKEN_ACCOUNT_MINT, TOKEN_ACCOUNT_OWNER):
            yield altered(accounts, vault, part, bytes(other))


def fails_with(program: PoolProgram, pool: Pubkey, accounts: Accounts, time: ChainTime) -> str:
    """The sentence `quotable` refuses with; empty when it does not."""
    try:
        program.quotable(pool, accounts, time)
    except (DecodeError, QuoteError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
