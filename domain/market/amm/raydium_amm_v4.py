"""Constant product pools as Raydium AMM v4 runs them: a fee on the input that stays in the pool.

Follows the deployed program, not its SDK. Its ceiling division gives 0 instead of 1 where the quotient would
be below a half, so the 25/10,000 fee is 0 below 200 units; for exact out it rounds up twice where the SDK
rounds down, so the SDK's input may be too small for the swap to pass.

All amounts are base units.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from domain.errors import QuoteError
from domain.market.amm.pool import U64_MAX, check_amount

_quote = tuple.__new__  # a third faster than the NamedTuple's own constructor: quotes are a hot loop


class AmmV4Quote(NamedTuple):
    """What one swap would do.

    Attributes:
        a_to_b: True when token a is sold.
        amount_in: leaves the user's account. `amount_out`: arrives in it; 0 means the program refuses the
            swap.
        fee_in: of the input; all of it stays in the pool.
    """

    a_to_b: bool
    amount_in: int
    amount_out: int
    fee_in: int

    @property
    def fee_out(self) -> int:
        """Nothing is taken of the output."""
        return 0

    @property
    def partial(self) -> bool:
        """Never: a product curve has no end."""
        return False


class AmmV4Pool(NamedTuple):
    """One pool's tradable state.

    Attributes:
        reserve_a, reserve_b: vault balances and open orders less the profit waiting to be taken.
        fee_numerator, fee_denominator: the fee's share of the input, below 1.
    """

    reserve_a: int
    reserve_b: int
    fee_numerator: int
    fee_denominator: int

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> AmmV4Quote:
        """Quote a swap that sends exactly `amount`.

        Raises:
            QuoteError: the amount is not a positive u64, or a reserve is empty.
        """
        reserve_a, reserve_b, numerator, denominator = self
        if amount <= 0 or amount > U64_MAX or reserve_a <= 0 or reserve_b <= 0:
            self._refuse(amount)
        scaled = amount * numerator
        if scaled >= denominator:
            fee = (scaled + denominator - 1) // denominator
        else:
            fee = 1 if scaled * 2 >= denominator else 0
        net = amount - fee
        return _quote(
            AmmV4Quote,
            (
                a_to_b,
                amount,
                net * reserve_b // (reserve_a + net) if a_to_b else net * reserve_a // (reserve_b + net),
                fee,
            ),
        )

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> AmmV4Quote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, a reserve is empty or holds too little, the input
                rounds to 0, which the program refuses, or does not fit a u64.
        """
        reserve_a, reserve_b, numerator, denominator = self
        if amount <= 0 or amount > U64_MAX or reserve_a <= 0 or reserve_b <= 0:
            self._refuse(amount)
        reserve_in, reserve_out = (reserve_a, reserve_b) if a_to_b else (reserve_b, reserve_a)
        if amount >= reserve_out:
            raise QuoteError(
                f"a swap that pays {amount} was asked of a reserve of {reserve_out}: ask for less"
            )
        net = ceil_or_nothing(reserve_in * amount, reserve_out - amount)
        amount_in = ceil_or_nothing(net * denominator, denominator - numerator)
        if amount_in == 0:
            raise QuoteError(f"paying out {amount} rounds to an input of 0, which the program refuses")
        if amount_in > U64_MAX:
            raise QuoteError(f"paying out {amount} needs an input of {amount_in}, above 2^64: ask for less")
        return _quote(AmmV4Quote, (a_to_b, amount_in, amount, amount_in - net))

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees: (base units of b, for base units of a).

        Raises:
            QuoteError: a reserve is empty.
        """
        if self.reserve_a <= 0 or self.reserve_b <= 0:
            self._refuse(1)
        return self.reserve_b, self.reserve_a

    def after(self, quote: AmmV4Quote) -> AmmV4Pool:
        """Give the pool after `quote` was carried out."""
        gained, paid = quote.amount_in, quote.amount_out
        if quote.a_to_b:
            return self._replace(reserve_a=self.reserve_a + gained, reserve_b=self.reserve_b - paid)
        return self._replace(reserve_a=self.reserve_a - paid, reserve_b=self.reserve_b + gained)

    def _refuse(self, amount: int) -> NoReturn:
        check_amount(amount)
        raise QuoteError(f"the pool's reserves are {self.reserve_a} and {self.reserve_b}: it cannot trade")


def ceil_or_nothing(numerator: int, denominator: int) -> int:
    """The program's ceiling division: a quotient below one is rounded to the nearest, not up."""
    if numerator < denominator:
        return 1 if numerator * 2 >= denominator else 0
    return -(-numerator // denominator)
