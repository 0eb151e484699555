"""The best route: nothing found by trying everything is better, and what is quoted is what the pools pay."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_books import A, B, C, D, FixedPricePool, cpmm, every_path, listed

from domain.chain import Mint
from domain.errors import NoRoute, QuoteError
from domain.market.routing.graph import Hop, Path, PoolGraph, TradablePool
from domain.market.routing.routes import Route, best_route, quote_path

_reserves = st.integers(10**5, 10**13)
_pairs = st.sampled_from([(A, B), (B, C), (A, C), (C, D), (B, D), (A, D), (D, A), (C, B)])
_fixed = st.builds(
    FixedPricePool, st.integers(1, 50), st.integers(1, 50), _reserves, _reserves, st.just(1_000)
)
_curves = st.one_of(st.builds(cpmm, _reserves, _reserves, st.sampled_from([0, 100, 2_500, 10_000])), _fixed)
_books = st.lists(st.tuples(_pairs, _curves), min_size=1, max_size=7).map(
    lambda pools: [listed(f"p{n}", *pair, curve) for n, (pair, curve) in enumerate(pools)]
)


def _brute(graph: PoolGraph, amount: int, *, exact_in: bool) -> list[Path]:
    quoted = (quote_path(hops, amount, exact_in=exact_in) for hops in every_path(graph, A, D))
    return [path for path in quoted if path is not None]


@settings(max_examples=250, deadline=None)
@given(_books, st.integers(1, 10**14))
def test_no_single_path_pays_more(pools: list[TradablePool], amount: int) -> None:
    """Every way of up to three pools is tried: none beats the one that was found."""
    graph = PoolGraph(pools)
    paid = [path.amount_out for path in _capacity_free(_brute(graph, amount, exact_in=True))]
    try:
        found = best_route(graph, A, D, amount, max_parts=1)
    except NoRoute:
        assert not _constant_only(pools) or not paid
        return
    if _constant_only(pools):
        assert found.amount_out == max(paid)
    assert found.amount_in == amount
    _recompute(found)


@settings(max_examples=250, deadline=None)
@given(_books, st.integers(1, 10**12))
def test_no_single_path_costs_less(pools: list[TradablePool], amount: int) -> None:
    """The same for an exact output: the least input of all ways."""
    graph = PoolGraph(pools)
    asked = [path.amount_in for path in _brute(graph, amount, exact_in=False)]
    try:
        found = best_route(graph, A, D, amount, exact_in=False, max_parts=1)
    except NoRoute:
        assert not asked or not _constant_only(pools)
        return
    if _constant_only(pools):
        assert found.amount_in == min(asked)
    assert found.amount_out == amount


def _constant_only(pools: list[TradablePool]) -> bool:
    """A pool that ends may refuse the best amount of the leg before it and take a smaller one."""
    return not any(isinstance(pool.pool, FixedPricePool) for pool in pools)


def _capacity_free(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.amount_out > 0]


def _recompute(route: Route) -> None:
    """Each pool once, and every amount as its mathematics gives it."""
    addresses = [hop.pool.address for hop in route.hops]
    assert len(set(addresses)) == len(addresses)
    for path in route.paths:
        for place, hop in enumerate(path.hops):
            quote = hop.pool.pool.quote_exact_in(path.amounts[place], a_to_b=hop.a_to_b)
            assert quote.amount_out == path.amounts[place + 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(_reserves, _reserves, st.sampled_from([100, 2_500, 10_000])), min_size=2, max_size=4),
    st.integers(10**6, 10**12),
)
def test_no_division_on_a_grid_pays_more(terms: list[tuple[int, int, int]], amount: int) -> None:
    """Every division over the pools in eighths: none beats ours by more than the basis point we let go."""
    pools = [listed(f"p{n}", A, D, cpmm(*term)) for n, term in enumerate(terms)]
    grid = [shares for shares in product(range(9), repeat=len(pools)) if sum(shares) == 8]
    best = max(_paid_on_grid(pools, shares, amount) for shares in grid)
    try:
        found = best_route(PoolGraph(pools), A, D, amount)
    except NoRoute:
        assert best == 0
        return
    assert found.amount_in == amount
    _recompute(found)
    assert found.amount_out >= best - best // 10_000 - 8


def _paid_on_grid(pools: list[TradablePool], shares: tuple[int, ...], amount: int) -> int:
    sizes = [amount * share // 8 for share in shares]
    sizes[max(range(len(sizes)), key=lambda place: shares[place])] += amount - sum(sizes)
    paths = [quote_path((Hop(pool, A, D),), size) for pool, size in zip(pools, sizes, strict=True) if size]
    return sum(path.amount_out for path in paths if path)


def test_a_large_size_is_divided_in_proportion_to_depth() -> None:
    """Two pools of one price, one three times as deep: three quarters go there, to a part in a thousand."""
    deep, shallow = (
        listed("deep", A, B, cpmm(3 * 10**12, 3 * 10**12)),
        listed("flat", A, B, cpmm(10**12, 10**12)),
    )
    route = best_route(PoolGraph([deep, shallow]), A, B, 10**12)
    sizes = {str(path.hops[0].pool.address): path.amount_in for path in route.paths}
    assert sizes["deep"] == pytest.approx(3 * 10**12 // 4, rel=1e-3)
    assert route.amount_out > best_route(PoolGraph([deep, shallow]), A, B, 10**12, max_parts=1).amount_out


def test_a_size_no_pool_can_trade_alone_is_divided() -> None:
    """Two pools that end at 100 each give 150 together; 250 is more than there is."""
    pools = [listed(name, A, B, FixedPricePool(1, 1, 100, 100, 0)) for name in ("one", "two")]
    route = best_route(PoolGraph(pools), A, B, 150)
    assert (len(route.paths), route.amount_in, route.amount_out) == (2, 150, 150)
    with pytest.raises(NoRoute, match="ask for less"):
        best_route(PoolGraph(pools), A, B, 250)


def test_an_exact_output_is_divided_too() -> None:
    """The parts pay exactly what was asked, for less than any pool alone."""
    pools = [listed(name, A, B, cpmm(10**12, 10**12)) for name in ("one", "two", "three")]
    route = best_route(PoolGraph(pools), A, B, 10**11, exact_in=False)
    assert route.amount_out == 10**11
    assert len(route.paths) == 3
    assert route.amount_in < best_route(PoolGraph(pools[:1]), A, B, 10**11, exact_in=False).amount_in


def test_a_small_size_is_not_divided() -> None:
    """Where less than a basis point could be won, one path does."""
    pools = [listed(name, A, B, cpmm(10**15, 10**15)) for name in ("one", "two")]
    assert len(best_route(PoolGraph(pools), A, B, 10**6).paths) == 1


def test_equal_pools_are_told_apart_by_address() -> None:
    """Whatever the order they come in."""
    pools = [listed(name, A, B, cpmm(10**12, 10**12)) for name in ("y", "x", "z")]
    for order in (pools, pools[::-1]):
        assert best_route(PoolGraph(order), A, B, 10**6, max_parts=1).hops[0].pool.address == "x"


def test_three_legs_are_taken_where_they_pay_and_not_where_they_may_not() -> None:
    """A to D by B and C at 1 to 1, or directly at half."""
    pools = [listed(f"{a}{b}", a, b, cpmm(10**12, 10**12)) for a, b in ((A, B), (B, C), (C, D))]
    direct = listed("AD", A, D, cpmm(10**12, 5 * 10**11))
    graph = PoolGraph([*pools, direct])
    assert [hop.pool.address for hop in best_route(graph, A, D, 10**6).hops] == ["AB", "BC", "CD"]
    assert [hop.pool.address for hop in best_route(graph, A, D, 10**6, max_legs=2).hops] == ["AD"]


@pytest.mark.parametrize(
    ("amount", "found"), [(0, "amounts run"), (2**64, "amounts run"), (-1, "amounts run")]
)
def test_no_token_account_can_hold_it(amount: int, found: str) -> None:
    with pytest.raises(QuoteError, match=found):
        best_route(PoolGraph([listed("p", A, B, cpmm(10, 10))]), A, B, amount)


def test_the_largest_amount_is_quoted_or_refused_in_words() -> None:
    """2^64 - 1 buys nearly all of a pool; a token with itself is no swap; an unknown token has no route."""
    graph = PoolGraph([listed("p", A, B, cpmm(10**9, 10**9))])
    assert best_route(graph, A, B, 2**64 - 1).amount_out == 10**9 - 1
    with pytest.raises(QuoteError, match="itself"):
        best_route(graph, A, A, 5)
    with pytest.raises(NoRoute, match="no route"):
        best_route(graph, A, Mint("nobody"), 5)


def test_what_two_pools_together_would_ask_and_nobody_can_hold_is_no_route() -> None:
    """Each asks for less than 2^64, both for more."""
    pools = [listed(f"p{n}", A, D, FixedPricePool(2, 3, 2**63, 2**63, 0)) for n in range(2)]
    graph = PoolGraph(pools)
    with pytest.raises(NoRoute):
        best_route(graph, A, D, 2**64 - 1, exact_in=False)
    fits = best_route(graph, A, D, 2**63 + 2**61, exact_in=False)
    assert (len(fits.paths), fits.amount_in < 2**64) == (2, True)


def test_a_book_changes_and_the_route_with_it() -> None:
    """A newer state replaces the older; a removed pool is gone."""
    one, two = listed("one", A, B, cpmm(10**12, 10**12)), listed("two", A, B, cpmm(10**12, 2 * 10**12))
    graph = PoolGraph([one, two])
    assert best_route(graph, A, B, 10**6).hops[0].pool.address == "two"
    graph.put(listed("two", A, B, cpmm(10**12, 10**11), slot=2))
    assert best_route(graph, A, B, 10**6).hops[0].pool.address == "one"
    graph.remove(one.address)
    graph.remove(one.address)
    assert best_route(graph, A, B, 10**6).hops[0].pool.slot == 2
    graph.remove(two.address)
    assert not graph.trades(A)
    assert graph.mints() == []
