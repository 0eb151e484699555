"""Hypothesis strategies: pools with liquidity in ticks, as their owners would put it there."""

from __future__ import annotations

from hypothesis import strategies as st

from domain.market.amm.clmm import ClmmPool, ends
from domain.market.amm.concentrated import Bands, FeeTerms, Place, bands
from domain.market.amm.concentrated_quote import Sides
from domain.market.amm.ticks import CLMM, TickPrices

RICH = Sides(2**64 - 1, 2**64 - 1)


@st.composite
def placed_bands(draw: st.DrawFn, prices: TickPrices = CLMM) -> tuple[Bands, Place]:
    """Positions on a grid around a price, and the price in a band, on a tick, or one tick's crossing away."""
    spacing = draw(st.sampled_from([1, 10, 60]))
    tick = draw(st.integers(-200_000, 200_000))
    grid = st.integers(-30, 30).map(lambda step: (tick // spacing + step) * spacing)
    positions = draw(
        st.lists(
            st.tuples(grid, grid, st.integers(1, 10 ** draw(st.integers(3, 18)))).filter(
                lambda p: p[0] < p[1]
            ),
            min_size=1,
            max_size=6,
        )
    )
    net: dict[int, int] = {}
    for low, high, liquidity in positions:
        net[low] = net.get(low, 0) + liquidity
        net[high] = net.get(high, 0) - liquidity
    ticks = tuple(sorted(net))
    low_price, high_price = prices.at(tick), prices.at(tick + 1)
    price = draw(st.one_of(st.just(low_price), st.just(high_price), st.integers(low_price, high_price)))
    liquidity = sum(amount for low, high, amount in positions if low <= tick < high)
    rate = draw(st.sampled_from([0, 1, 100, 2_500, 10_000, 60_000]))
    terms = FeeTerms(rate, draw(st.integers(0, 250_000)), draw(st.integers(0, 100_000)), 1_000_000)
    band = sum(one <= tick for one in ticks)
    return bands(ticks, tuple(net[one] for one in ticks), band, liquidity, terms, prices), Place(
        band, price, tick
    )


@st.composite
def clmm_pools(draw: st.DrawFn) -> ClmmPool:
    """Whole pools with vaults that always suffice."""
    known, place = draw(placed_bands())
    return ClmmPool(known, place, RICH, *ends(known))
