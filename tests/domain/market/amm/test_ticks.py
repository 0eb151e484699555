"""Ticks and their prices, against the figures both programs publish."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import QuoteError
from domain.market.amm.ticks import CLMM, MAX_TICK, MIN_SQRT_PRICE, MIN_TICK, WHIRLPOOL, TickPrices

both = pytest.mark.parametrize("prices", [CLMM, WHIRLPOOL], ids=["clmm", "whirlpool"])


def test_the_ends_are_the_programs_constants() -> None:
    assert CLMM.at(MIN_TICK) == WHIRLPOOL.at(MIN_TICK) == MIN_SQRT_PRICE
    assert CLMM.at(MAX_TICK) == CLMM.highest == 79226673521066979257578248091
    assert WHIRLPOOL.at(MAX_TICK) == WHIRLPOOL.highest == 79226673515401279992447579055
    assert CLMM.at(0) == WHIRLPOOL.at(0) == 1 << 64


@both
@given(tick=st.integers(MIN_TICK, MAX_TICK - 1))
def test_a_price_belongs_to_the_tick_below_it(prices: TickPrices, tick: int) -> None:
    low, high = prices.at(tick), prices.at(tick + 1)
    assert low < high
    assert prices.tick_of(low) == prices.tick_of(high - 1) == tick
    assert prices.tick_of(high) == tick + 1


@both
@given(tick=st.integers(MIN_TICK, MAX_TICK))
def test_a_price_squared_is_a_power_of_1_0001(prices: TickPrices, tick: int) -> None:
    """To eight digits: at the lowest tick the number itself holds ten."""
    with localcontext(prec=40):
        exact = Decimal("1.0001") ** tick
        found = (Decimal(prices.at(tick)) / 2**64) ** 2
        assert abs(found / exact - 1) < Decimal("1e-8")


@both
def test_a_price_outside_the_ticks_has_no_tick(prices: TickPrices) -> None:
    for price in (0, MIN_SQRT_PRICE - 1, prices.highest + 1):
        with pytest.raises(QuoteError, match="no tick reaches it"):
            prices.tick_of(price)
    assert prices.tick_of(prices.highest) == MAX_TICK
