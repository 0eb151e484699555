"""PumpSwap instructions: sell, buy an amount of coins, buy for an amount of quote tokens.

Accounts and their order are pump-swap-sdk 1.20.0's; the list has grown several times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from adapters.solana.programs.associated_token import PROGRAM_ID as ASSOCIATED_TOKEN_PROGRAM
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.layout import anchor_instruction, check_arguments
from adapters.solana.programs.metas import readable, writable
from adapters.solana.programs.pumpswap_layout import FEE_CONFIG, FEE_PROGRAM, GLOBAL_CONFIG, PROGRAM_ID

BUY: Final = anchor_instruction("buy")
BUY_EXACT_QUOTE_IN: Final = anchor_instruction("buy_exact_quote_in")
SELL: Final = anchor_instruction("sell")

_ARGUMENTS: Final = Struct("<8sQQ")
_TRACK_VOLUME: Final = b"\x01"
_EVENT_AUTHORITY: Final = Pubkey.find_program_address([b"__event_authority"], PROGRAM_ID)[0]
_VOLUME: Final = Pubkey.find_program_address([b"global_volume_accumulator"], PROGRAM_ID)[0]


@dataclass(frozen=True, slots=True)
class SwapAccounts:
    """The accounts of one swap, as far as they are not derived from each other.

    Attributes:
        protocol_recipient, buyback_recipient: two of those the global config lists.
        coin_creator: the default key where the pool has none.
        cashback: whether the pool pays the creator's fee back to its traders.
    """

    pool: Pubkey
    user: Pubkey
    base_mint: Pubkey
    quote_mint: Pubkey
    user_base: Pubkey
    user_quote: Pubkey
    base_vault: Pubkey
    quote_vault: Pubkey
    protocol_recipient: Pubkey
    buyback_recipient: Pubkey
    base_program: Pubkey
    quote_program: Pubkey
    coin_creator: Pubkey
    cashback: bool = False


@dataclass(frozen=True, slots=True)
class SwapArguments:
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in."""

    a_to_b: bool
    exact_in: bool
    amount: int
    limit: int


def sell(accounts: SwapAccounts, *, base_in: int, min_quote_out: int) -> Instruction:
    """Build a sale of exactly `base_in` that fails below `min_quote_out`."""
    data = _ARGUMENTS.pack(SELL, base_in, min_quote_out)
    return Instruction(PROGRAM_ID, data, _metas(accounts, buying=False))


def buy(accounts: SwapAccounts, *, base_out: int, max_quote_in: int) -> Instruction:
    """Build a buy of exactly `base_out` that fails above `max_quote_in`."""
    data = _ARGUMENTS.pack(BUY, base_out, max_quote_in) + _TRACK_VOLUME
    return Instruction(PROGRAM_ID, data, _metas(accounts, buying=True))


def buy_exact_quote_in(accounts: SwapAccounts, *, quote_in: int, min_base_out: int) -> Instruction:
    """Build a buy that spends `quote_in`, fees included, and fails below `min_base_out`."""
    data = _ARGUMENTS.pack(BUY_EXACT_QUOTE_IN, quote_in, min_base_out) + _TRACK_VOLUME
    return Instruction(PROGRAM_ID, data, _metas(accounts, buying=True))


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, or the arguments are cut off.
    """
    check_arguments("PumpSwap swap", data, _ARGUMENTS.size, (BUY, BUY_EXACT_QUOTE_IN, SELL))
    name, first, second = _ARGUMENTS.unpack_from(data)
    return SwapArguments(a_to_b=name == SELL, exact_in=name != BUY, amount=first, limit=second)


@lru_cache(maxsize=4096)
def creator_vault_authority(coin_creator: Pubkey) -> Pubkey:
    """Derive the key that owns the vault of a coin creator's fees."""
    return Pubkey.find_program_address([b"creator_vault", bytes(coin_creator)], PROGRAM_ID)[0]


@lru_cache(maxsize=4096)
def volume_account(user: Pubkey) -> Pubkey:
    """Derive the account that sums up a user's volume."""
    return Pubkey.find_program_address([b"user_volume_accumulator", bytes(user)], PROGRAM_ID)[0]


@lru_cache(maxsize=4096)
def _second_pool(base_mint: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([b"pool-v2", bytes(base_mint)], PROGRAM_ID)[0]


def _metas(keys: SwapAccounts, *, buying: bool) -> list[AccountMeta]:
    authority = creator_vault_authority(keys.coin_creator)
    volume = [readable(_VOLUME), writable(volume_account(keys.user))] if buying else []
    return [
        writable(keys.pool),
        AccountMeta(keys.user, is_signer=True, is_writable=True),
        readable(GLOBAL_CONFIG),
        readable(keys.base_mint),
        readable(keys.quote_mint),
        writable(keys.user_base),
        writable(keys.user_quote),
        writable(keys.base_vault),
        writable(keys.quote_vault),
        readable(keys.protocol_recipient),
        writable(associated_address(keys.protocol_recipient, keys.quote_mint, keys.quote_program)),
        readable(keys.base_program),
        readable(keys.quote_program),
        readable(SYSTEM_PROGRAM),
        readable(ASSOCIATED_TOKEN_PROGRAM),
        readable(_EVENT_AUTHORITY),
        readable(PROGRAM_ID),
        writable(associated_address(authority, keys.quote_mint, keys.quote_program)),
        readable(authority),
        *volume,
        readable(FEE_CONFIG),
        readable(FEE_PROGRAM),
        *_remaining(keys, buying=buying),
    ]


def _remaining(keys: SwapAccounts, *, buying: bool) -> list[AccountMeta]:
    """What the program looks for behind the named accounts, depending on the pool."""
    remaining = []
    if keys.cashback:
        volume = volume_account(keys.user)
        remaining.append(writable(associated_address(volume, keys.quote_mint, keys.quote_program)))
        if not buying:
            remaining.append(writable(volume))
    if keys.coin_creator != Pubkey.default():
        remaining.append(readable(_second_pool(keys.base_mint)))
    buyback = associated_address(keys.buyback_recipient, keys.quote_mint, keys.quote_program)
    return [*remaining, readable(keys.buyback_recipient), writable(buyback)]
