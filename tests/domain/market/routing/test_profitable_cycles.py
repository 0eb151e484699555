"""All cycles through a token: none is missed, whatever the curves, and each runs at its best input."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from routing_books import A, B, C, FixedPricePool, cpmm, listed

from domain.chain import Mint
from domain.market.routing.cycles import best_cycle, best_input, cycle_paths, profitable_cycles, run_through
from domain.market.routing.graph import Hop, TradablePool

_reserves = st.integers(10**8, 10**12)
_mints = st.sampled_from([(A, B), (B, C), (A, C), (C, B), (B, A)])
_fixed = st.builds(
    FixedPricePool, st.integers(90, 110), st.integers(90, 110), _reserves, _reserves, st.just(1_000)
)
_curves = st.one_of(st.builds(cpmm, _reserves, _reserves, st.sampled_from([100, 2_500])), _fixed)
_books = st.lists(st.tuples(_mints, _curves), min_size=2, max_size=5).map(
    lambda pools: [listed(f"p{n}", *pair, curve) for n, (pair, curve) in enumerate(pools)]
)


def _every_cycle(pools: list[TradablePool], home: Mint) -> set[tuple[tuple[str, Mint], ...]]:
    """By trying all orders of all pools."""
    found = set()
    for legs in (2, 3):
        for order in permutations(pools, legs):
            at, walked = home, []
            for pool in order:
                if at not in (pool.mint_a, pool.mint_b):
                    break
                walked.append((str(pool.address), at))
                at = pool.other(at)
            visited = [mint for _, mint in walked]
            if len(walked) == legs and at == home and len(set(visited)) == legs:
                found.add(tuple(walked))
    return found


def _named(path: tuple[Hop, ...]) -> tuple[tuple[str, Mint], ...]:
    return tuple((str(hop.pool.address), hop.mint_in) for hop in path)


@settings(max_examples=150, deadline=None)
@given(_books)
def test_every_cycle_is_walked_once(pools: list[TradablePool]) -> None:
    walked = [_named(path) for path in cycle_paths(pools, A)]
    assert len(walked) == len(set(walked))
    assert set(walked) == _every_cycle(pools, A)


@settings(max_examples=50, deadline=None)
@given(_books, st.sampled_from([10**7, 10**10, 10**13]))
def test_no_scanned_input_of_any_cycle_gains_more(pools: list[TradablePool], limit: int) -> None:
    """A scan of inputs, powers and fractions of the limit, finds nothing better on any cycle.

    Rounding may cost a few units a leg, and a pool that ends may end a little after the input we stop at.
    """
    found = {_named(cycle.hops): cycle for cycle in profitable_cycles(pools, A, limit)}
    inputs = {limit * step // 300 for step in range(1, 301)} | {
        1 << bits for bits in range(limit.bit_length())
    }
    for path in cycle_paths(pools, A):
        scanned = max(run_through(path, amount).gain for amount in inputs)
        ours = found[_named(path)].gain if _named(path) in found else 0
        assert ours >= scanned - 5_000 - scanned // 10_000, (path, scanned)


@settings(max_examples=60, deadline=None)
@given(_books)
def test_the_first_is_the_best_and_all_gain(pools: list[TradablePool]) -> None:
    """Sorted by gain; the one `best_cycle` picks gains as much as the first."""
    found = profitable_cycles(pools, A, 10**12)
    gains = [cycle.gain for cycle in found]
    assert gains == sorted(gains, reverse=True)
    assert all(cycle.gain > 0 and cycle == run_through(cycle.hops, cycle.amount_in) for cycle in found)
    best = best_cycle(list(cycle_paths(pools, A)), 10**12)
    assert (best.gain if best else None) == (gains[0] if gains else None)


def test_three_pools_gain_where_no_two_do() -> None:
    """1 A buys 2 B, 1 B buys 2 C, 1 C buys 1 A: round it gains, and nothing shorter exists."""
    pools = [
        listed("AB", A, B, cpmm(10**10, 2 * 10**10)),
        listed("BC", B, C, cpmm(10**10, 2 * 10**10)),
        listed("CA", C, A, cpmm(10**10, 10**10)),
    ]
    (cycle,) = profitable_cycles(pools, A, 10**12)
    assert [hop.pool.address for hop in cycle.hops] == ["AB", "BC", "CA"]
    assert all(
        run_through(cycle.hops, cycle.amount_in + step).gain <= cycle.gain for step in (-50, -1, 1, 50)
    )


def test_a_pool_that_ends_bounds_the_input() -> None:
    """Bought at a fixed 1.1 until 1,000,000 are gone: the input is what buys nearly the last of them.

    The last units add a tenth each: less than one base unit of gain is left.
    """
    pools = [
        listed("ends", A, B, FixedPricePool(11, 10, 10**9, 10**6, 0)),
        listed("deep", A, B, cpmm(10**12, 10**12, 100)),
    ]
    path = (Hop(pools[0], A, B), Hop(pools[1], B, A))
    cycle = best_input(path, 10**12)
    assert cycle is not None
    assert 10**6 - 20 < cycle.amounts[1] <= 10**6
    assert cycle.gain >= run_through(path, 10**7 // 11).gain - 1
