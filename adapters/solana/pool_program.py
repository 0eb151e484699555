"""What every pool program tells the rest of daybook: how its pools are found, read, quoted and swapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.accounts import Account
from domain.market.amm.pool import Pool

Accounts = Mapping[Pubkey, Account | None]
"""Accounts as read, None where there is no such account; all of one slot."""


@dataclass(frozen=True, slots=True)
class ChainTime:
    """The chain's clock a quote is made for: fees of some pools and mints depend on it.

    Attributes:
        unix_time: seconds, of the clock sysvar.
        epoch: decides which of a Token-2022 mint's two transfer fees is in force.
    """

    unix_time: int
    epoch: int


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """One swap to build an instruction for.

    Attributes:
        pool: the pool account.
        accounts: the pool and what `PoolProgram.around` named for it.
        user: owns the token accounts and signs.
        user_in, user_out: the user's token accounts.
        a_to_b: True when token a is sold.
        exact_in: whether `amount` is what is sent, else what must arrive.
        amount: exact, base units.
        limit: the least that must arrive, or the most that may be sent.
    """

    pool: Pubkey
    accounts: Accounts
    user: Pubkey
    user_in: Pubkey
    user_out: Pubkey
    a_to_b: bool
    exact_in: bool
    amount: int
    limit: int


@dataclass(frozen=True, slots=True)
class PoolProgram:
    """One protocol, as the pool directory, the quote service and the transaction builder use it.

    Attributes:
        protocol: its name in events and answers, e.g. `raydium_cpmm`.
        program_id: owns the pool accounts.
        lengths: of a pool account, newest first; a search asks for one at a time.
        discriminator: the first bytes of a pool account; empty where the program writes none.
        mint_offsets: where the account names its two mints, token a first.
        around: the accounts a quote or a swap needs beyond those in `accounts`, derived from what is known;
            asked again after each reading, empty when nothing is missing. Accounts read as None stay None.
            Empty for a pool that cannot be decoded: `quotable` says what is wrong with it.
        quotable: the pool as its mathematics takes it. Raises DecodeError for accounts that are not what
            the program would have made; QuoteError where the program takes no swaps now.
        swap: the instruction. Raises QuoteError where the program has none for the request, DecodeError
            where the pool's accounts are missing or not its own.
    """

    protocol: str
    program_id: Pubkey
    lengths: tuple[int, ...]
    discriminator: bytes
    mint_offsets: tuple[int, int]
    around: Callable[[Pubkey, Accounts], tuple[Pubkey, ...]]
    quotable: Callable[[Pubkey, Accounts, ChainTime], Pool]
    swap: Callable[[SwapRequest], Instruction]
