"""What routing takes for granted of every curve, held to the vector pools and to all closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_books import A, B, cpmm, listed
from vector_book import Clock, vector_book

from adapters.solana.pool_programs import POOL_PROGRAMS
from domain.errors import QuoteError
from domain.market.amm.pool import Pool
from domain.market.amm.pumpswap import Fees, FeeTier, PumpSwapPool
from domain.market.amm.raydium_amm_v4 import AmmV4Pool
from domain.market.routing.closed_form import fraction
from domain.market.routing.cycles import best_cycle, best_input, cycle_paths, run_through
from domain.market.routing.graph import RATE_BITS

_reserves = st.integers(10**8, 10**14)


def _pumpswap(reserve_a: int, reserve_b: int, lp: int) -> PumpSwapPool:
    fees = Fees(lp, 5, 5)
    return PumpSwapPool(reserve_a, reserve_b, 0, fees, 10**15, (FeeTier(0, fees),))


_curves: st.SearchStrategy[Pool] = st.one_of(
    st.builds(cpmm, _reserves, _reserves, st.sampled_from([100, 2_500])),
    st.builds(AmmV4Pool, _reserves, _reserves, st.just(25), st.just(10_000)),
    st.builds(_pumpswap, _reserves, _reserves, st.sampled_from([2, 20])),
)


@pytest.mark.parametrize("protocol", POOL_PROGRAMS)
def test_no_swap_beats_the_first_price_and_more_never_pays_less(protocol: str) -> None:
    """By this pools are passed over unquoted, and tokens searched instead of paths."""
    graph = vector_book(Clock(), protocol).graph
    checked = 0
    for pool in graph.pools():
        for mint_in in (pool.mint_a, pool.mint_b):
            (edge,) = graph.edges(mint_in, pool.other(mint_in))
            before = 0
            for amount in (1, 7, 150, 10**3, 10**5, 10**7, 10**9, 10**12):
                try:
                    quote = pool.pool.quote_exact_in(amount, a_to_b=edge.a_to_b)
                except QuoteError:
                    continue
                if quote.partial:
                    break
                assert quote.amount_out <= -(-amount * edge.rate >> RATE_BITS)
                assert quote.amount_out >= before
                before = quote.amount_out
                checked += 1
    assert checked > 80


@settings(max_examples=80, deadline=None)
@given(_curves, _curves, st.integers(10**6, 10**13))
def test_a_closed_form_finds_what_a_scan_finds(one: Pool, other: Pool, limit: int) -> None:
    """Whatever pair of constant product programs: no scanned input gains more than rounding explains."""
    pools = [listed("one", A, B, one), listed("other", A, B, other)]
    paths = list(cycle_paths(pools, A))
    for path in paths:
        assert all(fraction(hop) is not None for hop in path)
        found = best_input(path, limit)
        gain = found.gain if found else 0
        units_b, units_a = path[0].pool.pool.spot_price()
        rounding = 8 + 8 * -(-units_a // units_b)
        inputs = {limit * step // 200 for step in range(1, 201)} | {10**power for power in range(3, 14)}
        scanned = max(run_through(path, amount).gain for amount in inputs if 0 < amount <= limit)
        assert gain >= scanned - rounding
    best = best_cycle(paths, limit)
    gains = [found.gain for path in paths if (found := best_input(path, limit))]
    assert (best.gain if best else None) == max(gains, default=None)
