"""What every pool answers, whatever its curve: two quotes and a price.

One file beside this one per curve. All amounts are base units of the token they are in.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from domain.errors import QuoteError

PPM: Final = 1_000_000
"""Price impact is in parts of this."""

U64_MAX: Final = 2**64 - 1
"""A token amount on chain is a u64."""


class TransferFee(NamedTuple):
    """A Token-2022 mint's transfer fee in force: ceil(amount * bps / 10,000), never above `maximum`."""

    bps: int
    maximum: int


class Quote(Protocol):
    """What one swap would do, by the deployed program's arithmetic."""

    @property
    def a_to_b(self) -> bool:
        """True when token a is sold."""
        ...

    @property
    def amount_in(self) -> int:
        """Leaves the user's account; below what was offered when the swap is partial.

        Of a PumpSwap buy up to two units are not taken either, whatever its size.
        """
        ...

    @property
    def amount_out(self) -> int:
        """Arrives in the user's account; 0 means that the program refuses the swap."""
        ...

    @property
    def fee_in(self) -> int:
        """What the pool's fee terms take of the input token; the mints' transfer fees are not in it."""
        ...

    @property
    def fee_out(self) -> int:
        """What the pool's fee terms take of the output token; the mints' transfer fees are not in it."""
        ...

    @property
    def partial(self) -> bool:
        """Whether the pool's liquidity ends before the whole amount is swapped."""
        ...


class Pool(Protocol):
    """One pool's tradable state; immutable, decoded from accounts of one slot."""

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> Quote:
        """Quote a swap that sends `amount`.

        Raises:
            QuoteError: the amount is not a positive u64, or the pool cannot trade it.
        """
        ...

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> Quote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, the pool holds too little, or the input does not
                fit a u64.
        """
        ...

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees as an exact ratio: (base units of b, for base units of a).

        Raises:
            QuoteError: the pool is empty.
        """
        ...


def check_amount(amount: int) -> None:
    """Refuse what no token account can hold.

    Raises:
        QuoteError: the amount is not from 1 to 2^64 - 1.
    """
    if not 0 < amount <= U64_MAX:
        raise QuoteError(f"a swap of {amount} base units was asked for: amounts run from 1 to 2^64 - 1")


def price_impact_ppm(pool: Pool, quote: Quote) -> int:
    """How far a swap's own size worsens its price, fees left out: parts per million, rounded up.

    1 - (out + fee_out) / ((in - fee_in) * spot price). Transfer fees of the mints are counted as impact.
    """
    units_b, units_a = pool.spot_price()
    per_in, per_out = (units_b, units_a) if quote.a_to_b else (units_a, units_b)
    ideal = (quote.amount_in - quote.fee_in) * per_in
    if ideal <= 0:
        return PPM
    real = (quote.amount_out + quote.fee_out) * per_out
    return max(0, -(-(ideal - real) * PPM // ideal))
