"""Swaps along ticks that stop at a price: what the price limit of a CLMM or Whirlpool instruction asks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final

from adapters.localnet.emulated_swap import Order
from domain.errors import QuoteError
from domain.market.amm.clmm import ClmmPool
from domain.market.amm.concentrated import Bands, End, move
from domain.market.amm.concentrated_quote import ConcentratedQuote
from domain.market.amm.ticks import MAX_TICK, MIN_TICK, WHIRLPOOL
from domain.market.amm.whirlpool import WhirlpoolPool

_EVERYTHING: Final = 2**256


@dataclass(frozen=True, slots=True)
class LimitedPool:
    """A pool whose swaps go no further than sqrt price `limit` (Q64.64); 0 for no limit.

    An exact output that the limit cuts short has no quote, and neither has any swap that the limit cuts short
    where the fee follows the price.
    """

    pool: ClmmPool | WhirlpoolPool
    limit: int

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap that sends `amount`, partial where the limit ends it."""
        try:
            quote = self.pool.quote_exact_in(amount, a_to_b=a_to_b)
        except QuoteError:
            if not self._ahead(a_to_b=a_to_b):
                raise
        else:
            if not self._passed(quote):
                return quote
        return self._cut(amount, a_to_b=a_to_b)

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        """Quote a swap from which `amount` arrives."""
        quote = self.pool.quote_exact_out(amount, a_to_b=a_to_b)
        if self._passed(quote):
            raise QuoteError(f"a swap for {amount} passes its price limit {self.limit}")
        return quote

    def _cut(self, amount: int, *, a_to_b: bool) -> ConcentratedQuote:
        pool = self.pool
        if isinstance(pool, WhirlpoolPool) and pool.adaptive is not None:
            raise QuoteError("a price limit in a pool whose fee follows the price is not covered")
        curve_in = pool.sides.curve_in(amount, a_to_b=a_to_b)
        end = end_at(pool.bands, self.limit, down=a_to_b)
        moved = move(pool.bands, pool.place, end, curve_in, exact_in=True, down=a_to_b)
        return pool.sides.quote_in(amount, moved, "", a_to_b=a_to_b)

    def _ahead(self, *, a_to_b: bool) -> bool:
        """Whether the limit lies within the tick arrays that are known in this direction."""
        prices, place = self.pool.bands.prices, self.pool.place.price
        if isinstance(self.pool, WhirlpoolPool):
            prices = tuple(WHIRLPOOL.at(min(max(tick, MIN_TICK), MAX_TICK)) for tick in self.pool.known)
        if not self.limit or not prices:
            return False
        return prices[0] <= self.limit < place if a_to_b else place < self.limit <= prices[-1]

    def _passed(self, quote: ConcentratedQuote) -> bool:
        if not self.limit:
            return False
        reached = quote.place.price
        return reached < self.limit if quote.a_to_b else reached > self.limit


def paid_without_vaults(pool: ClmmPool | WhirlpoolPool, order: Order) -> int | None:
    """What the curve would pay if the vaults held everything; None where even then there is no quote."""
    rich = pool._replace(sides=pool.sides._replace(vault_a=_EVERYTHING, vault_b=_EVERYTHING))
    try:
        quoted = rich.quote_exact_in if order.exact_in else rich.quote_exact_out
        quote = quoted(order.amount, a_to_b=order.a_to_b)
    except QuoteError:
        return None
    return quote.amount_out + quote.out_transfer_fee


def end_at(bands: Bands, limit: int, *, down: bool) -> End:
    """The end of a swap that may cross every tick up to the limit and stops at its price."""
    if down:
        tick = bisect_left(bands.prices, limit)
        on_tick = tick < len(bands.prices) and bands.prices[tick] == limit
    else:
        tick = bisect_right(bands.prices, limit) - 1
        on_tick = tick >= 0 and bands.prices[tick] == limit
    return End(tick, None if on_tick else limit)
