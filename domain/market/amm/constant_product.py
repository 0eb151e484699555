"""Constant product pools as Raydium CPMM runs them: what one takes and pays, to the last base unit.

Follows the deployed program (April 2026), not its SDK: where a creator fee is taken from the input the
program rounds the sum of both fees up once, the SDK rounds each, so the SDK pays up to a few units less.

All amounts are base units, all rates parts of 1,000,000 unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import isqrt
from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.pool import U64_MAX, TransferFee, check_amount
from domain.market.amm.transfer_fee import before_transfer_fee, transfer_fee

RATE: Final = 1_000_000
"""Fee rates are parts of this."""

_quote = tuple.__new__  # a third faster than the NamedTuple's own constructor: quotes are a hot loop

_Extras = tuple[int, TransferFee | None, TransferFee | None]
"""What is left of the output after the creator's fee, per RATE, and the fees of both mints, input first."""

_NO_EXTRAS: Final[_Extras] = (RATE, None, None)

_Side = tuple[int, int, int, int, int, _Extras]
"""One direction's state, prepared once and unpacked by every quote: the largest exact input and the largest
exact output that need no extras (0 where there are some, or nothing can be traded), the reserve sold to and
the reserve bought from, what is left of the input after the fees on it, per RATE, and the extras."""


class CreatorFeeOn(IntEnum):
    """Which side of a swap pays the pool creator's fee."""

    INPUT = 0
    ONLY_A = 1
    ONLY_B = 2


class ConstantProductQuote(NamedTuple):
    """What one swap would do: the amounts on its way. Every fee is the difference of two neighbours.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in: leaves the user's account.
        received: arrives in the vault, after the mint's transfer fee.
        net_in: what the curve prices, after the fees on the input.
        curve_out: what the curve gives for it.
        sent: leaves the vault, after the creator's fee on the output.
        amount_out: arrives in the user's account, after the mint's transfer fee; 0 means the program refuses
            the swap, since it never takes something for nothing.
        pool: the one that was asked; its rates divide the fees, which few who search quotes want to know.
    """

    a_to_b: bool
    amount_in: int
    received: int
    net_in: int
    curve_out: int
    sent: int
    amount_out: int
    pool: ConstantProductPool

    @property
    def creator_fee_on_input(self) -> bool:
        """Whether the creator's fee is in the input token, else it is in the output token."""
        return self.pool.creator_fee_on_input(self.a_to_b)

    @property
    def creator_fee(self) -> int:
        """The creator's share of the fees on the input, or the whole fee on the output."""
        rate = self.pool.creator_rate
        if rate and self.creator_fee_on_input:
            return self.fee_in * rate // (self.pool.trade_rate + rate)
        return self.fee_out

    @property
    def trade_fee(self) -> int:
        """The pool's own fee, in the input token."""
        return self.fee_in - self.creator_fee if self.creator_fee_on_input else self.fee_in

    @property
    def protocol_fee(self) -> int:
        """The protocol's share of the trade fee."""
        return self.trade_fee * self.pool.protocol_rate // RATE

    @property
    def fund_fee(self) -> int:
        """The fund's share of the trade fee."""
        return self.trade_fee * self.pool.fund_rate // RATE

    @property
    def fee_in(self) -> int:
        """The pool's and the creator's fee on the input."""
        return self.received - self.net_in

    @property
    def fee_out(self) -> int:
        """The creator's fee where it is taken from the output."""
        return self.curve_out - self.sent

    @property
    def in_transfer_fee(self) -> int:
        """Kept by the input's mint, never reaches the vault."""
        return self.amount_in - self.received

    @property
    def out_transfer_fee(self) -> int:
        """Kept by the output's mint, never reaches the user."""
        return self.sent - self.amount_out

    @property
    def partial(self) -> bool:
        """Never: a product curve has no end."""
        return False


@dataclass(frozen=True, slots=True)
class ConstantProductPool:
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
    _selling_a: _Side = field(init=False, repr=False, compare=False)
    _selling_b: _Side = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare both directions."""
        a, b, fee_a, fee_b = self.reserve_a, self.reserve_b, self.transfer_fee_a, self.transfer_fee_b
        object.__setattr__(self, "_selling_a", self._side(True, a, b, fee_a, fee_b))
        object.__setattr__(self, "_selling_b", self._side(False, b, a, fee_b, fee_a))

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> ConstantProductQuote:
        """Quote a swap that sends exactly `amount`.

        Raises:
            QuoteError: the amount is not a positive u64, or the pool cannot trade.
        """
        most, _, reserve_in, reserve_out, kept, _ = self._selling_a if a_to_b else self._selling_b
        if not 0 < amount <= most:
            return self._exact_in_with_extras(amount, a_to_b)
        net = amount * kept // RATE
        out = net * reserve_out // (reserve_in + net)
        return _quote(ConstantProductQuote, (a_to_b, amount, amount, net, out, out, out, self))

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> ConstantProductQuote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, the pool cannot trade or holds too little, or the
                input needed does not fit a u64.
        """
        _, most, reserve_in, reserve_out, kept, _ = self._selling_a if a_to_b else self._selling_b
        if not 0 < amount <= most:
            return self._exact_out_with_extras(amount, a_to_b)
        net = (reserve_in * amount - 1) // (reserve_out - amount) + 1
        amount_in = (net * RATE - 1) // kept + 1
        if amount_in > U64_MAX:
            raise _beyond_u64(amount, amount_in)
        return _quote(ConstantProductQuote, (a_to_b, amount_in, amount_in, net, amount, amount, amount, self))

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees: (base units of b, for base units of a).

        Raises:
            QuoteError: a reserve is empty.
        """
        self._check_reserves()
        return self.reserve_b, self.reserve_a

    def after(self, quote: ConstantProductQuote) -> ConstantProductPool:
        """Give the pool after `quote` was carried out; fees owed to others leave the reserves."""
        trade_fee = quote.trade_fee
        kept = trade_fee * self.protocol_rate // RATE + trade_fee * self.fund_rate // RATE
        gained = quote.net_in + trade_fee - kept
        paid = quote.curve_out
        if quote.a_to_b:
            return self._with_reserves(self.reserve_a + gained, self.reserve_b - paid)
        return self._with_reserves(self.reserve_a - paid, self.reserve_b + gained)

    def creator_fee_on_input(self, a_to_b: bool) -> bool:
        """Whether a swap in this direction pays the creator in the token it sends."""
        return self.creator_fee_on == CreatorFeeOn.INPUT or (
            (self.creator_fee_on == CreatorFeeOn.ONLY_A) == a_to_b
        )

    def _with_reserves(self, reserve_a: int, reserve_b: int) -> ConstantProductPool:
        return ConstantProductPool(
            reserve_a,
            reserve_b,
            self.trade_rate,
            self.protocol_rate,
            self.fund_rate,
            self.creator_rate,
            self.creator_fee_on,
            self.transfer_fee_a,
            self.transfer_fee_b,
        )

    def _side(
        self,
        a_to_b: bool,
        reserve_in: int,
        reserve_out: int,
        mint_in: TransferFee | None,
        mint_out: TransferFee | None,
    ) -> _Side:
        kept_in, kept_out = RATE - self.trade_rate, RATE
        if self.creator_rate and self.creator_fee_on_input(a_to_b):
            kept_in -= self.creator_rate
        else:
            kept_out -= self.creator_rate
        extras = (kept_out, mint_in, mint_out)
        if extras != _NO_EXTRAS or kept_in <= 0 or reserve_in <= 0 or reserve_out <= 0:
            return 0, 0, reserve_in, reserve_out, kept_in, extras
        return U64_MAX, min(U64_MAX, reserve_out - 1), reserve_in, reserve_out, kept_in, extras

    def _exact_in_with_extras(self, amount: int, a_to_b: bool) -> ConstantProductQuote:
        reserve_in, reserve_out, kept_in, (kept_out, mint_in, mint_out) = self._checked(amount, a_to_b)
        received = amount - transfer_fee(amount, mint_in)
        net = received * kept_in // RATE
        out = net * reserve_out // (reserve_in + net)
        sent = out * kept_out // RATE
        arrives = sent - transfer_fee(sent, mint_out)
        return ConstantProductQuote(a_to_b, amount, received, net, out, sent, arrives, self)

    def _exact_out_with_extras(self, amount: int, a_to_b: bool) -> ConstantProductQuote:
        reserve_in, reserve_out, kept_in, (kept_out, mint_in, mint_out) = self._checked(amount, a_to_b)
        sent = before_transfer_fee(amount, mint_out)
        out = -(-sent * RATE // kept_out)
        if out >= reserve_out:
            raise QuoteError(f"a swap that pays {out} was asked of a reserve of {reserve_out}: ask for less")
        net = -(-reserve_in * out // (reserve_out - out))
        received = -(-net * RATE // kept_in)
        amount_in = before_transfer_fee(received, mint_in)
        if amount_in > U64_MAX:
            raise _beyond_u64(amount, amount_in)
        return ConstantProductQuote(a_to_b, amount_in, received, net, out, sent, amount, self)

    def _checked(self, amount: int, a_to_b: bool) -> tuple[int, int, int, _Extras]:
        """What the long way needs of a direction.

        Raises:
            QuoteError: the amount is not a positive u64, or the pool cannot trade.
        """
        check_amount(amount)
        self._check_reserves()
        _, _, reserve_in, reserve_out, kept_in, extras = self._selling_a if a_to_b else self._selling_b
        if kept_in <= 0 or extras[0] <= 0:
            raise QuoteError(
                f"the pool's fees are {self.trade_rate} and {self.creator_rate} of {RATE}: they leave nothing"
            )
        return reserve_in, reserve_out, kept_in, extras

    def _check_reserves(self) -> None:
        if self.reserve_a <= 0 or self.reserve_b <= 0:
            raise QuoteError(
                f"the pool's reserves are {self.reserve_a} and {self.reserve_b}: it cannot trade"
            )


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


def _beyond_u64(amount: int, amount_in: int) -> QuoteError:
    return QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
