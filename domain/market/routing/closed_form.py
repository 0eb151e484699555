"""Constant product pools as fractions: out = p*x / (q + r*x), before the program rounds.

AMM v4 takes no fee of an input under some 200 base units; the fractions do: such crumbs are not searched.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.market.amm.constant_product import RATE, ConstantProductPool, CreatorFeeOn
from domain.market.amm.pumpswap import BPS, PumpSwapPool
from domain.market.amm.raydium_amm_v4 import AmmV4Pool
from domain.market.routing.graph import Hop


class Fraction(NamedTuple):
    """out = p*x / (q + r*x): a chain of such swaps is one again."""

    p: int
    q: int
    r: int

    def then(self, after: Fraction) -> Fraction:
        """This swap and then another."""
        return Fraction(self.p * after.p, self.q * after.q, self.r * after.q + after.r * self.p)


IDENTITY: Final = Fraction(1, 1, 0)


def fraction(hop: Hop) -> Fraction | None:
    """The hop as a fraction; none where its curve or a mint's transfer fee is none."""
    pool = hop.pool.pool
    if isinstance(pool, ConstantProductPool):
        return None if pool.transfer_fee_a or pool.transfer_fee_b else _of_cpmm(pool, hop.a_to_b)
    if isinstance(pool, AmmV4Pool):
        return _of_amm_v4(pool, hop.a_to_b)
    if isinstance(pool, PumpSwapPool) and not pool.virtual_b:  # what is virtual cannot be paid out
        return _of_pumpswap(pool, hop.a_to_b)
    return None


def _of_amm_v4(pool: AmmV4Pool, sells_a: bool) -> Fraction:
    """The fee is on the input."""
    reserve_in, reserve_out = (
        (pool.reserve_a, pool.reserve_b) if sells_a else (pool.reserve_b, pool.reserve_a)
    )
    kept = pool.fee_denominator - pool.fee_numerator
    return Fraction(kept * reserve_out, pool.fee_denominator * reserve_in, kept)


def _of_pumpswap(pool: PumpSwapPool, sells_a: bool) -> Fraction:
    """The fees are on token b: taken off what a sale brings, added to what a buy costs."""
    fees = sum(pool.fees)
    if sells_a:
        return Fraction((BPS - fees) * pool.reserve_b, BPS * pool.reserve_a, BPS)
    return Fraction(BPS * pool.reserve_a, (BPS + fees) * pool.reserve_b, BPS)


def _of_cpmm(pool: ConstantProductPool, sells_a: bool) -> Fraction:
    """The fee is on the input, a creator's fee on either side."""
    reserve_in, reserve_out = (
        (pool.reserve_a, pool.reserve_b) if sells_a else (pool.reserve_b, pool.reserve_a)
    )
    fee_on = pool.creator_fee_on
    on_input = fee_on is CreatorFeeOn.INPUT or (fee_on is CreatorFeeOn.ONLY_A) == sells_a
    kept_in = RATE - pool.trade_rate - (pool.creator_rate if on_input else 0)
    kept_out = RATE - (0 if on_input else pool.creator_rate)
    return Fraction(kept_out * kept_in * reserve_out, RATE * RATE * reserve_in, RATE * kept_in)
