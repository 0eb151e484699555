"""Orca Whirlpool on chain: a pool's accounts read into its mathematics, and its swap instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs import memo
from adapters.solana.programs.layout import anchor_instruction, check_arguments
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.orca_whirlpool_accounts import (
    POOL_DISCRIMINATOR,
    POOL_LENGTH,
    PROGRAM_ID,
    PROTOCOL_PARTS,
    OracleState,
    PoolState,
    decode_oracle,
    decode_pool,
    decode_tick_array,
    oracle_address,
    tick_array_address,
)
from adapters.solana.programs.pool_accounts import decoded, mint_fee, token_program, unread, vault_amount
from domain.errors import DecodeError, QuoteError
from domain.market.amm.concentrated import FeeTerms, Place, bands
from domain.market.amm.concentrated_quote import ConcentratedQuote, Sides
from domain.market.amm.ticks import WHIRLPOOL, floor_start
from domain.market.amm.whirlpool import ARRAYS_PER_SWAP, TICKS_IN_ARRAY, Adaptive, WhirlpoolPool, swap_starts

SWAP_V2: Final = anchor_instruction("swap_v2")
_SWAP: Final = Struct("<8sQQ16sBBB")
_FIXED_POINT_BITS: Final = 96
"""Above so much liquidity the program's own 256 bit numbers may overflow."""


class SwapArguments(NamedTuple):
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in.

    Attributes:
        price_limit: the sqrt price the swap does not pass, Q64.64; 0 for none.
    """

    exact_in: bool
    a_to_b: bool
    amount: int
    limit: int
    price_limit: int = 0


@dataclass(frozen=True, slots=True)
class SwapAccounts:
    """The accounts of one swap in the order the program reads them."""

    program_a: Pubkey
    program_b: Pubkey
    authority: Pubkey
    pool: Pubkey
    mint_a: Pubkey
    mint_b: Pubkey
    user_a: Pubkey
    vault_a: Pubkey
    user_b: Pubkey
    vault_b: Pubkey
    tick_arrays: tuple[Pubkey, ...]
    oracle: Pubkey


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """The accounts still to be read for a quote or a swap; a tick array without liquidity does not exist."""
    return unread(pool, accounts, decode_pool, lambda state: _named(pool, state))


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> WhirlpoolPool:
    """The pool as its mathematics takes it, from what `around` named.

    Raises:
        DecodeError: an account is missing, or not the pool's.
        QuoteError: the pool is not open yet, or holds more than the program can count.
    """
    state = decoded("account", pool, pool, accounts, decode_pool)
    oracle = _oracle(pool, state, accounts)
    if oracle and time.unix_time < oracle.opens:
        raise QuoteError(f"quoting pool {pool}: it opens at {oracle.opens} s, now is {time.unix_time} s")
    sides = Sides(
        vault_amount(pool, state.vault_a, state.mint_a, pool, accounts),
        vault_amount(pool, state.vault_b, state.mint_b, pool, accounts),
        mint_fee(pool, state.mint_a, accounts, time.epoch),
        mint_fee(pool, state.mint_b, accounts, time.epoch),
    )
    ticks, net, known = _ticks(pool, state, accounts)
    band = sum(tick <= state.tick for tick in ticks)
    terms = FeeTerms(state.fee_rate, state.protocol_fee_rate, 0, PROTOCOL_PARTS)
    summed = bands(ticks, net, band, state.liquidity, terms, WHIRLPOOL)
    if max(summed.liquidity) >> _FIXED_POINT_BITS:
        raise QuoteError(
            f"quoting pool {pool}: it holds a liquidity of {max(summed.liquidity)}, above 2^96, where the "
            "program's own numbers may overflow; trade other pools"
        )
    adaptive = Adaptive(oracle.fee, oracle.volatility, time.unix_time) if oracle else None
    place = Place(band, state.sqrt_price, state.tick)
    return WhirlpoolPool(summed, place, sides, state.tick_spacing, known, adaptive)


def swap(request: SwapRequest) -> Instruction:
    """Build the swap of `request`.

    Raises:
        DecodeError: the pool's accounts are missing or not its own.
        QuoteError: there is no tick array in the swap's direction.
    """
    pool, accounts = request.pool, request.accounts
    state = decoded("account", pool, pool, accounts, decode_pool)
    starts = swap_starts(state.tick, state.tick_spacing, a_to_b=request.a_to_b)
    if not starts:
        raise QuoteError(f"building a swap in pool {pool}: there is no tick array in its direction")
    user_a, user_b = (request.user_in, request.user_out)[:: 1 if request.a_to_b else -1]
    keys = SwapAccounts(
        token_program(pool, state.mint_a, accounts),
        token_program(pool, state.mint_b, accounts),
        request.user,
        pool,
        state.mint_a,
        state.mint_b,
        user_a,
        state.vault_a,
        user_b,
        state.vault_b,
        _three([tick_array_address(pool, start) for start in starts]),
        oracle_address(pool),
    )
    return swap_v2(keys, SwapArguments(request.exact_in, request.a_to_b, request.amount, request.limit))


def swap_v2(keys: SwapAccounts, arguments: SwapArguments) -> Instruction:
    """Build a swap instruction."""
    fixed = (keys.program_a, keys.program_b, memo.PROGRAM_ID)
    moved = (keys.user_a, keys.vault_a, keys.user_b, keys.vault_b, *keys.tick_arrays, keys.oracle)
    metas = [
        *map(readable, fixed),
        signer(keys.authority),
        writable(keys.pool),
        readable(keys.mint_a),
        readable(keys.mint_b),
        *map(writable, moved),
    ]
    exact_in, a_to_b, amount, limit, price_limit = arguments
    no_more_arrays = 0
    data = _SWAP.pack(
        SWAP_V2, amount, limit, price_limit.to_bytes(16, "little"), exact_in, a_to_b, no_more_arrays
    )
    return Instruction(PROGRAM_ID, data, metas)


def home_array(pool: Pubkey, state: PoolState) -> Pubkey:
    """The tick array the price is in; a swap up from the array's last ticks is not given it."""
    return tick_array_address(pool, _home(state))


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, or the arguments are cut off.
    """
    check_arguments("Whirlpool swap", data, _SWAP.size, (SWAP_V2,))
    if max(data[40:42]) > 1:
        raise DecodeError(
            f"decoding a Whirlpool swap: found the flags {data[40:42].hex()}, expected 0 or 1 each"
        )
    _, amount, limit, price_limit, exact_in, a_to_b, _ = _SWAP.unpack_from(data)
    return SwapArguments(bool(exact_in), bool(a_to_b), amount, limit, int.from_bytes(price_limit, "little"))


def swapped(state: PoolState, before: WhirlpoolPool, quote: ConcentratedQuote) -> PoolState:
    """The pool account after `quote`, made of `before`, was carried out; see `WhirlpoolPool.after`."""
    after = before.after(quote)
    moved = state._replace(liquidity=after.liquidity, sqrt_price=after.place.price, tick=after.tick)
    if quote.a_to_b:
        return moved._replace(
            fee_growth_a=(state.fee_growth_a + quote.fee_growth) % 2**128,
            protocol_fees_a=state.protocol_fees_a + quote.protocol_fee,
        )
    return moved._replace(
        fee_growth_b=(state.fee_growth_b + quote.fee_growth) % 2**128,
        protocol_fees_b=state.protocol_fees_b + quote.protocol_fee,
    )


def _named(pool: Pubkey, state: PoolState) -> tuple[Pubkey, ...]:
    fixed = (state.vault_a, state.vault_b, state.mint_a, state.mint_b)
    oracle = (oracle_address(pool),) if state.is_adaptive else ()
    return (*fixed, *oracle, *(tick_array_address(pool, start) for start in _starts(state)))


def _starts(state: PoolState) -> list[int]:
    """Where the tick arrays start that swaps in both directions are given, ascending."""
    ways = [swap_starts(state.tick, state.tick_spacing, a_to_b=a_to_b) for a_to_b in (True, False)]
    return sorted({*ways[0], *ways[1]})


def _oracle(pool: Pubkey, state: PoolState, accounts: Accounts) -> OracleState | None:
    if not state.is_adaptive:
        return None
    key = oracle_address(pool)
    oracle = decoded("oracle", pool, key, accounts, decode_oracle)
    if oracle.pool != pool or state.tick_spacing % oracle.fee.group_size:
        raise DecodeError(
            f"reading pool {pool}: its oracle {key} belongs to pool {oracle.pool} and has groups of "
            f"{oracle.fee.group_size} ticks, which must divide the spacing of {state.tick_spacing}"
        )
    return oracle


def _ticks(
    pool: Pubkey, state: PoolState, accounts: Accounts
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, int]]:
    """The pool's initialised ticks, what crossing each adds, and the range that was read without a gap."""
    width, spacing = TICKS_IN_ARRAY * state.tick_spacing, state.tick_spacing
    home = _home(state)
    low, high = home, home
    while tick_array_address(pool, low) in accounts and low > home - ARRAYS_PER_SWAP * width:
        low -= width
    while tick_array_address(pool, high) in accounts and high <= home + ARRAYS_PER_SWAP * width:
        high += width
    if high == home:
        raise DecodeError(f"reading pool {pool}: its tick array at tick {home} was not read")
    found: list[tuple[int, int]] = []
    for start in range(low + width, high, width):
        key = tick_array_address(pool, start)
        if accounts[key] is None:
            continue
        array = decoded("tick array", pool, key, accounts, decode_tick_array)
        if array.pool != pool or array.start != start:
            raise DecodeError(
                f"reading pool {pool}: its tick array {key} is of pool {array.pool} from tick {array.start}, "
                f"expected tick {start}; do not trade there"
            )
        found += [
            (start + place * spacing, tick.liquidity_net)
            for place, tick in enumerate(array.ticks)
            if tick.initialised
        ]
    return tuple(tick for tick, _ in found), tuple(net for _, net in found), (low + width, high)


def _home(state: PoolState) -> int:
    """Where the tick array starts that the price is in."""
    return floor_start(state.tick, TICKS_IN_ARRAY * state.tick_spacing)


def _three(keys: Sequence[Pubkey]) -> tuple[Pubkey, ...]:
    """At the end of the prices there are fewer than three: the last stands for those that cannot be."""
    return (*keys, *[keys[-1]] * (ARRAYS_PER_SWAP - len(keys)))


PROGRAM: Final = PoolProgram(
    protocol="orca_whirlpool",
    program_id=PROGRAM_ID,
    lengths=(POOL_LENGTH,),
    discriminator=POOL_DISCRIMINATOR,
    mint_offsets=(101, 181),
    around=around,
    quotable=quotable,
    swap=swap,
)
