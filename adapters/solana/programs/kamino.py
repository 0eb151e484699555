"""Kamino Lend (klend) on chain: flash loans, and of a reserve what a flash loan needs to know.

Layout and checks follow the program's published source (github.com/Kamino-Finance/klend: `state/reserve.rs`,
`lending_market/flash_ixs.rs`), instruction bytes the SDK (@kamino-finance/klend-sdk 8.0.2).

A flash loan is two instructions at the top level of one transaction: the borrow, and later the repayment that
names the borrow's place among all instructions, compute budget instructions included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.solana.programs.layout import (
    anchor_account,
    anchor_instruction,
    check_arguments,
    check_data,
    check_owner,
)
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.token import TOKEN_PROGRAM
from domain.errors import DecodeError

PROGRAM_ID: Final = Pubkey.from_string("KLend2g3cP87fffoy8q1mQqGKjrxjC8boSyAYavgmjD")
INSTRUCTIONS_SYSVAR: Final = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")

FLASH_BORROW: Final = anchor_instruction("flash_borrow_reserve_liquidity")
FLASH_REPAY: Final = anchor_instruction("flash_repay_reserve_liquidity")
RESERVE_DISCRIMINATOR: Final = anchor_account("Reserve")
RESERVE_LENGTH: Final = 8_624

_BORROW_ARGS: Final = Struct("<8sQ")
_REPAY_ARGS: Final = Struct("<8sQB")
_VERSION: Final = 1
_KEYS_AT: Final = {
    "lending_market": 32,
    "mint": 128,
    "supply_vault": 160,
    "fee_vault": 192,
    "token_program": 408,
}
_AVAILABLE_AT: Final = 224
_STATUS_AT: Final = 4_856
_FLASH_FEE_AT: Final = 4_904
_U64: Final = Struct("<Q")


@dataclass(frozen=True, slots=True)
class Reserve:
    """Of a reserve account what a flash loan needs; the rest of its bytes is kept in `raw`.

    Attributes:
        lending_market: whose reserve it is.
        mint: of the token that is lent.
        supply_vault: holds it. `fee_vault`: gets the fees.
        token_program: of the mint.
        available: base units that can be borrowed now.
        status: 0 active, 1 obsolete, 2 hidden.
        flash_loan_rate: parts of 2^60; see `domain.market.flash_loan`.
        raw: the whole account.
    """

    lending_market: Pubkey
    mint: Pubkey
    supply_vault: Pubkey
    fee_vault: Pubkey
    token_program: Pubkey
    available: int
    status: int
    flash_loan_rate: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class FlashAccounts:
    """The accounts of a flash loan; borrow and repayment must name the same.

    Attributes:
        user: signs, and owns `user_account`, which receives the loan and repays it.
        referrer_state, referrer: None where nobody referred the user.
    """

    user: Pubkey
    lending_market: Pubkey
    reserve: Pubkey
    mint: Pubkey
    supply_vault: Pubkey
    user_account: Pubkey
    fee_vault: Pubkey
    token_program: Pubkey = TOKEN_PROGRAM
    referrer_state: Pubkey | None = None
    referrer: Pubkey | None = None


@dataclass(frozen=True, slots=True)
class FlashArguments:
    """What a flash instruction asks; `borrow_index` is the borrow's place, None in the borrow itself."""

    amount: int
    borrow_index: int | None = None


def decode_reserve(data: bytes, owner: Pubkey) -> Reserve:
    """Read a reserve account (8,624 bytes).

    Raises:
        DecodeError: owner, length, discriminator or version are not those of a reserve we know.
    """
    check_owner("Kamino reserve", owner, (PROGRAM_ID,))
    check_data("Kamino reserve", data, RESERVE_LENGTH, RESERVE_DISCRIMINATOR)
    (version,) = _U64.unpack_from(data, 8)
    if version != _VERSION:
        raise DecodeError(f"decoding a Kamino reserve: version {version} is unknown, expected {_VERSION}")
    keys = {name: Pubkey(data[at : at + 32]) for name, at in _KEYS_AT.items()}
    (available,) = _U64.unpack_from(data, _AVAILABLE_AT)
    (rate,) = _U64.unpack_from(data, _FLASH_FEE_AT)
    return Reserve(
        **keys, available=available, status=data[_STATUS_AT], flash_loan_rate=rate, raw=bytes(data)
    )


def encode_reserve(reserve: Reserve) -> bytes:
    """Write a reserve account; `decode_reserve` gives it back."""
    data = bytearray(reserve.raw)
    for name, at in _KEYS_AT.items():
        data[at : at + 32] = bytes(getattr(reserve, name))
    _U64.pack_into(data, _AVAILABLE_AT, reserve.available)
    _U64.pack_into(data, _FLASH_FEE_AT, reserve.flash_loan_rate)
    data[_STATUS_AT] = reserve.status
    return bytes(data)


def new_reserve(
    lending_market: Pubkey,
    mint: Pubkey,
    supply_vault: Pubkey,
    fee_vault: Pubkey,
    *,
    available: int,
    flash_loan_rate: int,
    token_program: Pubkey = TOKEN_PROGRAM,
) -> Reserve:
    """Make a reserve that lends `available` base units and knows no collateral: for the local network."""
    raw = bytearray(RESERVE_LENGTH)
    raw[:16] = RESERVE_DISCRIMINATOR + _U64.pack(_VERSION)
    bare = Reserve(
        lending_market,
        mint,
        supply_vault,
        fee_vault,
        token_program,
        available,
        0,
        flash_loan_rate,
        bytes(raw),
    )
    return replace(bare, raw=encode_reserve(bare))


def market_authority(lending_market: Pubkey) -> Pubkey:
    """Derive the key that signs for every vault of a lending market."""
    return Pubkey.find_program_address([b"lma", bytes(lending_market)], PROGRAM_ID)[0]


def flash_accounts(
    reserve_key: Pubkey, reserve: Reserve, user: Pubkey, user_account: Pubkey
) -> FlashAccounts:
    """Name the accounts of a loan from `reserve`, nobody having referred the user."""
    return FlashAccounts(
        user,
        reserve.lending_market,
        reserve_key,
        reserve.mint,
        reserve.supply_vault,
        user_account,
        reserve.fee_vault,
        reserve.token_program,
    )


def flash_borrow(accounts: FlashAccounts, amount: int) -> Instruction:
    """Build the borrowing of `amount` base units."""
    return Instruction(PROGRAM_ID, _BORROW_ARGS.pack(FLASH_BORROW, amount), _metas(accounts))


def flash_repay(accounts: FlashAccounts, amount: int, borrow_index: int) -> Instruction:
    """Build the repayment of `amount`, the fee on top; the borrow is instruction `borrow_index`, from 0."""
    return Instruction(PROGRAM_ID, _REPAY_ARGS.pack(FLASH_REPAY, amount, borrow_index), _metas(accounts))


def decode_flash(data: bytes) -> FlashArguments:
    """Read a flash instruction's data.

    Raises:
        DecodeError: it is another instruction, or its arguments are cut off.
    """
    arguments = _REPAY_ARGS if data[:8] == FLASH_REPAY else _BORROW_ARGS
    check_arguments("Kamino flash loan", data, arguments.size, (FLASH_BORROW, FLASH_REPAY))
    return FlashArguments(*arguments.unpack_from(data)[1:])


def decode_flash_accounts(keys: Sequence[Pubkey]) -> FlashAccounts:
    """Read a flash instruction's accounts.

    Raises:
        DecodeError: there are fewer than 12, or the authority or the sysvar are not those of a flash loan.
    """
    if len(keys) < 12:
        raise DecodeError(f"decoding a Kamino flash loan: found {len(keys)} accounts, expected 12")
    (
        user,
        authority,
        market,
        reserve,
        mint,
        vault,
        user_account,
        fee_vault,
        state,
        referrer,
        sysvar,
        program,
    ) = keys[:12]
    if authority != market_authority(market) or sysvar != INSTRUCTIONS_SYSVAR:
        raise DecodeError(
            f"decoding a Kamino flash loan: authority {authority} and sysvar {sysvar} are not those of "
            f"market {market}"
        )
    return FlashAccounts(
        user,
        market,
        reserve,
        mint,
        vault,
        user_account,
        fee_vault,
        program,
        None if state == PROGRAM_ID else state,
        None if referrer == PROGRAM_ID else referrer,
    )


def _metas(keys: FlashAccounts) -> list[AccountMeta]:
    none = readable(PROGRAM_ID)  # stands for an absent account
    return [
        signer(keys.user),
        readable(market_authority(keys.lending_market)),
        readable(keys.lending_market),
        writable(keys.reserve),
        readable(keys.mint),
        writable(keys.supply_vault),
        writable(keys.user_account),
        writable(keys.fee_vault),
        *(writable(key) if key else none for key in (keys.referrer_state, keys.referrer)),
        readable(INSTRUCTIONS_SYSVAR),
        readable(keys.token_program),
    ]
