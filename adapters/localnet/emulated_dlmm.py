"""Meteora DLMM told in Python: swap2 and swap_exact_out2, errors by the program's own numbers.

Left out, since nothing here reads them: fees per liquidity share, fulfilled limit orders, the oracle.
"""

from __future__ import annotations

from functools import cache
from typing import Final

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
from adapters.localnet.emulation import Call
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.pool_program import SwapRequest
from adapters.solana.programs import meteora_dlmm as dlmm
from adapters.solana.programs.meteora_dlmm_accounts import PROGRAM_ID, decode_pool
from adapters.solana.programs.meteora_dlmm_after import accounts_after
from domain.errors import QuoteError
from domain.market.amm.dlmm import DlmmPool, DlmmQuote
from domain.market.amm.dlmm_bins import references
from domain.market.amm.dlmm_ladder import ladder
from domain.market.amm.pool import U64_MAX

EXCEEDED_SLIPPAGE: Final = 6003
INVALID_TOKEN_MINT: Final = 6010
TYPE_CAST_FAILED: Final = 6019
LIQUIDITY_ENDS: Final = 6036
NOTHING_PAID: Final = 6039
POOL_DISABLED: Final = 6042

_REFUSALS: Final = Refusals(
    paused=custom(POOL_DISABLED),
    zero_amount=custom(NOTHING_PAID),
    no_quote=custom(LIQUIDITY_ENDS),
    nothing_out=custom(NOTHING_PAID),
    below_limit=custom(EXCEEDED_SLIPPAGE),
    above_limit=custom(EXCEEDED_SLIPPAGE),
    unfilled=PANIC,
    names={
        EXCEEDED_SLIPPAGE: ("ExceededAmountSlippageTolerance", "Exceeded amount slippage tolerance"),
        INVALID_TOKEN_MINT: ("InvalidTokenMint", "Invalid token mint"),
        TYPE_CAST_FAILED: ("TypeCastFailed", "Type cast error"),
        LIQUIDITY_ENDS: (  # it looks for more in the far bins, of which no bitmap was given
            "BitmapExtensionAccountIsNotProvided",
            "Bitmap extension account is not provided",
        ),
        NOTHING_PAID: ("InsufficientOutAmount", "Insufficient amount in for minimum out"),
        POOL_DISABLED: ("PoolDisabled", "Pool disabled"),
    },
)
_FIXED: Final = 16


def emulated_dlmm() -> EmulatedSwaps[DlmmQuote]:
    """The two swap instructions of Meteora DLMM."""
    return EmulatedSwaps(_name, _read, _REFUSALS)


def _name(data: bytes) -> str:
    return "SwapExactOut2" if data[:8] == dlmm.SWAP_EXACT_OUT else "Swap2"


def _read(call: Call) -> Swap[DlmmQuote]:
    data, metas = call.instruction.data, call.instruction.accounts
    arguments = anchor.arguments(dlmm.decode_swap, data, (dlmm.SWAP, dlmm.SWAP_EXACT_OUT))
    anchor.require_count(metas, _FIXED)
    key, user_in, user_out, user = (metas[at].pubkey for at in (0, 4, 5, 10))
    state = anchor.decoded(decode_pool, anchor.owned(call, key, PROGRAM_ID))
    mints = (state.mint_a, state.mint_b)
    a_to_b = sells_a(call, user_in, user_out, mints, INVALID_TOKEN_MINT)
    accounts = passed(call)
    order = Order(a_to_b, arguments.exact_in, arguments.amount, arguments.limit)
    fixed = {meta.pubkey: accounts[meta.pubkey] for meta in metas[:_FIXED]}  # the arrays need no check here
    request = SwapRequest(
        key, fixed, user, user_in, user_out, a_to_b, order.exact_in, order.amount, order.limit
    )
    anchor.require_same(metas, dlmm.swap(request).accounts[:_FIXED], {})
    sides = Sides(mints, (state.vault_a, state.vault_b), key, user, user_in, user_out)

    @cache  # quoted from and carried out on the same accounts
    def tradable() -> DlmmPool:
        return dlmm.quotable(key, accounts, call.time)

    def carry_out(quote: DlmmQuote) -> CarriedOut:
        written = accounts_after(key, accounts, tradable(), quote)
        writes = ((one, rewritten(anchor.present(call, one), data)) for one, data in written.items())
        return sides.transfers(call, quote, quote.out_transfer_fee), tuple(writes)

    return Swap(order, tradable, carry_out, lambda: _no_quote(tradable(), order))


def _no_quote(pool: DlmmPool, order: Order) -> InstructionError:
    """Too little to be paid anything, a bin too large to count, or more than the named bins hold."""
    try:
        least = pool.quote_exact_out(1, a_to_b=order.a_to_b).amount_in
    except QuoteError:
        least = 0
    if order.exact_in and order.amount <= least:
        return custom(NOTHING_PAID)
    return custom(TYPE_CAST_FAILED if _blocked(pool, order) else LIQUIDITY_ENDS)


def _blocked(pool: DlmmPool, order: Order) -> bool:
    """Whether the bins end at one whose input does not fit a u64."""
    ahead = [
        held
        for held in (reversed(pool.bins) if order.a_to_b else pool.bins)
        if (held.bin_id <= pool.active_id if order.a_to_b else held.bin_id >= pool.active_id)
    ]
    reference, index = references(pool.fees, pool.volatility, pool.active_id, pool.unix_time)
    rungs = ladder(ahead, pool.fees, reference, index, a_to_b=order.a_to_b, orders=pool.orders)
    rungs.passed_by(U64_MAX)
    return rungs.blocked
