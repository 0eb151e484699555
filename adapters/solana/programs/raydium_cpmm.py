"""Raydium CPMM on chain: program id, pool and fee config accounts, derived addresses, swap instructions.

Layouts and instruction bytes follow the deployed program (April 2026 binary).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from struct import Struct
from typing import Any, Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs.layout import (
    anchor_account,
    anchor_instruction,
    check_arguments,
    check_data,
    check_owner,
)
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.pool_accounts import decoded, mint_fee, unread, vault_amount
from domain.errors import DecodeError, QuoteError
from domain.market.amm.constant_product import ConstantProductPool, CreatorFeeOn
from domain.market.amm.pool import TransferFee

PROGRAM_ID: Final = Pubkey.from_string("CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C")
AUTHORITY: Final = Pubkey.find_program_address([b"vault_and_lp_mint_auth_seed"], PROGRAM_ID)[0]
"""Signs for every vault of every pool."""
AUTHORITY_BUMP: Final = Pubkey.find_program_address([b"vault_and_lp_mint_auth_seed"], PROGRAM_ID)[1]

POOL_DISCRIMINATOR: Final = anchor_account("PoolState")
CONFIG_DISCRIMINATOR: Final = anchor_account("AmmConfig")
OBSERVATION_DISCRIMINATOR: Final = anchor_account("ObservationState")
SWAP_BASE_INPUT: Final = anchor_instruction("swap_base_input")
SWAP_BASE_OUTPUT: Final = anchor_instruction("swap_base_output")

SWAP_DISABLED: Final = 1 << 2
"""The bit of `PoolState.status` that stops swaps."""

_POOL: Final = Struct("<8s" + "32s" * 10 + "5B7Q2B6s2Q224s")
_CONFIG: Final = Struct("<8sB?H4Q32s32s2Q112s")
_SWAP_ARGS: Final = Struct("<8sQQ")

POOL_LENGTH: Final = _POOL.size  # 637
CONFIG_LENGTH: Final = _CONFIG.size  # 236
OBSERVATION_LENGTH: Final = 4075


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool account, field for field in the order of its bytes; amounts in base units."""

    amm_config: Pubkey
    pool_creator: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    lp_mint: Pubkey
    mint_a: Pubkey
    mint_b: Pubkey
    token_program_a: Pubkey
    token_program_b: Pubkey
    observation: Pubkey
    authority_bump: int
    status: int
    lp_decimals: int
    decimals_a: int
    decimals_b: int
    lp_supply: int
    protocol_fees_a: int
    protocol_fees_b: int
    fund_fees_a: int
    fund_fees_b: int
    open_time: int
    recent_epoch: int
    creator_fee_on: int
    enable_creator_fee: int
    padding: bytes = bytes(6)
    creator_fees_a: int = 0
    creator_fees_b: int = 0
    reserved: bytes = bytes(224)

    def accepts_swaps(self, unix_time: int) -> bool:
        """Whether the program takes swaps at `unix_time` (seconds)."""
        return not self.status & SWAP_DISABLED and unix_time >= self.open_time


@dataclass(frozen=True, slots=True)
class AmmConfig:
    """A fee tier; rates in 10^-6. The protocol's and the fund's are shares of the trade fee."""

    bump: int
    disable_create_pool: bool
    index: int
    trade_fee_rate: int
    protocol_fee_rate: int
    fund_fee_rate: int
    create_pool_fee: int
    protocol_owner: Pubkey
    fund_owner: Pubkey
    creator_fee_rate: int = 0
    creator_fee_share_rate: int = 0
    reserved: bytes = bytes(112)


@dataclass(frozen=True, slots=True)
class SwapAccounts:
    """The accounts of one swap in the order the program reads them."""

    payer: Pubkey
    amm_config: Pubkey
    pool: Pubkey
    user_in: Pubkey
    user_out: Pubkey
    vault_in: Pubkey
    vault_out: Pubkey
    program_in: Pubkey
    program_out: Pubkey
    mint_in: Pubkey
    mint_out: Pubkey
    observation: Pubkey


@dataclass(frozen=True, slots=True)
class SwapArguments:
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in."""

    exact_in: bool
    amount: int
    limit: int


def decode_pool(data: bytes, owner: Pubkey) -> PoolState:
    """Read a pool account (637 bytes).

    Raises:
        DecodeError: owner, length or discriminator are not a CPMM pool's, or its fee mode is unknown.
    """
    check_owner("Raydium CPMM pool", owner, (PROGRAM_ID,))
    check_data("Raydium CPMM pool", data, POOL_LENGTH, POOL_DISCRIMINATOR)
    values: tuple[Any, ...] = _POOL.unpack(data)
    arguments: list[Any] = [*map(Pubkey, values[1:11]), *values[11:]]
    state = PoolState(*arguments)
    if state.creator_fee_on > CreatorFeeOn.ONLY_B:
        raise DecodeError(
            f"decoding a Raydium CPMM pool: creator fee mode {state.creator_fee_on} is not 0, 1 or 2"
        )
    return state


def encode_pool(pool: PoolState) -> bytes:
    """Write a pool account; `decode_pool` gives it back."""
    values = _POOL_VALUES(pool)
    return _POOL.pack(POOL_DISCRIMINATOR, *map(bytes, values[:10]), *values[10:])


def decode_config(data: bytes, owner: Pubkey) -> AmmConfig:
    """Read a fee config account (236 bytes).

    Raises:
        DecodeError: owner, length, discriminator or a rate are not a CPMM fee config's.
    """
    check_owner("Raydium CPMM fee config", owner, (PROGRAM_ID,))
    check_data("Raydium CPMM fee config", data, CONFIG_LENGTH, CONFIG_DISCRIMINATOR)
    values: tuple[Any, ...] = _CONFIG.unpack(data)
    arguments: list[Any] = [*values[1:8], Pubkey(values[8]), Pubkey(values[9]), *values[10:]]
    config = AmmConfig(*arguments)
    if config.trade_fee_rate + config.creator_fee_rate >= 1_000_000:
        raise DecodeError(
            f"decoding a Raydium CPMM fee config: fees of {config.trade_fee_rate} + "
            f"{config.creator_fee_rate} parts per million leave nothing to trade"
        )
    return config


def encode_config(config: AmmConfig) -> bytes:
    """Write a fee config account; `decode_config` gives it back."""
    values = _CONFIG_VALUES(config)
    return _CONFIG.pack(CONFIG_DISCRIMINATOR, *values[:7], *map(bytes, values[7:9]), *values[9:])


def encode_observation(pool: Pubkey) -> bytes:
    """Write the price observation account of a new pool: no observation yet (4,075 bytes)."""
    head = OBSERVATION_DISCRIMINATOR + b"\x00" + b"\x00\x00" + bytes(pool)
    return head + bytes(OBSERVATION_LENGTH - len(head))


def tradable(
    pool: PoolState,
    config: AmmConfig,
    vault_a_amount: int,
    vault_b_amount: int,
    transfer_fees: tuple[TransferFee | None, TransferFee | None] = (None, None),
) -> ConstantProductPool:
    """Give the pool as mathematics sees it, from its two accounts and its vaults' balances.

    Fees owed to protocol, fund and creator wait in the vaults and are no reserve.

    Raises:
        DecodeError: a vault holds less than the fees kept in it.
    """
    reserve_a = vault_a_amount - pool.protocol_fees_a - pool.fund_fees_a - pool.creator_fees_a
    reserve_b = vault_b_amount - pool.protocol_fees_b - pool.fund_fees_b - pool.creator_fees_b
    if reserve_a < 0 or reserve_b < 0:
        raise DecodeError(
            f"reading a Raydium CPMM pool's reserves: the vaults hold {vault_a_amount} and {vault_b_amount}, "
            "less than the fees kept in them; pool and vaults were read at different slots"
        )
    return ConstantProductPool(
        reserve_a,
        reserve_b,
        config.trade_fee_rate,
        config.protocol_fee_rate,
        config.fund_fee_rate,
        config.creator_fee_rate if pool.enable_creator_fee else 0,
        CreatorFeeOn(pool.creator_fee_on),
        *transfer_fees,
    )


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """The fee config, vaults and mints of a pool, as far as they are not read yet."""
    return unread(
        pool,
        accounts,
        decode_pool,
        lambda state: (state.amm_config, state.vault_a, state.vault_b, state.mint_a, state.mint_b),
    )


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> ConstantProductPool:
    """Give the pool as mathematics sees it, from its own account and those around it.

    Raises:
        DecodeError: an account is missing or is not what the program would have made.
        QuoteError: the pool takes no swaps at `time`.
    """
    state = decoded("account", pool, pool, accounts, decode_pool)
    config = decoded("fee config", pool, state.amm_config, accounts, decode_config)
    if not state.accepts_swaps(time.unix_time):
        raise QuoteError(
            f"pool {pool} takes no swaps: status {state.status}, open from unix time {state.open_time}"
        )
    return tradable(
        state,
        config,
        vault_amount(pool, state.vault_a, state.mint_a, AUTHORITY, accounts),
        vault_amount(pool, state.vault_b, state.mint_b, AUTHORITY, accounts),
        (
            mint_fee(pool, state.mint_a, accounts, time.epoch),
            mint_fee(pool, state.mint_b, accounts, time.epoch),
        ),
    )


def swap(request: SwapRequest) -> Instruction:
    """Build the swap of `request`.

    Raises:
        DecodeError: the pool account is missing or no pool.
    """
    state = decoded("account", request.pool, request.pool, request.accounts, decode_pool)
    keys = swap_accounts(
        request.pool,
        state,
        payer=request.user,
        user_in=request.user_in,
        user_out=request.user_out,
        a_to_b=request.a_to_b,
    )
    if request.exact_in:
        return swap_base_input(keys, amount_in=request.amount, minimum_amount_out=request.limit)
    return swap_base_output(keys, max_amount_in=request.limit, amount_out=request.amount)


def swap_accounts(
    pool: Pubkey, state: PoolState, *, payer: Pubkey, user_in: Pubkey, user_out: Pubkey, a_to_b: bool
) -> SwapAccounts:
    """Name the accounts of a swap that sells token a (`a_to_b`) or token b."""
    side_a = (state.vault_a, state.token_program_a, state.mint_a)
    side_b = (state.vault_b, state.token_program_b, state.mint_b)
    (vault_in, program_in, mint_in), (vault_out, program_out, mint_out) = (
        (side_a, side_b) if a_to_b else (side_b, side_a)
    )
    return SwapAccounts(
        payer,
        state.amm_config,
        pool,
        user_in,
        user_out,
        vault_in,
        vault_out,
        program_in,
        program_out,
        mint_in,
        mint_out,
        state.observation,
    )


def swap_base_input(accounts: SwapAccounts, *, amount_in: int, minimum_amount_out: int) -> Instruction:
    """Build a swap that sends exactly `amount_in` and fails below `minimum_amount_out`."""
    return Instruction(
        PROGRAM_ID, _SWAP_ARGS.pack(SWAP_BASE_INPUT, amount_in, minimum_amount_out), _metas(accounts)
    )


def swap_base_output(accounts: SwapAccounts, *, max_amount_in: int, amount_out: int) -> Instruction:
    """Build a swap that receives exactly `amount_out` and fails above `max_amount_in`."""
    return Instruction(
        PROGRAM_ID, _SWAP_ARGS.pack(SWAP_BASE_OUTPUT, max_amount_in, amount_out), _metas(accounts)
    )


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, or the arguments are cut off.
    """
    check_arguments("Raydium CPMM swap", data, _SWAP_ARGS.size, (SWAP_BASE_INPUT, SWAP_BASE_OUTPUT))
    name, first, second = _SWAP_ARGS.unpack_from(data)
    if name == SWAP_BASE_INPUT:
        return SwapArguments(exact_in=True, amount=first, limit=second)
    return SwapArguments(exact_in=False, amount=second, limit=first)


def config_address(index: int) -> Pubkey:
    """Derive the address of fee config number `index`."""
    return Pubkey.find_program_address([b"amm_config", index.to_bytes(2, "big")], PROGRAM_ID)[0]


def pool_address(config: Pubkey, mint_a: Pubkey, mint_b: Pubkey) -> Pubkey:
    """Derive a pool's address; `mint_a` is the lower of the two keys."""
    return Pubkey.find_program_address([b"pool", bytes(config), bytes(mint_a), bytes(mint_b)], PROGRAM_ID)[0]


def vault_address(pool: Pubkey, mint: Pubkey) -> Pubkey:
    """Derive the address of the pool's vault for `mint`."""
    return Pubkey.find_program_address([b"pool_vault", bytes(pool), bytes(mint)], PROGRAM_ID)[0]


def lp_mint_address(pool: Pubkey) -> Pubkey:
    """Derive the address of the pool's liquidity token."""
    return Pubkey.find_program_address([b"pool_lp_mint", bytes(pool)], PROGRAM_ID)[0]


def observation_address(pool: Pubkey) -> Pubkey:
    """Derive the address of the pool's price observations."""
    return Pubkey.find_program_address([b"observation", bytes(pool)], PROGRAM_ID)[0]


def _metas(keys: SwapAccounts) -> list[AccountMeta]:
    return [
        signer(keys.payer),
        readable(AUTHORITY),
        readable(keys.amm_config),
        writable(keys.pool),
        writable(keys.user_in),
        writable(keys.user_out),
        writable(keys.vault_in),
        writable(keys.vault_out),
        readable(keys.program_in),
        readable(keys.program_out),
        readable(keys.mint_in),
        readable(keys.mint_out),
        writable(keys.observation),
    ]


_POOL_VALUES: Final = attrgetter(*(field.name for field in fields(PoolState)))  # once: a swap encodes a pool
_CONFIG_VALUES: Final = attrgetter(*(field.name for field in fields(AmmConfig)))


PROGRAM: Final = PoolProgram(
    protocol="raydium_cpmm",
    program_id=PROGRAM_ID,
    lengths=(POOL_LENGTH,),
    discriminator=POOL_DISCRIMINATOR,
    mint_offsets=(168, 200),
    around=around,
    quotable=quotable,
    swap=swap,
)
