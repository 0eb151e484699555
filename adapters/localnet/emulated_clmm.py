"""Raydium CLMM told in Python: swap_v2, errors by the program's own numbers.

The numbers are the deployed binary's; the newest public source has dropped a few errors and counts lower.
Left out, since no swap reads them: fee growth outside the crossed ticks, rewards, the price observation. An
exact output that a price limit cuts short is refused.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from solders.pubkey import Pubkey

from adapters.localnet import anchor
from adapters.localnet.emulated_swap import (
    PANIC,
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
from adapters.solana.pool_program import Accounts
from adapters.solana.programs import raydium_clmm as clmm
from adapters.solana.programs.raydium_clmm_accounts import (
    PROGRAM_ID,
    SWAP_DISABLED,
    PoolState,
    decode_pool,
    encode_pool,
    extension_address,
)
from domain.errors import QuoteError
from domain.market.amm.clmm import ClmmPool
from domain.market.amm.concentrated_quote import ConcentratedQuote
from domain.market.amm.pool import U64_MAX

INSUFFICIENT_FUNDS: Final = 1
"""The token program's, for a vault that holds too little."""
NOT_APPROVED: Final = 6001
PRICE_LIMIT_OVERFLOW: Final = 6013
LIQUIDITY_INSUFFICIENT: Final = 6019
TOO_LITTLE_OUTPUT: Final = 6022
TOO_MUCH_INPUT: Final = 6023
ZERO_AMOUNT: Final = 6024
INVALID_INPUT_VAULT: Final = 6025
TOO_SMALL: Final = 6026
NOT_ENOUGH_TICK_ARRAYS: Final = 6027

_REFUSALS: Final = Refusals(
    paused=custom(NOT_APPROVED),
    zero_amount=custom(ZERO_AMOUNT),
    no_quote=PANIC,
    nothing_out=custom(TOO_SMALL),
    below_limit=custom(TOO_LITTLE_OUTPUT),
    above_limit=custom(TOO_MUCH_INPUT),
    unfilled=custom(LIQUIDITY_INSUFFICIENT),
    names={
        NOT_APPROVED: ("NotApproved", "Not approved"),
        PRICE_LIMIT_OVERFLOW: ("SqrtPriceLimitOverflow", "Square root price limit overflow"),
        LIQUIDITY_INSUFFICIENT: ("LiquidityInsufficient", "Liquidity insufficient"),
        TOO_LITTLE_OUTPUT: ("TooLittleOutputReceived", "Too little output received"),
        TOO_MUCH_INPUT: ("TooMuchInputPaid", "Too much input paid"),
        ZERO_AMOUNT: ("ZeroAmountSpecified", "Swap special amount can not be zero"),
        INVALID_INPUT_VAULT: ("InvalidInputPoolVault", "Input pool vault is invalid"),
        TOO_SMALL: ("TooSmallInputOrOutputAmount", "Swap input or output amount is too small"),
        NOT_ENOUGH_TICK_ARRAYS: ("NotEnoughTickArrayAccount", "Not enought tick array account"),
    },
)
_FIXED: Final = 13


def emulated_clmm() -> EmulatedSwaps[ConcentratedQuote]:
    """The swap instruction of Raydium CLMM."""
    return EmulatedSwaps(lambda _: "SwapV2", _read, _REFUSALS)


def _read(call: Call) -> Swap[ConcentratedQuote]:
    metas = call.instruction.accounts
    arguments = anchor.arguments(clmm.decode_swap, call.instruction.data, (clmm.SWAP_V2,))
    anchor.require_count(metas, _FIXED)
    keys = [meta.pubkey for meta in metas]
    user, _, key, user_in, user_out = keys[:5]
    state = anchor.decoded(decode_pool, anchor.owned(call, key, PROGRAM_ID))
    mints = (state.mint_a, state.mint_b)
    a_to_b = sells_a(call, user_in, user_out, mints, INVALID_INPUT_VAULT)
    order = Order(a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    _check(call, key, state, order)
    _check_limit(state, arguments.price_limit, a_to_b=a_to_b)
    accounts = passed(call)
    sides = Sides(mints, (state.vault_a, state.vault_b), key, user, user_in, user_out)

    @cache  # quoted from and carried out on the same accounts
    def tradable() -> ClmmPool:
        return clmm.quotable(key, accounts, call.time)

    def carry_out(quote: ConcentratedQuote) -> CarriedOut:
        after = encode_pool(clmm.swapped(state, tradable(), quote))
        written = rewritten(anchor.present(call, key), after)
        return sides.transfers(call, quote, quote.out_transfer_fee), ((key, written),)

    return Swap(
        order,
        lambda: LimitedPool(tradable(), arguments.price_limit),
        carry_out,
        lambda: _no_quote(key, state, accounts, call, order),
        may_end=arguments.price_limit > 0,
    )


def _check(call: Call, key: Pubkey, state: PoolState, order: Order) -> None:
    """Hold the instruction's accounts to the pool; which tick arrays follow is the caller's choice."""
    metas = call.instruction.accounts
    side_a, side_b = (state.vault_a, state.mint_a), (state.vault_b, state.mint_b)
    (vault_in, mint_in), (vault_out, mint_out) = (side_a, side_b) if order.a_to_b else (side_b, side_a)
    named = clmm.SwapAccounts(
        metas[0].pubkey,
        state.amm_config,
        key,
        metas[3].pubkey,
        metas[4].pubkey,
        vault_in,
        vault_out,
        state.observation,
        mint_in,
        mint_out,
        None,
        (),
    )
    wanted = clmm.swap_v2(named, clmm.SwapArguments(order.exact_in, order.amount, order.limit))
    anchor.require_same(metas, wanted.accounts, {5: anchor.CONSTRAINT_RAW, 6: anchor.CONSTRAINT_RAW})
    rest = metas[_FIXED + (len(metas) > _FIXED and metas[_FIXED].pubkey == extension_address(key)) :]
    if not rest:
        raise Stop(custom(NOT_ENOUGH_TICK_ARRAYS))


def _check_limit(state: PoolState, limit: int, *, a_to_b: bool) -> None:
    if limit and not (limit < state.sqrt_price if a_to_b else limit > state.sqrt_price):
        raise Stop(custom(PRICE_LIMIT_OVERFLOW))


def _no_quote(
    key: Pubkey, state: PoolState, accounts: Accounts, call: Call, order: Order
) -> InstructionError:
    """The error of a swap that has no quote: closed, too large, or through unnamed tick arrays."""
    if state.status & SWAP_DISABLED or call.time.unix_time <= state.open_time:
        return custom(NOT_APPROVED)
    try:
        pool = clmm.quotable(key, accounts, call.time)
    except QuoteError:
        return PANIC
    paid = paid_without_vaults(pool, order)
    if paid is not None:
        return PANIC if paid > U64_MAX else custom(INSUFFICIENT_FUNDS)
    end = pool.down if order.a_to_b else pool.up
    return custom(NOT_ENOUGH_TICK_ARRAYS) if end.refusal else PANIC
