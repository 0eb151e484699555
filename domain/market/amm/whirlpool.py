"""Orca Whirlpool pools: what one takes and pays, to the last base unit, across three tick arrays.

Follows the deployed program. A swap is given three tick arrays and fails when it needs a fourth; going up
from the last tick spacing of an array the first of the three is the next one. At the lowest and the highest
price an exact input is filled partly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.adaptive_fee import AdaptiveFee, Volatility, adaptive_move
from domain.market.amm.concentrated import Bands, End, Move, Place, marginal_price, move
from domain.market.amm.concentrated_quote import ConcentratedQuote, Sides
from domain.market.amm.ticks import MAX_TICK, MIN_TICK, WHIRLPOOL, floor_start

TICKS_IN_ARRAY: Final = 88
ARRAYS_PER_SWAP: Final = 3

_THREE: Final = "the three tick arrays of one swap end: ask for less"
_UNREAD: Final = "the tick arrays that were read end: read more of them"


class Adaptive(NamedTuple):
    """An adaptive fee at one time: its constants, its memory, and the chain's clock in seconds."""

    fee: AdaptiveFee
    volatility: Volatility
    unix_time: int


class WhirlpoolPool(NamedTuple):
    """One pool's tradable state.

    Attributes:
        bands: its ticks as far as they were read, with the fee terms.
        place: where the price stands.
        sides: the vaults and the mints' transfer fees.
        spacing: of the ticks.
        known: the lowest tick of the arrays that were read, and the first tick behind them.
        adaptive: where the fee follows the price; None for a fixed rate.
    """

    bands: Bands
    place: Place
    sides: Sides
    spacing: int
    known: tuple[int, int]
    adaptive: Adaptive | None = None

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap that sends `amount`; partial where it reaches the lowest or the highest price.

        Raises:
            QuoteError: the amount is not a positive u64, the swap needs more than its three tick arrays or
                one that was not read, or the vault holds too little.
        """
        end = self.end(a_to_b=a_to_b)
        curve_in = self.sides.curve_in(amount, a_to_b=a_to_b)
        moved, volatility = self._move(end, curve_in, exact_in=True, a_to_b=a_to_b)
        refusal = _refusal(end, moved)
        return self.sides.quote_in(amount, moved, refusal, a_to_b=a_to_b, volatility=volatility)

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap from which exactly `amount` arrives.

        Raises:
            QuoteError: the amount is not a positive u64, the swap needs more than its three tick arrays or
                one that was not read, the pool or its vault holds too little, or the input does not fit a
                u64.
        """
        end = self.end(a_to_b=a_to_b)
        curve_out = self.sides.curve_out(amount, a_to_b=a_to_b)
        moved, volatility = self._move(end, curve_out, exact_in=False, a_to_b=a_to_b)
        refusal = _refusal(end, moved)
        return self.sides.quote_out(amount, moved, refusal, a_to_b=a_to_b, volatility=volatility)

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
        return WHIRLPOOL.tick_of(self.place.price) if self.place.tick is None else self.place.tick

    def after(self, quote: ConcentratedQuote) -> WhirlpoolPool:
        """The pool after `quote` was carried out: price, tick, liquidity, vaults, the adaptive fee's memory.

        The pool account's fee growth and protocol fee are `fee_growth` and `protocol_fee` of the quote. Left
        out: the fee growth outside the crossed ticks and the rewards; no swap reads them.
        """
        adaptive = self.adaptive
        if adaptive and quote.volatility:
            adaptive = adaptive._replace(volatility=quote.volatility)
        place = quote.place
        if place.tick is None:  # the next quote's tick arrays follow from it
            place = place._replace(tick=WHIRLPOOL.tick_of(place.price))
        return self._replace(place=place, sides=self.sides.after(quote), adaptive=adaptive)

    def end(self, *, a_to_b: bool) -> End:
        """Where the three tick arrays of a swap end.

        Raises:
            QuoteError: there is no tick array in this direction.
        """
        tick, width, (known_low, known_high) = self.tick, TICKS_IN_ARRAY * self.spacing, self.known
        base = tick // width * width
        if a_to_b:
            low = max(base - (ARRAYS_PER_SWAP - 1) * width, MIN_TICK)
            return self._low_end(low, _THREE) if low >= known_low else self._low_end(known_low, _UNREAD)
        first = base + width if tick + self.spacing >= base + width else base
        if first > MAX_TICK:
            raise QuoteError("the price stands behind the last tick array: nothing is left to buy there")
        high = min(first + ARRAYS_PER_SWAP * width - 1, MAX_TICK)
        return self._high_end(high, _THREE) if high < known_high else self._high_end(known_high - 1, _UNREAD)

    def _low_end(self, tick: int, refusal: str) -> End:
        if tick <= MIN_TICK:
            return End(0, WHIRLPOOL.at(MIN_TICK), MIN_TICK)
        return End(bisect_left(self.bands.ticks, tick), WHIRLPOOL.at(tick), tick, refusal)

    def _high_end(self, tick: int, refusal: str) -> End:
        if tick >= MAX_TICK:
            return End(len(self.bands.ticks) - 1, WHIRLPOOL.highest, MAX_TICK)
        last, price = bisect_right(self.bands.ticks, tick) - 1, WHIRLPOOL.at(tick)
        return End(last, price if price > self.place.price else None, tick, refusal)

    def _move(self, end: End, amount: int, *, exact_in: bool, a_to_b: bool) -> tuple[Move, Volatility | None]:
        if self.adaptive is None:
            return move(self.bands, self.place, end, amount, exact_in=exact_in, down=a_to_b), None
        fee, volatility, now = self.adaptive
        return adaptive_move(
            self.bands, self.place, end, amount, fee, volatility, now, exact_in=exact_in, down=a_to_b
        )


def swap_starts(tick: int, spacing: int, *, a_to_b: bool) -> tuple[int, ...]:
    """Where the tick arrays of a swap at `tick` start, in its direction; fewer than three at the end."""
    width = TICKS_IN_ARRAY * spacing
    base = floor_start(tick, width)
    if a_to_b:
        starts = [base - step * width for step in range(ARRAYS_PER_SWAP)]
    else:
        first = base + width if tick + spacing >= base + width else base
        starts = [first + step * width for step in range(ARRAYS_PER_SWAP)]
    return tuple(start for start in starts if start + width > MIN_TICK and start <= MAX_TICK)


def _refusal(end: End, moved: Move) -> str:
    if not moved.left or not end.refusal:
        return ""
    return f"the swap goes past tick {end.at}, where {end.refusal}"
