"""Cycles: ways through two pools that end in the token they began with, and the input that gains most.

A constant product swap gives out = p*x / (q + r*x), so a chain of them does too, and out - x is greatest at
x = (sqrt(p*q) - q) / r. That is exact but for the rounding of the program's whole numbers: one unit of a
six-decimals token is thousands of lamports, so many inputs give the same middle amount. The whole numbers
around the optimum are therefore quoted one by one, inputs as well as the cheapest inputs of middle amounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final, NamedTuple

from domain.chain import Mint
from domain.errors import QuoteError
from domain.market.amm.constant_product import RATE, CreatorFeeOn
from domain.market.events import PoolUpdated
from domain.market.pools import curve
from domain.money import U64_MAX

_NEIGHBOURS: Final = 4  # rounding moves the best whole number by a few units
_MOVES: Final = 8  # how often the search may move on to a better one: bounds it at 9 * 18 * 3 quotes
_TRIMS: Final = 4  # an exact-out quote may ask for a few units more than the cheapest input


class Hop(NamedTuple):
    """One pool crossed in one direction."""

    pool: PoolUpdated
    mint_in: Mint
    mint_out: Mint


@dataclass(frozen=True, slots=True)
class Cycle:
    """A route back to where it began, with exact whole-number quotes.

    Attributes:
        hops: the pools crossed, first to last.
        amounts: what enters each hop, and at the end what comes out of the last; base units.
    """

    hops: tuple[Hop, ...]
    amounts: tuple[int, ...]

    @property
    def amount_in(self) -> int:
        """What goes in, base units of the cycle's mint."""
        return self.amounts[0]

    @property
    def gain(self) -> int:
        """Output less input, before the chain's costs."""
        return self.amounts[-1] - self.amounts[0]


def two_pool_cycles(pools: Iterable[PoolUpdated], mint: Mint) -> Iterator[tuple[Hop, Hop]]:
    """Every ordered pair of pools of the same two tokens, entered with `mint`; sorted by address."""
    holding = sorted((p for p in pools if mint in (p.mint_a, p.mint_b)), key=lambda p: p.pool)
    for first in holding:
        other = _other(first, mint)
        for second in holding:
            if second.pool != first.pool and _other(second, mint) == other:
                yield Hop(first, mint, other), Hop(second, other, mint)


def best_cycle(paths: Iterable[Sequence[Hop]], max_input: int) -> Cycle | None:
    """The cycle that gains most with an input of at most `max_input`; none when none gains.

    Ties go to the smaller input, then to the path that comes first. Paths are quoted in the order of what
    they could gain without rounding, until no other could gain as much: usually that is one or two.
    """
    bounds = ((_gain_bound(path, max_input), -place, path) for place, path in enumerate(paths))
    promising = sorted((each for each in bounds if each[0] > 0), key=lambda each: each[:2], reverse=True)
    best: tuple[tuple[int, int, int], Cycle] | None = None
    for bound, place, path in promising:
        if best is not None and bound < best[1].gain:
            break
        found = best_input(path, max_input)
        if found is not None and (best is None or (*_rank(found), place) > best[0]):
            best = (*_rank(found), place), found
    return best[1] if best else None


def best_input(path: Sequence[Hop], max_input: int) -> Cycle | None:
    """The cycle along `path` at its most gainful input; none when no input gains.

    Args:
        path: the hops, ending in the mint they begin with.
        max_input: the largest input allowed, base units.
    """
    limit = min(max_input, U64_MAX)
    centre = min(_optimum(path), limit)
    if centre <= 0:
        return None
    best = _best_near(path, centre, limit)
    for _ in range(_MOVES):
        if best.amount_in == centre:
            break
        centre = best.amount_in
        best = _best_near(path, centre, limit)
    return best if best.gain > 0 else None


def run_through(path: Sequence[Hop], amount: int) -> Cycle:
    """Quote `amount` through every hop; 0 from some hop on means the program would refuse."""
    amounts = [amount]
    for hop in path:
        if amounts[-1] == 0:
            amounts.append(0)
            continue
        quote = curve(hop.pool).quote_exact_in(amounts[-1], a_to_b=hop.mint_in == hop.pool.mint_a)
        amounts.append(quote.amount_out)
    return Cycle(tuple(path), tuple(amounts))


def _rank(cycle: Cycle) -> tuple[int, int]:
    return cycle.gain, -cycle.amount_in


def _best_near(path: Sequence[Hop], centre: int, limit: int) -> Cycle:
    inputs = {centre + step for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    middle = run_through(path, centre).amounts[1]
    inputs |= {_cheapest(path[0], middle + step) for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    return max((run_through(path, amount) for amount in inputs if 0 < amount <= limit), key=_rank)


def _cheapest(hop: Hop, amount_out: int) -> int:
    """The smallest input from which `amount_out` arrives; 0 when no input does."""
    pool, a_to_b = curve(hop.pool), hop.mint_in == hop.pool.mint_a
    try:
        amount = pool.quote_exact_out(amount_out, a_to_b=a_to_b).amount_in
    except QuoteError:
        return 0
    for _ in range(_TRIMS):
        if amount <= 1 or pool.quote_exact_in(amount - 1, a_to_b=a_to_b).amount_out < amount_out:
            break
        amount -= 1
    return amount


def _optimum(path: Sequence[Hop]) -> int:
    """Where out - x is greatest, in real numbers, rounded down; 0 when nothing gains."""
    p, q, r = _curve_of(path)
    return (isqrt(p * q) - q) // r if p > q else 0


def _gain_bound(path: Sequence[Hop], max_input: int) -> int:
    """What the path cannot gain more than: the real maximum, rounded up; the program only rounds down."""
    p, q, r = _curve_of(path)
    if p <= q or max_input <= 0:
        return 0
    root = isqrt(p * q)
    if (root - q) // r >= max_input:
        return p * max_input // (q + r * max_input) - max_input + 1
    return (p + q - 2 * root) // r + 1


def _curve_of(path: Sequence[Hop]) -> tuple[int, int, int]:
    """(p, q, r) of the whole path: out = p*x / (q + r*x)."""
    p, q, r = 1, 1, 0
    for hop in path:
        hop_p, hop_q, hop_r = _coefficients(hop)
        p, q, r = p * hop_p, q * hop_q, r * hop_q + hop_r * p
    return p, q, r


def _coefficients(hop: Hop) -> tuple[int, int, int]:
    """(p, q, r) of out = p*x / (q + r*x), with the fee on the input and a creator's fee on either side."""
    pool, fees = hop.pool, hop.pool.fees
    sells_a = hop.mint_in == pool.mint_a
    reserve_in, reserve_out = (
        (pool.reserve_a, pool.reserve_b) if sells_a else (pool.reserve_b, pool.reserve_a)
    )
    fee_on = CreatorFeeOn(fees.creator_fee_on)
    on_input = fee_on is CreatorFeeOn.INPUT or (fee_on is CreatorFeeOn.ONLY_A) == sells_a
    kept_in = RATE - fees.trade_rate - (fees.creator_rate if on_input else 0)
    kept_out = RATE - (0 if on_input else fees.creator_rate)
    return kept_out * kept_in * reserve_out, RATE * RATE * reserve_in, RATE * kept_in


def _other(pool: PoolUpdated, mint: Mint) -> Mint:
    return pool.mint_b if pool.mint_a == mint else pool.mint_a
