"""Prices: what a pool's reserves say a token is worth, and how far two pools disagree."""

from __future__ import annotations

from typing import Final

from domain.chain import Mint
from domain.errors import InvalidInput
from domain.market.events import PoolUpdated
from domain.money import Bps, Price

_WHOLE: Final = 10_000


def mid_price(pool: PoolUpdated, base: Mint) -> Price:
    """The price of `base` at the margin, before fees, as the exact ratio of the reserves.

    Raises:
        InvalidInput: the pool does not hold `base`, or holds none of it.
    """
    if base == pool.mint_a:
        return Price(base, pool.mint_b, pool.reserve_b, pool.reserve_a)
    if base == pool.mint_b:
        return Price(base, pool.mint_a, pool.reserve_a, pool.reserve_b)
    raise InvalidInput(f"pool {pool.pool} trades {pool.mint_a} and {pool.mint_b}: it prices no {base}")


def spread_bps(one: Price, other: Price) -> Bps:
    """How far the higher of two prices of one pair lies above the lower, rounded down; in basis points.

    Raises:
        InvalidInput: the prices are of different pairs, or the lower is 0.
    """
    low, high = (one, other) if one.is_below(other) else (other, one)
    if low.quote_units == 0:
        raise InvalidInput(f"a spread above a price of 0 {low.quote} has no measure")
    return Bps(high.quote_units * low.base_units * _WHOLE // (high.base_units * low.quote_units) - _WHOLE)
