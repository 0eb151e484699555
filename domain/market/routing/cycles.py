"""Cycles: ways through two or three pools back to the token they begin with, and the most gainful input.

A constant product swap gives out = p*x / (q + r*x), so a chain of them does too, and out - x is greatest at
x = (sqrt(p*q) - q) / r. Where a pool has another curve the gain still rises to one top and falls from there:
powers of two find its surroundings, thirds close in on it.

Both are exact but for the rounding of the program's whole numbers: one unit of a six-decimals token is
thousands of lamports, so many inputs give the same middle amount. The whole numbers around the optimum are
therefore quoted one by one, inputs as well as the cheapest inputs of middle amounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from typing import Final

from domain.chain import Mint
from domain.errors import QuoteError
from domain.market.routing.closed_form import IDENTITY, Fraction, fraction
from domain.market.routing.graph import Hop, Path, TradablePool
from domain.money import U64_MAX

_NEIGHBOURS: Final = 4  # rounding moves the best whole number by a few units
_MOVES: Final = 8  # how often the search may move on to a better one: bounds it at 9 * 18 * 3 quotes
_TRIMS: Final = 4  # an exact-out quote may ask for a few units more than the cheapest input


def cycle_paths(pools: Iterable[TradablePool], mint: Mint, *, max_legs: int = 3) -> Iterator[tuple[Hop, ...]]:
    """Every way of 2 to `max_legs` pools from `mint` back to it, shorter ones first, then by address.

    No pool is crossed twice, and no token visited twice.
    """
    by_mint: dict[Mint, list[TradablePool]] = {}
    for pool in sorted(pools, key=lambda pool: pool.address):
        by_mint.setdefault(pool.mint_a, []).append(pool)
        by_mint.setdefault(pool.mint_b, []).append(pool)
    for legs in range(2, max_legs + 1):
        yield from _walk(by_mint, (), mint, mint, legs)


def _walk(
    by_mint: dict[Mint, list[TradablePool]], path: tuple[Hop, ...], at: Mint, home: Mint, legs: int
) -> Iterator[tuple[Hop, ...]]:
    visited = {hop.mint_out for hop in path}
    for pool in by_mint.get(at, ()):
        onward = pool.other(at)
        step = (*path, Hop(pool, at, onward))
        if legs == 1:
            if onward == home and all(pool.address != hop.pool.address for hop in path):
                yield step
        elif onward != home and onward not in visited:
            yield from _walk(by_mint, step, onward, home, legs - 1)


def profitable_cycles(
    pools: Iterable[TradablePool], mint: Mint, max_input: int, *, max_legs: int = 3
) -> list[Path]:
    """Every cycle through `mint` that gains, at its most gainful input: the highest gain first.

    Ties go to the smaller input, then to fewer pools, then to the lower addresses.
    """
    paths = (path for path in cycle_paths(pools, mint, max_legs=max_legs) if _gain_bound(path, max_input) > 0)
    found = [cycle for path in paths if (cycle := best_input(path, max_input))]
    return sorted(found, key=_rank, reverse=True)


def best_cycle(paths: Iterable[Sequence[Hop]], max_input: int) -> Path | None:
    """The cycle that gains most with an input of at most `max_input`; none when none gains.

    Ties go to the smaller input, then to the path that comes first. Paths are quoted in the order of what
    they could gain without rounding, until no other could gain as much: usually that is one or two.
    """
    bounds = ((_gain_bound(path, max_input), -place, path) for place, path in enumerate(paths))
    promising = sorted((each for each in bounds if each[0] > 0), key=lambda each: each[:2], reverse=True)
    best: tuple[tuple[int, int, int], Path] | None = None
    for bound, place, path in promising:
        if best is not None and bound < best[1].gain:
            break
        found = best_input(path, max_input)
        if found is not None and (best is None or (*_rank(found), place) > best[0]):
            best = (*_rank(found), place), found
    return best[1] if best else None


def best_input(path: Sequence[Hop], max_input: int) -> Path | None:
    """The cycle along `path` at its most gainful input; none when no input gains.

    Args:
        path: the hops, ending in the mint they begin with.
        max_input: the largest input allowed, base units.
    """
    limit = min(max_input, U64_MAX)
    chain = _fraction_of(path)
    centre = min(_optimum(chain), limit) if chain else _searched(path, limit)
    if centre <= 0:
        return None
    best = _best_near(path, centre, limit)
    for _ in range(_MOVES):
        if best.amount_in == centre:
            break
        centre = best.amount_in
        best = _best_near(path, centre, limit)
    return best if best.gain > 0 else None


def run_through(path: Sequence[Hop], amount: int) -> Path:
    """Quote `amount` through every hop; 0 from some hop on means the program would not swap it all."""
    amounts = [amount]
    for hop in path:
        amounts.append(_paid(hop, amounts[-1]) if amounts[-1] else 0)
    return Path(tuple(path), tuple(amounts))


def _paid(hop: Hop, amount: int) -> int:
    try:
        quote = hop.pool.pool.quote_exact_in(amount, a_to_b=hop.a_to_b)
    except QuoteError:
        return 0
    return 0 if quote.partial else quote.amount_out


def _rank(cycle: Path) -> tuple[int, int]:
    return cycle.gain, -cycle.amount_in


def _best_near(path: Sequence[Hop], centre: int, limit: int) -> Path:
    inputs = {centre + step for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    middle = run_through(path, centre).amounts[1]
    inputs |= {_cheapest(path[0], middle + step) for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    return max((run_through(path, amount) for amount in inputs if 0 < amount <= limit), key=_rank)


def _cheapest(hop: Hop, amount_out: int) -> int:
    """The smallest input from which `amount_out` arrives; 0 when no input does."""
    try:
        quote = hop.pool.pool.quote_exact_out(amount_out, a_to_b=hop.a_to_b)
    except QuoteError:
        return 0
    amount = 0 if quote.partial else quote.amount_in
    for _ in range(_TRIMS):
        if amount <= 1 or _paid(hop, amount - 1) < amount_out:
            break
        amount -= 1
    return amount


def _searched(path: Sequence[Hop], limit: int) -> int:
    """About where the gain is greatest, by trying; 0 when no power of two gains."""
    powers = [1 << bits for bits in range(limit.bit_length())]
    best = max((*powers, limit), key=lambda amount: (_gain(path, amount), -amount), default=0)
    if limit <= 0 or _gain(path, best) <= 0:
        return 0
    low, high = best // 2, min(best * 2, limit)
    while high - low > 2:  # loses a third each time: at most 109 rounds of a u64
        third = (high - low) // 3
        left, right = low + third, high - third
        if _gain(path, left) < _gain(path, right):
            low = left
        else:
            high = right
    return max((best, low, (low + high) // 2, high), key=lambda amount: (_gain(path, amount), -amount))


def _gain(path: Sequence[Hop], amount: int) -> int:
    return run_through(path, amount).gain


def _optimum(chain: Fraction) -> int:
    """Where out - x is greatest, in real numbers, rounded down; 0 when nothing gains."""
    p, q, r = chain
    return (isqrt(p * q) - q) // r if p > q else 0


def _gain_bound(path: Sequence[Hop], max_input: int) -> int:
    """What the path cannot gain more than: the real maximum, rounded up; the program only rounds down."""
    if max_input <= 0:
        return 0
    chain = _fraction_of(path)
    if chain is None:
        return _gain_at_first_price(path, max_input)
    p, q, r = chain
    if p <= q:
        return 0
    root = isqrt(p * q)
    if (root - q) // r >= max_input:
        return p * max_input // (q + r * max_input) - max_input + 1
    return (p + q - 2 * root) // r + 1


def _gain_at_first_price(path: Sequence[Hop], max_input: int) -> int:
    """What `max_input` would gain if every unit were swapped at the first one's price, without fees."""
    out, into = 1, 1
    for hop in path:
        try:
            units_b, units_a = hop.pool.pool.spot_price()
        except QuoteError:
            return 0
        out *= units_b if hop.a_to_b else units_a
        into *= units_a if hop.a_to_b else units_b
    return -(-max_input * (out - into) // into) if out > into > 0 else 0


def _fraction_of(path: Sequence[Hop]) -> Fraction | None:
    """The whole path as one fraction; none where a hop is none."""
    chain = IDENTITY
    for hop in path:
        one = fraction(hop)
        if one is None:
            return None
        chain = chain.then(one)
    return chain
