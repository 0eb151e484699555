"""Raydium CPMM quotes: what a constant product pool takes and pays, to the last base unit.

Follows the deployed program (April 2026), not its SDK: where a creator fee is taken from the input the
program rounds the sum of both fees up once, the SDK rounds each, so the SDK pays up to a few units less.

All amounts are base units, all rates parts of 1,000,000 unless a name says otherwise.
"""

from __future__ import annotations

from enum import IntEnum
from math import isqrt
from typing import Final, NamedTuple

from domain.errors import QuoteError

RATE: Final = 1_000_000
"""Fee rates are parts of this."""

BPS: Final = 10_000
"""Token-2022 transfer fees are parts of this."""

U64_MAX: Final = 2**64 - 1
"""A token amount on chain is a u64."""


class CreatorFeeOn(IntEnum):
    """Which side of a swap pays the pool creator's fee."""

    INPUT = 0
    ONLY_A = 1
    ONLY_B = 2


class TransferFee(NamedTuple):
    """A Token-2022 mint's transfer fee in force: ceil(amount * bps / 10,000), never above `maximum`."""

    bps: int
    maximum: int


class ConstantProductPool(NamedTuple):
    """One pool's tradable state; immutable, so a book of pools can be shared and folded.

    Attributes:
        reserve_a, reserve_b: vault balances less the fees kept in the vaults.
        trade_rate: of the input.
        protocol_rate, fund_rate: shares of the trade fee; they leave the reserves, the rest stays in.
        creator_rate: 0 where the pool pays its creator nothing.
        creator_fee_on: the side that pays the creator.
        transfer_fee_a, transfer_fee_b: the mints' own transfer fees, None for plain SPL tokens.
    """

    reserve_a: int
    reserve_b: int
    trade_rate: int
    protocol_rate: int = 0
    fund_rate: int = 0
    creator_rate: int = 0
    creator_fee_on: CreatorFeeOn = CreatorFeeOn.INPUT
    transfer_fee_a: TransferFee | None = None
    transfer_fee_b: TransferFee | None = None


class Quote(NamedTuple):
    """What one swap would do.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in: leaves the user's account. `amount_out`: arrives in it; 0 means the program refuses the
            swap, since it never takes something for nothing.
        trade_fee: in the input token; `protocol_fee` and `fund_fee` are shares of it.
        creator_fee: in the input token when `creator_fee_on_input`, else in the output token.
        in_transfer_fee, out_transfer_fee: kept by the mints, never reach the other side.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    trade_fee: int
    protocol_fee: int
    fund_fee: int
    creator_fee: int = 0
    creator_fee_on_input: bool = True
    in_transfer_fee: int = 0
    out_transfer_fee: int = 0


def amount_out(reserve_in: int, reserve_out: int, amount_in: int, trade_rate: int) -> int:
    """Output of an exact-in swap where nobody but the pool takes a fee: the search's inner loop.

    Equals `quote_exact_in(...).amount_out` for a pool without creator and transfer fees.
    """
    net = amount_in - -(-amount_in * trade_rate // RATE)
    return net * reserve_out // (reserve_in + net)


def quote_exact_in(pool: ConstantProductPool, amount: int, *, a_to_b: bool) -> Quote:
    """Quote a swap that sends exactly `amount`.

    Raises:
        QuoteError: the amount is not a positive u64, or a reserve is empty.
    """
    reserve_in, reserve_out = _reserves(pool, amount, a_to_b)
    if pool.creator_rate or pool.transfer_fee_a or pool.transfer_fee_b:
        return _exact_in_with_extras(pool, amount, reserve_in, reserve_out, a_to_b)
    fee = -(-amount * pool.trade_rate // RATE)
    net = amount - fee
    out = net * reserve_out // (reserve_in + net)
    return Quote(a_to_b, amount, out, fee, fee * pool.protocol_rate // RATE, fee * pool.fund_rate // RATE)


def quote_exact_out(pool: ConstantProductPool, amount: int, *, a_to_b: bool) -> Quote:
    """Quote a swap from which exactly `amount` arrives.

    Raises:
        QuoteError: the amount is not a positive u64, a reserve is empty or holds too little, or the
            input needed does not fit a u64.
    """
    reserve_in, reserve_out = _reserves(pool, amount, a_to_b)
    fee_in, fee_out = _transfer_fees(pool, a_to_b)
    on_input = _creator_fee_on_input(pool.creator_fee_on, a_to_b)
    gross_out = _before_transfer_fee(amount, fee_out)
    curve_out = gross_out if on_input else _before_fee(gross_out, pool.creator_rate)
    if curve_out >= reserve_out:
        raise QuoteError(
            f"a swap that pays {curve_out} was asked of a reserve of {reserve_out}: ask for less"
        )
    net = -(-reserve_in * curve_out // (reserve_out - curve_out))
    curve_in = _before_fee(net, pool.trade_rate + pool.creator_rate if on_input else pool.trade_rate)
    total_fee = curve_in - net
    creator_fee = _creator_share(pool, total_fee) if on_input else curve_out - gross_out
    trade_fee = total_fee - creator_fee if on_input else total_fee
    amount_in = _before_transfer_fee(curve_in, fee_in)
    if amount_in > U64_MAX:
        raise QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
    return Quote(
        a_to_b,
        amount_in,
        amount,
        trade_fee,
        trade_fee * pool.protocol_rate // RATE,
        trade_fee * pool.fund_rate // RATE,
        creator_fee,
        on_input,
        amount_in - curve_in,
        gross_out - amount,
    )


def apply_swap(pool: ConstantProductPool, quote: Quote) -> ConstantProductPool:
    """Give the pool after `quote` was carried out; fees owed to others leave the reserves."""
    kept = quote.protocol_fee + quote.fund_fee
    creator_in, creator_out = (quote.creator_fee, 0) if quote.creator_fee_on_input else (0, quote.creator_fee)
    gained = quote.amount_in - quote.in_transfer_fee - kept - creator_in
    paid = quote.amount_out + quote.out_transfer_fee + creator_out
    if quote.a_to_b:
        return pool._replace(reserve_a=pool.reserve_a + gained, reserve_b=pool.reserve_b - paid)
    return pool._replace(reserve_a=pool.reserve_a - paid, reserve_b=pool.reserve_b + gained)


def amount_in_to_price(pool: ConstantProductPool, price_b: int, price_a: int) -> tuple[int, bool]:
    """Find the largest swap that does not carry the pool's price past `price_b / price_a` (b per a).

    Returns:
        (amount_in, a_to_b); the amount is 0 where the pool already stands within one base unit.

    Raises:
        QuoteError: a reserve is empty or the price is not positive.
    """
    if pool.reserve_a <= 0 or pool.reserve_b <= 0 or price_a <= 0 or price_b <= 0:
        raise QuoteError("moving a pool to a price needs two filled reserves and a positive price")
    a_to_b = pool.reserve_b * price_a > price_b * pool.reserve_a
    num, den = (price_a, price_b) if a_to_b else (price_b, price_a)
    reserve_in = pool.reserve_a if a_to_b else pool.reserve_b
    target_in = isqrt(pool.reserve_a * pool.reserve_b * num // den)
    low, high = 0, max(0, target_in - reserve_in) + 1  # the answer without fees; fees only add to it
    while _stays_within(pool, high, a_to_b, price_b, price_a):  # doubles: at most 64 rounds to a u64's end
        low, high = high, high * 2
    while low < high:  # halves the interval: as many rounds again
        middle = (low + high + 1) // 2
        if _stays_within(pool, middle, a_to_b, price_b, price_a):
            low = middle
        else:
            high = middle - 1
    return low, a_to_b


def _stays_within(pool: ConstantProductPool, amount: int, a_to_b: bool, price_b: int, price_a: int) -> bool:
    if amount > U64_MAX:
        return False
    after = apply_swap(pool, quote_exact_in(pool, amount, a_to_b=a_to_b))
    cross = after.reserve_b * price_a - price_b * after.reserve_a
    return cross >= 0 if a_to_b else cross <= 0


def _reserves(pool: ConstantProductPool, amount: int, a_to_b: bool) -> tuple[int, int]:
    if not 0 < amount <= U64_MAX:
        raise QuoteError(f"a swap of {amount} base units was asked for: amounts run from 1 to 2^64 - 1")
    reserves = (pool.reserve_a, pool.reserve_b) if a_to_b else (pool.reserve_b, pool.reserve_a)
    if reserves[0] <= 0 or reserves[1] <= 0:
        raise QuoteError(f"the pool's reserves are {pool.reserve_a} and {pool.reserve_b}: it cannot trade")
    return reserves


def _exact_in_with_extras(
    pool: ConstantProductPool, amount: int, reserve_in: int, reserve_out: int, a_to_b: bool
) -> Quote:
    fee_in, fee_out = _transfer_fees(pool, a_to_b)
    on_input = _creator_fee_on_input(pool.creator_fee_on, a_to_b)
    in_transfer_fee = _transfer_fee(amount, fee_in)
    curve_in = amount - in_transfer_fee
    rate = pool.trade_rate + pool.creator_rate if on_input else pool.trade_rate
    total_fee = -(-curve_in * rate // RATE)
    creator_fee = _creator_share(pool, total_fee) if on_input else 0
    trade_fee = total_fee - creator_fee
    net = curve_in - total_fee
    curve_out = net * reserve_out // (reserve_in + net)
    if not on_input:
        creator_fee = -(-curve_out * pool.creator_rate // RATE)
        curve_out -= creator_fee
    out_transfer_fee = _transfer_fee(curve_out, fee_out)
    return Quote(
        a_to_b,
        amount,
        curve_out - out_transfer_fee,
        trade_fee,
        trade_fee * pool.protocol_rate // RATE,
        trade_fee * pool.fund_rate // RATE,
        creator_fee,
        on_input,
        in_transfer_fee,
        out_transfer_fee,
    )


def _creator_fee_on_input(fee_on: CreatorFeeOn, a_to_b: bool) -> bool:
    return fee_on == CreatorFeeOn.INPUT or (fee_on == CreatorFeeOn.ONLY_A) == a_to_b


def _creator_share(pool: ConstantProductPool, total_fee: int) -> int:
    rate = pool.trade_rate + pool.creator_rate
    return total_fee * pool.creator_rate // rate if rate else 0


def _transfer_fees(pool: ConstantProductPool, a_to_b: bool) -> tuple[TransferFee | None, TransferFee | None]:
    fees = (pool.transfer_fee_a, pool.transfer_fee_b)
    return fees if a_to_b else (fees[1], fees[0])


def _transfer_fee(amount: int, fee: TransferFee | None) -> int:
    return min(-(-amount * fee.bps // BPS), fee.maximum) if fee else 0


def _before_transfer_fee(after: int, fee: TransferFee | None) -> int:
    """What must be sent so that `after` arrives (spl-token-2022's inverse fee, and its cap)."""
    if fee is None or fee.bps == 0 or after == 0:
        return after
    if fee.bps == BPS:
        return after + fee.maximum
    before = -(-after * BPS // (BPS - fee.bps))
    before = min(before, after + fee.maximum)
    # The program then charges the fee of that gross amount, which may exceed what rounding left for it.
    return after + _transfer_fee(before, fee)


def _before_fee(after: int, rate: int) -> int:
    return -(-after * RATE // (RATE - rate)) if rate else after
