"""Small books of pools to search by brute force, and a curve that is no constant product."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

from domain.chain import Address, Mint, Slot
from domain.errors import QuoteError
from domain.market.amm.constant_product import ConstantProductPool
from domain.market.amm.pool import Pool, check_amount
from domain.market.routing.graph import Hop, PoolGraph, TradablePool

A, B, C, D = (Mint(name) for name in "ABCD")


class StepQuote(NamedTuple):
    """A swap at a fixed price."""

    a_to_b: bool
    amount_in: int
    amount_out: int
    fee_in: int
    fee_out: int
    partial: bool


class FixedPricePool(NamedTuple):
    """Trades at one price until it is empty, as a single bin of liquidity does.

    Attributes:
        units_b, units_a: the price: so many of b for so many of a.
        depth_a, depth_b: what it holds.
        fee_rate: of the input, 10^-6.
    """

    units_b: int
    units_a: int
    depth_a: int
    depth_b: int
    fee_rate: int = 1_000

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> StepQuote:
        """What comes out; less is taken where the pool ends."""
        check_amount(amount)
        out_units, in_units, depth = self._terms(a_to_b)
        fee = -(-amount * self.fee_rate // 1_000_000)
        out = (amount - fee) * out_units // in_units
        return StepQuote(a_to_b, amount, min(out, depth), fee, 0, out > depth)

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> StepQuote:
        """What must go in."""
        check_amount(amount)
        out_units, in_units, depth = self._terms(a_to_b)
        if amount > depth:
            raise QuoteError(f"{amount} was asked of a depth of {depth}: ask for less")
        net = -(-amount * in_units // out_units)
        amount_in = -(-net * 1_000_000 // (1_000_000 - self.fee_rate))
        return StepQuote(a_to_b, amount_in, amount, amount_in - net, 0, False)

    def spot_price(self) -> tuple[int, int]:
        """The price."""
        return self.units_b, self.units_a

    def _terms(self, a_to_b: bool) -> tuple[int, int, int]:
        if a_to_b:
            return self.units_b, self.units_a, self.depth_b
        return self.units_a, self.units_b, self.depth_a


def cpmm(reserve_a: int, reserve_b: int, rate: int = 2_500) -> ConstantProductPool:
    """A constant product pool without creator and transfer fees."""
    return ConstantProductPool(reserve_a, reserve_b, rate)


def listed(name: str, mint_a: Mint, mint_b: Mint, pool: Pool, slot: int = 1) -> TradablePool:
    """A pool under a short address."""
    return TradablePool(Address(name), "test", mint_a, mint_b, pool, Slot(slot))


def every_path(
    graph: PoolGraph, mint_in: Mint, mint_out: Mint, max_legs: int = 3
) -> Iterator[tuple[Hop, ...]]:
    """Every way without a token visited twice, by trying all orders of all pools."""
    for legs in range(1, max_legs + 1):
        for pools in permutations(graph.pools(), legs):
            hops = _walked(pools, mint_in)
            if hops and hops[-1].mint_out == mint_out and _visits_none_twice(hops):
                yield hops


def _walked(pools: tuple[TradablePool, ...], at: Mint) -> tuple[Hop, ...]:
    hops = []
    for pool in pools:
        if at not in (pool.mint_a, pool.mint_b):
            return ()
        hops.append(Hop(pool, at, pool.other(at)))
        at = pool.other(at)
    return tuple(hops)


def _visits_none_twice(hops: tuple[Hop, ...]) -> bool:
    visited = [hops[0].mint_in, *(hop.mint_out for hop in hops)]
    return len(set(visited)) == len(visited)
