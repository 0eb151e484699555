"""The best cycle: no other input gains more, and what is quoted is what the pools would pay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from given import POOL_A, POOL_B, SOL, pool, swapped
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.chain import USDC, WSOL, Address, Mint
from domain.market.events import PoolUpdated
from domain.market.pools import curve, listing
from domain.market.prices import mid_price, spread_bps
from domain.market.routing.cycles import best_cycle, best_input, cycle_paths, run_through
from domain.market.routing.graph import Hop

_reserves = st.integers(10**6, 10**15)
_rates = st.sampled_from([100, 500, 2_500, 10_000, 25_000])


def _paths(pools: Sequence[PoolUpdated], mint: Mint) -> Iterator[tuple[Hop, ...]]:
    return cycle_paths(map(listing, pools), mint, max_legs=2)


def test_cycles_cross_every_pair_both_ways() -> None:
    """Two pools of one pair give two cycles; a pool never follows itself."""
    paths = list(_paths([pool(POOL_B), pool(POOL_A)], WSOL))
    assert [[hop.pool.address for hop in path] for path in paths] == [[POOL_A, POOL_B], [POOL_B, POOL_A]]


def test_a_cycle_sells_where_it_is_dear_and_buys_where_it_is_cheap() -> None:
    """SOL at 150 in A and 165 in B: sell in B, buy in A, and both legs follow the pools' own mathematics."""
    dear = pool(POOL_B, usdc=165_000_000_000)
    found = best_cycle(_paths([pool(), dear], WSOL), 100 * SOL)
    assert found is not None
    assert [hop.pool.address for hop in found.hops] == [POOL_B, POOL_A]
    dollars = swapped(curve(dear), found.amount_in, a_to_b=True)
    assert found.amounts == (found.amount_in, dollars, swapped(curve(pool()), dollars, a_to_b=False))
    assert found.gain > 0


def test_pools_that_agree_gain_nothing() -> None:
    """Fees eat what rounding leaves."""
    assert best_cycle(_paths([pool(), pool(POOL_B)], WSOL), 100 * SOL) is None


def test_the_limit_is_kept() -> None:
    """With less money than the best input it is used to the last lamport that buys something."""
    dear = pool(POOL_B, usdc=165_000_000_000)
    found = best_cycle(_paths([pool(), dear], WSOL), SOL)
    assert found is not None
    assert SOL - 10_000 < found.amount_in <= SOL
    assert found.amounts[1] == run_through(found.hops, SOL).amounts[1]


def test_equal_cycles_are_told_apart_by_address() -> None:
    """Three pools, two of them alike: the lower address wins, whatever the order they are given in."""
    third = Address("PooLC11111111111111111111111111111111111111")
    pools = [pool(), pool(third, usdc=165_000_000_000), pool(POOL_B, usdc=165_000_000_000)]
    for given_in in (pools, pools[::-1]):
        found = best_cycle(_paths(given_in, WSOL), 100 * SOL)
        assert found is not None
        assert found.hops[0].pool.address == POOL_B


@settings(max_examples=300, deadline=None)
@example(89018033, 70_175_946_755, 136_747_886_049, 70_175_946_712, 2_500, 100)
@given(_reserves, _reserves, _reserves, _reserves, _rates, _rates)
def test_no_neighbour_and_no_scanned_input_gains_more(
    sol_1: int, usdc_1: int, sol_2: int, usdc_2: int, rate_1: int, rate_2: int
) -> None:
    """Neither its neighbours nor a scan of all inputs beats the chosen one by more than rounding does.

    The search makes a bounded number of moves: where the gain climbs a lamport a step it stops on the slope.
    """
    one = pool(POOL_A, sol_1, usdc_1, trade_rate=rate_1)
    other = pool(POOL_B, sol_2, usdc_2, trade_rate=rate_2)
    for path in _paths([one, other], WSOL):
        limit = 10**16
        found = best_input(path, limit)
        gain = found.gain if found else 0
        rounding = 3 + 3 * _dollar_unit(one, other)
        scan = {limit * step // 400 for step in range(1, 401)} | {10**exponent for exponent in range(17)}
        near = {found.amount_in - 1, found.amount_in + 1} if found else set()
        inputs = {amount for amount in scan | near if 0 < amount <= limit}
        assert all(run_through(path, amount).gain <= gain + rounding for amount in inputs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_reserves, _reserves, _rates), min_size=2, max_size=5), st.integers(1, 10**16))
def test_no_path_that_was_not_quoted_is_better(terms: list[tuple[int, int, int]], limit: int) -> None:
    """Quoting only what could win finds what quoting everything finds."""
    pools = [
        pool(Address(f"pool-{place}"), sol, usdc, trade_rate=rate)
        for place, (sol, usdc, rate) in enumerate(terms)
    ]
    paths = list(_paths(pools, WSOL))
    every = [found for path in paths if (found := best_input(path, limit))]
    expected = max(every, key=lambda found: (found.gain, -found.amount_in), default=None)
    assert best_cycle(paths, limit) == expected


def _dollar_unit(*pools: PoolUpdated) -> int:
    """What one base unit of USDC, lost to rounding between the legs, is worth in lamports at most."""
    return max(-(-p.reserve_a // p.reserve_b) for p in pools)


def test_prices_are_exact_ratios() -> None:
    """150 USDC for a SOL against 165: 1,000 basis points apart, exactly."""
    low, high = mid_price(pool(), WSOL), mid_price(pool(usdc=165_000_000_000), WSOL)
    assert spread_bps(low, high) == spread_bps(high, low) == 1_000
    assert mid_price(pool(), USDC).quote == WSOL
