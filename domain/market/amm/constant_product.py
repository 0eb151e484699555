"""Constant product pools as Raydium CPMM runs them: what one takes and pays, to the last base unit.

Follows the deployed program (April 2026), not its SDK: where a creator fee is taken from the input the
program rounds the sum of both fees up once, the SDK rounds each, so the SDK pays up to a few units less.

All amounts are base units, all rates parts of 1,000,000 unless a name says otherwise.
"""

from __future__ import annotations

from enum import IntEnum
from math import isqrt
from typing import Final, NamedTuple, NoReturn

from domain.errors import QuoteError
from domain.market.amm.pool import U64_MAX, TransferFee, check_amount
from domain.market.amm.transfer_fee import before_transfer_fee, transfer_fee

RATE: Final = 1_000_000
"""Fee rates are parts of this."""

_quote = (
    tuple.__new__
)  # a third faster than the NamedTuple's own constructor: quotes are the search's hot loop


class CreatorFeeOn(IntEnum):
    """Which side of a swap pays the pool creator's fee."""

    INPUT = 0
    ONLY_A = 1
    ONLY_B = 2


class ConstantProductQuote(NamedTuple):
    """What one swap would do.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in: leaves the user's account. `amount_out`: arrives in it; 0 means the program refuses the
            swap, since it never takes something for nothing.
        trade_fee: in the input token. `protocol_rate`, `fund_rate`: shares of it, 10^-6.
        creator_fee: in the input token when `creator_fee_on_input`, else in the output token.
        in_transfer_fee, out_transfer_fee: kept by the mints, never reach the other side.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    trade_fee: int
    protocol_rate: int
    fund_rate: int
    creator_fee: int = 0
    creator_fee_on_input: bool = True
    in_transfer_fee: int = 0
    out_transfer_fee: int = 0

    @property
    def protocol_fee(self) -> int:
        """The protocol's share of the trade fee; few who search quotes ask, so it is not reckoned before."""
        return self.trade_fee * self.protocol_rate // RATE

    @property
    def fund_fee(self) -> int:
        """The fund's share of the trade fee."""
        return self.trade_fee * self.fund_rate // RATE

    @property
    def fee_in(self) -> int:
        """The pool's and the creator's fee on the input."""
        return self.trade_fee + self.creator_fee if self.creator_fee_on_input else self.trade_fee

    @property
    def fee_out(self) -> int:
        """The creator's fee where it is taken from the output."""
        return 0 if self.creator_fee_on_input else self.creator_fee

    @property
    def partial(self) -> bool:
        """Never: a product curve has no end."""
        return False


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

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> ConstantProductQuote:
        """Quote a swap that sends exactly `amount`.

        Raises:
            QuoteError: the amount is not a positive u64, or a reserve is empty.
        """
        if a_to_b:
            reserve_in, reserve_out, trade_rate, protocol_rate, fund_rate, creator_rate, _, fee_a, fee_b = (
                self
            )
        else:
            reserve_out, reserve_in, trade_rate, protocol_rate, fund_rate, creator_rate, _, fee_a, fee_b = (
                self
            )
        if not 0 < amount <= U64_MAX or reserve_in <= 0 or reserve_out <= 0:
            self._refuse(amount)
        if creator_rate or fee_a or fee_b:
            return self._exact_in_with_extras(amount, a_to_b)
        fee = (amount * trade_rate + 999_999) // 1_000_000
        net = amount - fee
        out = net * reserve_out // (reserve_in + net)
        return _quote(
            ConstantProductQuote,
            (a_to_b, amount, out, fee, protocol_rate, fund_rate, 0, True, 0, 0),
        )

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> ConstantProductQuote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, a reserve is empty or holds too little, or the
                input needed does not fit a u64.
        """
        if not 0 < amount <= U64_MAX or self.reserve_a <= 0 or self.reserve_b <= 0:
            self._refuse(amount)
        if self.creator_rate or self.transfer_fee_a or self.transfer_fee_b:
            return self._exact_out_with_extras(amount, a_to_b)
        reserve_in, reserve_out = self._reserves(a_to_b)
        net = _net_input(reserve_in, reserve_out, amount)
        amount_in = -(-net * RATE // (RATE - self.trade_rate))
        if amount_in > U64_MAX:
            raise _beyond_u64(amount, amount_in)
        return _quote(
            ConstantProductQuote,
            (a_to_b, amount_in, amount, amount_in - net, self.protocol_rate, self.fund_rate, 0, True, 0, 0),
        )

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees: (base units of b, for base units of a).

        Raises:
            QuoteError: a reserve is empty.
        """
        if self.reserve_a <= 0 or self.reserve_b <= 0:
            self._refuse(1)
        return self.reserve_b, self.reserve_a

    def after(self, quote: ConstantProductQuote) -> ConstantProductPool:
        """Give the pool after `quote` was carried out; fees owed to others leave the reserves."""
        kept = quote.protocol_fee + quote.fund_fee
        creator_in = quote.creator_fee if quote.creator_fee_on_input else 0
        gained = quote.amount_in - quote.in_transfer_fee - kept - creator_in
        paid = quote.amount_out + quote.out_transfer_fee + quote.fee_out
        if quote.a_to_b:
            return self._replace(reserve_a=self.reserve_a + gained, reserve_b=self.reserve_b - paid)
        return self._replace(reserve_a=self.reserve_a - paid, reserve_b=self.reserve_b + gained)

    def _exact_in_with_extras(self, amount: int, a_to_b: bool) -> ConstantProductQuote:
        reserve_in, reserve_out = self._reserves(a_to_b)
        fee_in, fee_out = self._transfer_fees(a_to_b)
        on_input = _creator_fee_on_input(self.creator_fee_on, a_to_b)
        in_transfer_fee = transfer_fee(amount, fee_in)
        curve_in = amount - in_transfer_fee
        rate = self.trade_rate + self.creator_rate if on_input else self.trade_rate
        total_fee = -(-curve_in * rate // RATE)
        creator_fee = self._creator_share(total_fee) if on_input else 0
        trade_fee = total_fee - creator_fee
        net = curve_in - total_fee
        curve_out = net * reserve_out // (reserve_in + net)
        if not on_input:
            creator_fee = -(-curve_out * self.creator_rate // RATE)
            curve_out -= creator_fee
        out_transfer_fee = transfer_fee(curve_out, fee_out)
        return ConstantProductQuote(
            a_to_b,
            amount,
            curve_out - out_transfer_fee,
            trade_fee,
            self.protocol_rate,
            self.fund_rate,
            creator_fee,
            on_input,
            in_transfer_fee,
            out_transfer_fee,
        )

    def _exact_out_with_extras(self, amount: int, a_to_b: bool) -> ConstantProductQuote:
        reserve_in, reserve_out = self._reserves(a_to_b)
        fee_in, fee_out = self._transfer_fees(a_to_b)
        on_input = _creator_fee_on_input(self.creator_fee_on, a_to_b)
        gross_out = before_transfer_fee(amount, fee_out)
        curve_out = gross_out if on_input else _before_fee(gross_out, self.creator_rate)
        net = _net_input(reserve_in, reserve_out, curve_out)
        curve_in = _before_fee(net, self.trade_rate + self.creator_rate if on_input else self.trade_rate)
        total_fee = curve_in - net
        creator_fee = self._creator_share(total_fee) if on_input else curve_out - gross_out
        amount_in = before_transfer_fee(curve_in, fee_in)
        if amount_in > U64_MAX:
            raise _beyond_u64(amount, amount_in)
        return ConstantProductQuote(
            a_to_b,
            amount_in,
            amount,
            total_fee - creator_fee if on_input else total_fee,
            self.protocol_rate,
            self.fund_rate,
            creator_fee,
            on_input,
            amount_in - curve_in,
            gross_out - amount,
        )

    def _reserves(self, a_to_b: bool) -> tuple[int, int]:
        return (self.reserve_a, self.reserve_b) if a_to_b else (self.reserve_b, self.reserve_a)

    def _transfer_fees(self, a_to_b: bool) -> tuple[TransferFee | None, TransferFee | None]:
        fees = (self.transfer_fee_a, self.transfer_fee_b)
        return fees if a_to_b else (fees[1], fees[0])

    def _creator_share(self, total_fee: int) -> int:
        rate = self.trade_rate + self.creator_rate
        return total_fee * self.creator_rate // rate if rate else 0

    def _refuse(self, amount: int) -> NoReturn:
        check_amount(amount)
        raise QuoteError(f"the pool's reserves are {self.reserve_a} and {self.reserve_b}: it cannot trade")


def amount_out(reserve_in: int, reserve_out: int, amount_in: int, trade_rate: int) -> int:
    """Output of an exact-in swap where nobody but the pool takes a fee: the search's inner loop.

    Equals `quote_exact_in(...).amount_out` for a pool without creator and transfer fees.
    """
    net = amount_in - -(-amount_in * trade_rate // RATE)
    return net * reserve_out // (reserve_in + net)


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
    after = pool.after(pool.quote_exact_in(amount, a_to_b=a_to_b))
    cross = after.reserve_b * price_a - price_b * after.reserve_a
    return cross >= 0 if a_to_b else cross <= 0


def _creator_fee_on_input(fee_on: CreatorFeeOn, a_to_b: bool) -> bool:
    return fee_on == CreatorFeeOn.INPUT or (fee_on == CreatorFeeOn.ONLY_A) == a_to_b


def _before_fee(after: int, rate: int) -> int:
    return -(-after * RATE // (RATE - rate)) if rate else after


def _net_input(reserve_in: int, reserve_out: int, curve_out: int) -> int:
    """What the curve asks for `curve_out`, before fees."""
    if curve_out >= reserve_out:
        raise QuoteError(
            f"a swap that pays {curve_out} was asked of a reserve of {reserve_out}: ask for less"
        )
    return -(-reserve_in * curve_out // (reserve_out - curve_out))


def _beyond_u64(amount: int, amount_in: int) -> QuoteError:
    return QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
