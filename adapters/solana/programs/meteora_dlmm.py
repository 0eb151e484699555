"""Meteora DLMM on chain: its pools as the quote's mathematics takes them, and its swap instructions.

Instruction accounts follow the SDK (@meteora-ag/dlmm 1.9.14): swaps that name no host and no transfer hook.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs import memo, pool_accounts
from adapters.solana.programs.layout import anchor_instruction, check_arguments
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.meteora_dlmm_accounts import (
    POOL_DISCRIMINATOR,
    POOL_LENGTH,
    PROGRAM_ID,
    BitmapExtension,
    Liquidity,
    PoolState,
    decode_bitmap_extension,
    decode_liquidity,
    decode_pool,
)
from adapters.solana.programs.meteora_dlmm_arrays import (
    arrays_ahead,
    bin_array_address,
    bitmap_extension_address,
)
from domain.errors import DecodeError, QuoteError
from domain.market.amm import dlmm_bins
from domain.market.amm.dlmm import DlmmPool
from domain.market.amm.dlmm_bins import Bin, DlmmFees, Volatility

SWAP: Final = anchor_instruction("swap2")
SWAP_EXACT_OUT: Final = anchor_instruction("swap_exact_out2")
EVENT_AUTHORITY: Final = Pubkey.find_program_address([b"__event_authority"], PROGRAM_ID)[0]

ARRAYS_PER_SIDE: Final = 3
"""Bin arrays read on each side: 210 bins; more would not fit a transaction with two other swaps."""

MOST_ARRAYS: Final = 8
"""Bin arrays of one side a quote uses where more were read."""

_SWAP_ARGS: Final = Struct("<8sQQI")
_GATED_PAIRS: Final = (1, 2)
"""Pair types with an opening time: permissioned and customizable."""
_BY_SLOT: Final = 0


@dataclass(frozen=True, slots=True)
class SwapArguments:
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in."""

    exact_in: bool
    amount: int
    limit: int


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """Vaults, mints and bitmap extension of a pool, then the nearest bin arrays with liquidity."""

    def named(state: PoolState) -> tuple[Pubkey, ...]:
        extension = bitmap_extension_address(pool)
        fixed = (state.vault_a, state.vault_b, state.mint_a, state.mint_b, extension)
        if extension not in accounts:
            return fixed
        known = _extension(pool, accounts)
        sides = (arrays_ahead(state, known, a_to_b=side, count=ARRAYS_PER_SIDE) for side in (True, False))
        return fixed + tuple(bin_array_address(pool, index) for side in sides for index in side)

    return pool_accounts.unread(pool, accounts, decode_pool, named)


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> DlmmPool:
    """The pool as its mathematics takes it at `time`.

    The bins of one side end at the first array with liquidity that was not read.

    Raises:
        DecodeError: an account is not what the program would have made.
        QuoteError: the pool is switched off or not yet open.
    """
    state = pool_accounts.decoded("account", pool, pool, accounts, decode_pool)
    _check_open(pool, state, time)
    return DlmmPool(
        _fees(state),
        Volatility(
            state.volatility_accumulator,
            state.volatility_reference,
            state.index_reference,
            state.last_update_timestamp,
        ),
        state.active_id,
        _bins(pool, state, accounts),
        pool_accounts.vault_amount(pool, state.vault_a, state.mint_a, pool, accounts),
        pool_accounts.vault_amount(pool, state.vault_b, state.mint_b, pool, accounts),
        time.unix_time,
        state.orders,
        pool_accounts.mint_fee(pool, state.mint_a, accounts, time.epoch),
        pool_accounts.mint_fee(pool, state.mint_b, accounts, time.epoch),
    )


def swap(request: SwapRequest) -> Instruction:
    """Build a swap over every bin array ahead that was read.

    Raises:
        DecodeError: an account of the pool is missing or is none of its own.
    """
    pool, accounts = request.pool, request.accounts
    state = pool_accounts.decoded("account", pool, pool, accounts, decode_pool)
    name, first, second = (
        (SWAP, request.amount, request.limit)
        if request.exact_in
        else (SWAP_EXACT_OUT, request.limit, request.amount)
    )
    return Instruction(PROGRAM_ID, _SWAP_ARGS.pack(name, first, second, 0), _metas(state, request))


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, its arguments are cut off, or it names transfer hook accounts.
    """
    check_arguments("Meteora DLMM swap", data, _SWAP_ARGS.size, (SWAP, SWAP_EXACT_OUT))
    name, first, second, slices = _SWAP_ARGS.unpack_from(data)
    if slices:
        raise DecodeError(
            f"decoding a Meteora DLMM swap: it names {slices} slices of transfer hook accounts, expected none"
        )
    if name == SWAP:
        return SwapArguments(exact_in=True, amount=first, limit=second)
    return SwapArguments(exact_in=False, amount=second, limit=first)


def arrays_read(
    pool: Pubkey, state: PoolState, accounts: Accounts, *, a_to_b: bool
) -> Iterator[tuple[Pubkey, Liquidity]]:
    """The bin arrays with liquidity from the active bin on, nearest first, until one that was not read.

    Raises:
        DecodeError: an account is no bin array of the pool.
    """
    extension = _extension(pool, accounts)
    for index in arrays_ahead(state, extension, a_to_b=a_to_b, count=MOST_ARRAYS):
        key = bin_array_address(pool, index)
        if accounts.get(key) is None:
            return
        array = pool_accounts.decoded("bin array", pool, key, accounts, decode_liquidity)
        if (array.pool, array.index) != (pool, index):
            raise DecodeError(
                f"reading pool {pool}: its bin array {key} says it is number {array.index} of {array.pool}, "
                f"expected {index}; do not trade there"
            )
        yield key, array


def _extension(pool: Pubkey, accounts: Accounts) -> BitmapExtension | None:
    key = bitmap_extension_address(pool)
    if accounts.get(key) is None:
        return None
    extension = pool_accounts.decoded("bitmap extension", pool, key, accounts, decode_bitmap_extension)
    if extension.pool != pool:
        raise DecodeError(
            f"reading pool {pool}: its bitmap extension {key} is of {extension.pool}; do not trade there"
        )
    return extension


def _check_open(pool: Pubkey, state: PoolState, time: ChainTime) -> None:
    """Refuse a pool that takes no swaps now.

    We know the second, not the slot: a pool that opens at a slot counts as open once it has seen a swap.
    """
    if state.status:
        raise QuoteError(f"pool {pool} is switched off: trade another")
    if state.pair_type not in _GATED_PAIRS or not state.activation_point:
        return
    by_slot = state.activation_type == _BY_SLOT
    opened = state.last_update_timestamp > 0 if by_slot else time.unix_time >= state.activation_point
    if not opened:
        unit = "slot" if by_slot else "second"
        raise QuoteError(f"pool {pool} opens at {unit} {state.activation_point}: wait or trade another")


def _fees(state: PoolState) -> DlmmFees:
    return DlmmFees(
        state.bin_step,
        state.base_factor,
        state.base_fee_power_factor,
        state.variable_fee_control,
        state.max_volatility_accumulator,
        state.filter_period,
        state.decay_period,
        state.reduction_factor,
        state.protocol_share,
        state.collect_fee_mode == 1,
    )


def _bins(pool: Pubkey, state: PoolState, accounts: Accounts) -> tuple[Bin, ...]:
    arrays = {
        array.index: array.bins
        for side in (True, False)
        for _, array in arrays_read(pool, state, accounts, a_to_b=side)
    }
    return tuple(
        held if held.price else held._replace(price=dlmm_bins.price_at(held.bin_id, state.bin_step))
        for index in sorted(arrays)
        for held in arrays[index]
    )


def _metas(state: PoolState, request: SwapRequest) -> list[AccountMeta]:
    pool, accounts = request.pool, request.accounts
    extension = bitmap_extension_address(pool)
    programs = [pool_accounts.token_program(pool, mint, accounts) for mint in (state.mint_a, state.mint_b)]
    ahead = arrays_read(pool, state, accounts, a_to_b=request.a_to_b)
    return [
        writable(pool),
        readable(extension if accounts.get(extension) else PROGRAM_ID),  # the program id stands for none
        writable(state.vault_a),
        writable(state.vault_b),
        writable(request.user_in),
        writable(request.user_out),
        readable(state.mint_a),
        readable(state.mint_b),
        writable(state.oracle),
        readable(PROGRAM_ID),  # no host takes a share of the fee
        signer(request.user),
        *map(readable, programs),
        readable(memo.PROGRAM_ID),
        readable(EVENT_AUTHORITY),
        readable(PROGRAM_ID),
        *(writable(key) for key, _ in ahead),
    ]


PROGRAM: Final = PoolProgram(
    protocol="meteora_dlmm",
    program_id=PROGRAM_ID,
    lengths=(POOL_LENGTH,),
    discriminator=POOL_DISCRIMINATOR,
    mint_offsets=(88, 120),
    around=around,
    quotable=quotable,
    swap=swap,
)
"""Meteora DLMM, as the pool directory, the quote service and the transaction builder use it."""
