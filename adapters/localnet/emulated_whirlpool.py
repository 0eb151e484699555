"""Orca Whirlpool told in Python: swap_v2, errors by the program's own numbers.

Left out, since no swap reads them: fee growth outside the crossed ticks and rewards. Supplemental tick arrays
are refused, and so is an exact output that a price limit cuts short.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from solders.account import Account
from solders.pubkey import Pubkey

from adapters.localnet import anchor
from adapters.localnet.emulated_swap import (
    CarriedOut,
    EmulatedSwaps,
    Order,
    Refusals,
    Sides,
    Swap,
    passed,
    rewritten,
    sells_a,
)
from adapters.localnet.emulation import Call, Stop
from adapters.localnet.price_limits import LimitedPool, paid_without_vaults
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.pool_program import SwapRequest
from adapters.solana.programs import orca_whirlpool as whirlpool
from adapters.solana.programs.orca_whirlpool_accounts import (
    PROGRAM_ID,
    PoolState,
    decode_oracle,
    decode_pool,
    encode_oracle,
    encode_pool,
    oracle_address,
)
from domain.market.amm.concentrated_quote import ConcentratedQuote
from domain.market.amm.pool import U64_MAX
from domain.market.amm.whirlpool import WhirlpoolPool

INSUFFICIENT_FUNDS: Final = 1
"""The token program's, for a vault that holds too little."""
INVALID_PRICE_LIMIT: Final = 6034
ZERO_AMOUNT: Final = 6035
BELOW_MINIMUM: Final = 6036
ABOVE_MAXIMUM: Final = 6037
INVALID_TICK_ARRAYS: Final = 6038
AMOUNT_CALC_OVERFLOW: Final = 6039
PARTIAL_FILL: Final = 6057
TRADE_NOT_ENABLED: Final = 6064

_REFUSALS: Final = Refusals(
    paused=custom(TRADE_NOT_ENABLED),
    zero_amount=custom(ZERO_AMOUNT),
    no_quote=custom(INVALID_TICK_ARRAYS),
    nothing_out=None,
    below_limit=custom(BELOW_MINIMUM),
    above_limit=custom(ABOVE_MAXIMUM),
    unfilled=custom(PARTIAL_FILL),
    names={
        INVALID_PRICE_LIMIT: (
            "InvalidSqrtPriceLimitDirection",
            "Provided SqrtPriceLimit not in the same direction as the swap.",
        ),
        ZERO_AMOUNT: ("ZeroTradableAmount", "There are no tradable amount to swap."),
        BELOW_MINIMUM: ("AmountOutBelowMinimum", "Amount out below minimum threshold"),
        ABOVE_MAXIMUM: ("AmountInAboveMaximum", "Amount in above maximum threshold"),
        INVALID_TICK_ARRAYS: ("TickArraySequenceInvalidIndex", "Invalid index for tick array sequence"),
        AMOUNT_CALC_OVERFLOW: ("AmountCalcOverflow", "Amount calculated overflows"),
        PARTIAL_FILL: ("PartialFillError", "Trade resulted in partial fill"),
        TRADE_NOT_ENABLED: ("TradeIsNotEnabled", "Trade is not enabled yet"),
    },
)
_FIXED: Final = 15


def emulated_whirlpool() -> EmulatedSwaps[ConcentratedQuote]:
    """The swap_v2 instruction of Orca Whirlpool."""
    return EmulatedSwaps(lambda _: "SwapV2", _read, _REFUSALS)


def _read(call: Call) -> Swap[ConcentratedQuote]:
    metas = call.instruction.accounts
    arguments = anchor.arguments(whirlpool.decode_swap, call.instruction.data, (whirlpool.SWAP_V2,))
    anchor.require_count(metas, _FIXED)
    keys = [meta.pubkey for meta in metas]
    user, key, users = keys[3], keys[4], (keys[7], keys[9])
    state = anchor.decoded(decode_pool, anchor.owned(call, key, PROGRAM_ID))
    mints = (state.mint_a, state.mint_b)
    user_in, user_out = users if arguments.a_to_b else users[::-1]
    if sells_a(call, *users, mints, anchor.CONSTRAINT_RAW) is False:
        raise Stop(custom(anchor.CONSTRAINT_RAW))
    accounts = passed(call, whirlpool.home_array(key, state))  # a swap up from its last ticks names it not
    order = Order(arguments.a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    request = SwapRequest(
        key, accounts, user, user_in, user_out, order.a_to_b, order.exact_in, order.amount, order.limit
    )
    anchor.require_same(
        metas, whirlpool.swap(request).accounts, dict.fromkeys(range(11, 14), INVALID_TICK_ARRAYS)
    )
    _check_limit(state, arguments.price_limit, a_to_b=order.a_to_b)
    sides = Sides(mints, (state.vault_a, state.vault_b), key, user, user_in, user_out)

    @cache  # quoted from and carried out on the same accounts
    def tradable() -> WhirlpoolPool:
        return whirlpool.quotable(key, accounts, call.time)

    def carry_out(quote: ConcentratedQuote) -> CarriedOut:
        after = encode_pool(whirlpool.swapped(state, tradable(), quote))
        writes = ((key, rewritten(anchor.present(call, key), after)), *_oracle(call, key, quote))
        return sides.transfers(call, quote, quote.out_transfer_fee), writes

    limited = arguments.price_limit > 0
    return Swap(
        order,
        lambda: LimitedPool(tradable(), arguments.price_limit),
        carry_out,
        lambda: _no_quote(tradable(), order),
        may_end=order.exact_in or limited,
    )


def _no_quote(pool: WhirlpoolPool, order: Order) -> InstructionError:
    """More than a u64 counts, more than the vault holds, or through more than the three tick arrays."""
    paid = paid_without_vaults(pool, order)
    if paid is None:
        return custom(INVALID_TICK_ARRAYS)
    return custom(AMOUNT_CALC_OVERFLOW) if paid > U64_MAX else custom(INSUFFICIENT_FUNDS)


def _oracle(call: Call, pool: Pubkey, quote: ConcentratedQuote) -> tuple[tuple[Pubkey, Account], ...]:
    """The memory of an adaptive fee, where the pool has one."""
    if quote.volatility is None:
        return ()
    key = oracle_address(pool)
    account = anchor.present(call, key)
    before = anchor.decoded(decode_oracle, account)
    return ((key, rewritten(account, encode_oracle(before._replace(volatility=quote.volatility)))),)


def _check_limit(state: PoolState, limit: int, *, a_to_b: bool) -> None:
    if limit and not (limit < state.sqrt_price if a_to_b else limit > state.sqrt_price):
        raise Stop(custom(INVALID_PRICE_LIMIT))
