"""Raydium CLMM pools: what one takes and pays, to the last base unit, across any number of ticks.

Follows the deployed program. Without a price limit it refuses what this file calls a partial swap, and it
refuses a swap that would pay nothing; both still have a quote, which says so. Fees on one token only, fees
that follow the price and limit orders are not covered: such pools are refused when they are read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.concentrated import Bands, End, Place, marginal_price, move
from domain.market.amm.concentrated_quote import ConcentratedQuote, Sides
from domain.market.amm.ticks import CLMM, MAX_TICK, MIN_SQRT_PRICE, MIN_TICK
from domain.market.amm.transfer_fee import before_transfer_fee

TICKS_IN_ARRAY: Final = 60


class ClmmPool(NamedTuple):
    """One pool's tradable state.

    Attributes:
        bands: its ticks as far as they were read, with the fee terms.
        place: where the price stands.
        sides: the vaults and the mints' transfer fees.
        down, up: where the known ticks end for a swap that sells a, and for one that sells b.
    """

    bands: Bands
    place: Place
    sides: Sides
    down: End
    up: End

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap that sends `amount`; partial where the liquidity ends before it is spent.

        Raises:
            QuoteError: the amount is not a positive u64, the swap needs ticks that were not read, the vault
                holds too little, or the program would refuse the amount for a rounding of the transfer fee.
        """
        end = self.down if a_to_b else self.up
        curve_in = self.sides.curve_in(amount, a_to_b=a_to_b)
        moved = move(self.bands, self.place, end, curve_in, exact_in=True, down=a_to_b)
        quote = self.sides.quote_in(amount, moved, end.refusal, a_to_b=a_to_b)
        if curve_in != amount and not moved.left:
            self._check_fee_of(amount, curve_in, a_to_b=a_to_b)
        return quote

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, the swap needs ticks that were not read, the pool or
                its vault holds too little, or the input does not fit a u64.
        """
        end = self.down if a_to_b else self.up
        curve_out = self.sides.curve_out(amount, a_to_b=a_to_b)
        moved = move(self.bands, self.place, end, curve_out, exact_in=False, down=a_to_b)
        return self.sides.quote_out(amount, moved, end.refusal, a_to_b=a_to_b)

    def spot_price(self) -> tuple[int, int]:
        """The marginal price before fees: base units of b, for base units of a.

        Raises:
            QuoteError: no liquidity is known anywhere.
        """
        return marginal_price(self.bands, self.place)

    @property
    def liquidity(self) -> int:
        """In range at the current price."""
        return self.bands.liquidity[self.place.band]

    @property
    def tick(self) -> int:
        """The program's current tick."""
        return CLMM.tick_of(self.place.price) if self.place.tick is None else self.place.tick

    def after(self, quote: ConcentratedQuote) -> ClmmPool:
        """The pool after `quote` was carried out: price, tick, liquidity and vaults.

        The pool account's fee growth and fees owed are `fee_growth`, `protocol_fee` and `fund_fee` of the
        quote. Left out: the fee growth outside the crossed ticks, rewards and the price observation; no swap
        reads them.
        """
        return self._replace(place=quote.place, sides=self.sides.after(quote))

    def _check_fee_of(self, amount: int, curve_in: int, *, a_to_b: bool) -> None:
        """The program adds the transfer fee back to what the curve took and wants the very amount again."""
        fee = self.sides.transfer_fee_a if a_to_b else self.sides.transfer_fee_b
        again = before_transfer_fee(curve_in, fee)
        if again != amount:
            raise QuoteError(
                f"sending {amount}, the mint leaves {curve_in}, for which the program wants {again} sent: it "
                f"refuses the swap, send {again}"
            )


def ends(bands: Bands, below: str = "", above: str = "") -> tuple[End, End]:
    """Where a pool's known ticks end, down and up.

    `below` and `above` say why, empty where there are no more. A swap never reaches the price of the lowest
    or the highest tick there is: the program stops one unit before.
    """
    ticks = bands.ticks
    down, up = End(0, refusal=below), End(len(ticks) - 1, refusal=above)
    if ticks and ticks[0] == MIN_TICK:
        down = End(1, MIN_SQRT_PRICE + 1)
    if ticks and ticks[-1] == MAX_TICK:
        up = End(len(ticks) - 2, CLMM.highest - 1)
    return down, up
