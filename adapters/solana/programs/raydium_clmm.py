"""Raydium CLMM on chain: a pool's accounts read into its mathematics, and its swap instruction."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.solana.pool_program import Accounts, ChainTime, PoolProgram, SwapRequest
from adapters.solana.programs import memo, token
from adapters.solana.programs.layout import anchor_instruction, check_arguments
from adapters.solana.programs.metas import readable, signer, writable
from adapters.solana.programs.pool_accounts import decoded, mint_fee, unread, vault_amount
from adapters.solana.programs.raydium_clmm_accounts import (
    POOL_DISCRIMINATOR,
    POOL_LENGTH,
    PROGRAM_ID,
    SWAP_DISABLED,
    AmmConfig,
    BitmapExtension,
    PoolState,
    Tick,
    array_bits,
    arrays_from,
    decode_config,
    decode_extension,
    decode_pool,
    decode_tick_array,
    extension_address,
    tick_array_address,
)
from domain.errors import DecodeError, QuoteError
from domain.market.amm.clmm import TICKS_IN_ARRAY, ClmmPool, ends
from domain.market.amm.concentrated import RATE, Bands, End, FeeTerms, Place, bands, move
from domain.market.amm.concentrated_quote import ConcentratedQuote, Sides
from domain.market.amm.ticks import CLMM

ARRAYS_EACH_WAY: Final = 6
"""Tick arrays read below and above the price, its own in both: a swap through more is not quoted."""
FEWEST_ARRAYS: Final = 3
"""A swap names so many tick arrays, as the SDK does, so that it survives others before it."""

SWAP_V2: Final = anchor_instruction("swap_v2")
_SWAP: Final = Struct("<8sQQ16sB")


class SwapArguments(NamedTuple):
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in.

    Attributes:
        price_limit: the sqrt price the swap does not pass, Q64.64; 0 for none.
    """

    exact_in: bool
    amount: int
    limit: int
    price_limit: int = 0


@dataclass(frozen=True, slots=True)
class SwapAccounts:
    """The accounts of one swap in the order the program reads them; `extension` None where there is none."""

    payer: Pubkey
    amm_config: Pubkey
    pool: Pubkey
    user_in: Pubkey
    user_out: Pubkey
    vault_in: Pubkey
    vault_out: Pubkey
    observation: Pubkey
    mint_in: Pubkey
    mint_out: Pubkey
    extension: Pubkey | None
    tick_arrays: tuple[Pubkey, ...]


def around(pool: Pubkey, accounts: Accounts) -> tuple[Pubkey, ...]:
    """The accounts still to be read for a quote or a swap."""
    missing = unread(pool, accounts, decode_pool, lambda state: _named(pool, state))
    if missing or accounts[pool] is None:
        return missing
    try:
        state = decoded("account", pool, pool, accounts, decode_pool)
        found = _arrays(state, _extension(pool, accounts), ARRAYS_EACH_WAY)
    except DecodeError:
        return ()
    keys = [tick_array_address(pool, _start(state, array)) for way in found for array in way]
    return tuple(key for key in dict.fromkeys(keys) if key not in accounts)


def quotable(pool: Pubkey, accounts: Accounts, time: ChainTime) -> ClmmPool:
    """The pool as its mathematics takes it, from what `around` named.

    Raises:
        DecodeError: an account is missing, or not the pool's.
        QuoteError: the pool takes no swaps now, or charges in a way that is not covered.
    """
    state = decoded("account", pool, pool, accounts, decode_pool)
    config = decoded("fee config", pool, state.amm_config, accounts, decode_config)
    _check_trades(pool, state, time.unix_time)
    sides = Sides(
        vault_amount(pool, state.vault_a, state.mint_a, pool, accounts),
        vault_amount(pool, state.vault_b, state.mint_b, pool, accounts),
        mint_fee(pool, state.mint_a, accounts, time.epoch),
        mint_fee(pool, state.mint_b, accounts, time.epoch),
    )
    known, place, down, up = _curve(pool, state, config, accounts)
    return ClmmPool(known, place, sides, down, up)


def swap(request: SwapRequest) -> Instruction:
    """Build the swap of `request` with the tick arrays it needs, three at least where there are.

    Raises:
        DecodeError: the pool's accounts are missing or not its own.
        QuoteError: the swap needs tick arrays that were not read.
    """
    pool, accounts = request.pool, request.accounts
    state = decoded("account", pool, pool, accounts, decode_pool)
    config = decoded("fee config", pool, state.amm_config, accounts, decode_config)
    extension = _extension(pool, accounts)
    reached = _reached(state, _curve(pool, state, config, accounts), request)
    way = _arrays(state, extension, len(accounts))[0 if request.a_to_b else 1]
    if not way:
        raise QuoteError(f"building a swap in pool {pool}: it holds no liquidity in that direction")
    needed = sum(array >= reached if request.a_to_b else array <= reached for array in way)
    arrays = way[: max(FEWEST_ARRAYS, needed + 1)]
    side_a, side_b = (state.vault_a, state.mint_a), (state.vault_b, state.mint_b)
    (vault_in, mint_in), (vault_out, mint_out) = (side_a, side_b) if request.a_to_b else (side_b, side_a)
    keys = SwapAccounts(
        request.user,
        state.amm_config,
        pool,
        request.user_in,
        request.user_out,
        vault_in,
        vault_out,
        state.observation,
        mint_in,
        mint_out,
        extension_address(pool) if extension else None,
        tuple(tick_array_address(pool, _start(state, array)) for array in arrays),
    )
    return swap_v2(keys, SwapArguments(request.exact_in, request.amount, request.limit))


def swap_v2(keys: SwapAccounts, arguments: SwapArguments) -> Instruction:
    """Build a swap instruction."""
    moved = (keys.pool, keys.user_in, keys.user_out, keys.vault_in, keys.vault_out, keys.observation)
    fixed = (token.TOKEN_PROGRAM, token.TOKEN_2022_PROGRAM, memo.PROGRAM_ID, keys.mint_in, keys.mint_out)
    extra = (keys.extension, *keys.tick_arrays) if keys.extension else keys.tick_arrays
    metas = [
        signer(keys.payer),
        readable(keys.amm_config),
        *map(writable, moved),
        *map(readable, fixed),
        *map(writable, extra),
    ]
    exact_in, amount, limit, price_limit = arguments
    data = _SWAP.pack(SWAP_V2, amount, limit, price_limit.to_bytes(16, "little"), exact_in)
    return Instruction(PROGRAM_ID, data, metas)


def decode_swap(data: bytes) -> SwapArguments:
    """Read a swap instruction's data.

    Raises:
        DecodeError: it is another instruction, or the arguments are cut off.
    """
    check_arguments("Raydium CLMM swap", data, _SWAP.size, (SWAP_V2,))
    if data[_SWAP.size - 1] > 1:
        raise DecodeError(
            f"decoding a Raydium CLMM swap: found the flag {data[_SWAP.size - 1]}, expected 0 or 1"
        )
    _, amount, limit, price_limit, exact_in = _SWAP.unpack_from(data)
    return SwapArguments(bool(exact_in), amount, limit, int.from_bytes(price_limit, "little"))


def swapped(state: PoolState, before: ClmmPool, quote: ConcentratedQuote) -> PoolState:
    """The pool account after `quote`, made of `before`, was carried out; `ClmmPool.after` says what not."""
    after = before.after(quote)
    sent, paid = quote.amount_in - quote.in_transfer_fee, quote.amount_out + quote.out_transfer_fee
    kept = quote.fee_in - quote.protocol_fee - quote.fund_fee
    moved = state._replace(liquidity=after.liquidity, sqrt_price=after.place.price, tick=after.tick)
    if quote.a_to_b:
        return moved._replace(
            fee_growth_a=(state.fee_growth_a + quote.fee_growth) % 2**128,
            protocol_fees_a=state.protocol_fees_a + quote.protocol_fee,
            fund_fees_a=state.fund_fees_a + quote.fund_fee,
            total_fees_a=state.total_fees_a + kept,
            volume_in_a=state.volume_in_a + sent,
            volume_out_b=state.volume_out_b + paid,
        )
    return moved._replace(
        fee_growth_b=(state.fee_growth_b + quote.fee_growth) % 2**128,
        protocol_fees_b=state.protocol_fees_b + quote.protocol_fee,
        fund_fees_b=state.fund_fees_b + quote.fund_fee,
        total_fees_b=state.total_fees_b + kept,
        volume_in_b=state.volume_in_b + sent,
        volume_out_a=state.volume_out_a + paid,
    )


def _named(pool: Pubkey, state: PoolState) -> tuple[Pubkey, ...]:
    return (
        state.amm_config,
        state.vault_a,
        state.vault_b,
        state.mint_a,
        state.mint_b,
        extension_address(pool),
    )


def _check_trades(pool: Pubkey, state: PoolState, unix_time: int) -> None:
    if state.status & SWAP_DISABLED or unix_time <= state.open_time:
        raise QuoteError(
            f"quoting pool {pool}: it takes no swaps at {unix_time} s (status {state.status}, opens after "
            f"{state.open_time} s); trade other pools"
        )
    if state.fee_on or any(state.dynamic_fee):
        raise QuoteError(
            f"quoting pool {pool}: its fee is taken from one token only (mode {state.fee_on}) or follows the "
            "price, which our mathematics does not cover; trade other pools"
        )


def _extension(pool: Pubkey, accounts: Accounts) -> BitmapExtension | None:
    key = extension_address(pool)
    if accounts.get(key) is None:
        return None
    extension = decoded("bitmap extension", pool, key, accounts, decode_extension)
    if extension.pool != pool:
        raise DecodeError(f"reading pool {pool}: its bitmap extension {key} belongs to pool {extension.pool}")
    return extension


def _width(state: PoolState) -> int:
    return TICKS_IN_ARRAY * state.tick_spacing


def _start(state: PoolState, array: int) -> int:
    return array * _width(state)


def _arrays(state: PoolState, extension: BitmapExtension | None, count: int) -> tuple[list[int], list[int]]:
    """The numbers of the next `count` tick arrays for a swap that sells a, and for one that sells b."""
    bits, current = array_bits(state.bitmap, extension), state.tick // _width(state)
    return arrays_from(bits, current, count, down=True), arrays_from(bits, current, count, down=False)


def _curve(
    pool: Pubkey, state: PoolState, config: AmmConfig, accounts: Accounts
) -> tuple[Bands, Place, End, End]:
    """The pool's ticks as far as they were read, and where they end.

    More arrays than there are accounts cannot all have been read, so asking for as many is asking for all.
    """
    ways = _arrays(state, _extension(pool, accounts), len(accounts))
    read: dict[int, list[Tick]] = {}
    refusals = ["", ""]
    for way, arrays in enumerate(ways):
        for array in arrays:
            if accounts.get(tick_array_address(pool, _start(state, array))) is None:
                refusals[way] = (
                    f"the swap needs the tick array at tick {_start(state, array)}, which was not read"
                )
                break
            if array not in read:
                read[array] = _ticks(pool, state, array, accounts)
    ticks = [tick for array in sorted(read) for tick in read[array]]
    band = sum(tick.tick <= state.tick for tick in ticks)
    terms = FeeTerms(config.trade_fee_rate, config.protocol_fee_rate, config.fund_fee_rate, RATE)
    net = tuple(tick.liquidity_net for tick in ticks)
    known = bands(tuple(tick.tick for tick in ticks), net, band, state.liquidity, terms, CLMM)
    down, up = ends(known, *refusals)
    place = Place(band, state.sqrt_price, state.tick)
    return known, place, *_before_orders(ticks, known, band, down, up)


def _ticks(pool: Pubkey, state: PoolState, array: int, accounts: Accounts) -> list[Tick]:
    """The ticks of an array that hold liquidity or orders.

    Raises:
        DecodeError: it is another pool's, or its ticks are not where they should be.
    """
    start = _start(state, array)
    key = tick_array_address(pool, start)
    read = decoded("tick array", pool, key, accounts, decode_tick_array)
    held = [(place, tick) for place, tick in enumerate(read.ticks) if tick.liquidity_gross or tick.has_orders]
    in_place = all(tick.tick == start + place * state.tick_spacing for place, tick in held)
    if read.pool != pool or read.start != start or not in_place:
        raise DecodeError(
            f"reading pool {pool}: its tick array {key} is of pool {read.pool} from tick {read.start} or "
            f"holds ticks out of place, expected tick {start} on; do not trade there"
        )
    return [tick for _, tick in held]


def _before_orders(ticks: list[Tick], known: Bands, band: int, down: End, up: End) -> tuple[End, End]:
    """End a direction at the first tick with limit orders: their matching is not covered."""
    for place in range(band - 1, -1, -1):
        if ticks[place].has_orders:
            tick = ticks[place].tick
            down = End(place + 1, known.prices[place], tick + 1, _orders(tick))
            break
    for place in range(band, len(ticks)):
        if ticks[place].has_orders:
            tick = ticks[place].tick
            up = End(place - 1, known.prices[place], tick - 1, _orders(tick))
            break
    return down, up


def _orders(tick: int) -> str:
    return f"the swap reaches the limit orders at tick {tick}, which are not covered: ask for less"


def _reached(state: PoolState, curve: tuple[Bands, Place, End, End], request: SwapRequest) -> int:
    """The number of the tick array in which the swap of `request` ends."""
    known, place, down, up = curve
    end = down if request.a_to_b else up
    moved = move(known, place, end, request.amount, exact_in=request.exact_in, down=request.a_to_b)
    if moved.left and end.refusal:
        raise QuoteError(f"building a swap in pool {request.pool}: {end.refusal}")
    return CLMM.tick_of(moved.place.price) // _width(state)


PROGRAM: Final = PoolProgram(
    protocol="raydium_clmm",
    program_id=PROGRAM_ID,
    lengths=(POOL_LENGTH,),
    discriminator=POOL_DISCRIMINATOR,
    mint_offsets=(73, 105),
    around=around,
    quotable=quotable,
    swap=swap,
)
