"""The accounts around a pool, held to what the pool says of them: shared by every pool program.

Whoever can write an account can point a pool-shaped one at vaults of his own, so each account is checked to
be the pool's before a number is read from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from adapters.solana.pool_program import Accounts
from adapters.solana.programs import token
from adapters.solana.programs.remembered import remembered
from domain.errors import DecodeError
from domain.market.amm.pool import TransferFee

T = TypeVar("T")


def unread(
    pool: Pubkey,
    accounts: Accounts,
    decode: Callable[[bytes, Pubkey], T],
    named: Callable[[T], tuple[Pubkey, ...]],
) -> tuple[Pubkey, ...]:
    """The accounts still to be read: the pool, then what `named` finds in the decoded pool.

    None for a pool that does not exist or cannot be decoded: `quotable` says what is wrong with it.
    """
    if pool not in accounts:
        return (pool,)
    account = accounts[pool]
    if account is None:
        return ()
    try:
        wanted = named(remembered(decode, account.data, account.owner))
    except DecodeError:
        return ()
    return tuple(key for key in dict.fromkeys(wanted) if key not in accounts)


def present(kind: str, pool: Pubkey, key: Pubkey, accounts: Accounts) -> Account:
    """An account of the pool, `kind` being what it is called there.

    Raises:
        DecodeError: there is no such account, or it was not read.
    """
    account = accounts.get(key)
    if account is None:
        raise DecodeError(f"reading pool {pool}: its {kind} {key} does not exist; the pool cannot trade")
    return account


def decoded(
    kind: str, pool: Pubkey, key: Pubkey, accounts: Accounts, decode: Callable[[bytes, Pubkey], T]
) -> T:
    """An account of the pool, decoded; the error names the pool.

    Raises:
        DecodeError: there is no such account, or it is not what it should be.
    """
    account = present(kind, pool, key, accounts)
    try:
        return remembered(decode, account.data, account.owner)
    except DecodeError as error:
        raise DecodeError(f"reading pool {pool}: {error}") from error


def vault_amount(pool: Pubkey, vault: Pubkey, mint: Pubkey, authority: Pubkey, accounts: Accounts) -> int:
    """What a vault holds, base units.

    Raises:
        DecodeError: it is no token account of `mint` owned by `authority`.
    """
    held = decoded("vault", pool, vault, accounts, token.decode_token_account)
    if held.mint != mint or held.owner != authority:
        raise DecodeError(
            f"reading pool {pool}: its vault {vault} holds {held.mint} for {held.owner}, expected {mint} for "
            f"{authority}; do not trade there"
        )
    return held.amount


def mint_fee(pool: Pubkey, mint: Pubkey, accounts: Accounts, epoch: int) -> TransferFee | None:
    """The transfer fee a mint charges in `epoch`; None where it charges none.

    Raises:
        DecodeError: the account is no mint of a token program.
    """
    decoded("mint", pool, mint, accounts, token.decode_mint)
    account = present("mint", pool, mint, accounts)
    fee = token.transfer_fee(account.data, account.owner, epoch)
    return fee if fee and fee.bps else None


def token_program(pool: Pubkey, mint: Pubkey, accounts: Accounts) -> Pubkey:
    """The token program a mint belongs to.

    Raises:
        DecodeError: there is no such account.
    """
    return present("mint", pool, mint, accounts).owner
