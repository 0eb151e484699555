"""Bands summed up once against the programs' loop over every tick, and the laws of a swap along ticks."""

from __future__ import annotations

import pytest
from concentrated_pools import clmm_pools, placed_bands
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tick_loop import loop

from domain.errors import QuoteError
from domain.market.amm.clmm import ClmmPool
from domain.market.amm.concentrated import Bands, End, FeeTerms, Place, bands, move
from domain.market.amm.ticks import CLMM

amounts = st.integers(1, 10**6) | st.integers(1, 2**63)


@given(
    pool=placed_bands(), amount=amounts, whole=st.integers(0, 12), exact_in=st.booleans(), down=st.booleans()
)
def test_a_move_is_the_programs_loop(
    pool: tuple[Bands, Place], amount: int, whole: int, exact_in: bool, down: bool
) -> None:
    """Also for amounts that end on a tick to the unit, where the next, empty band must not be crossed."""
    known, place = pool
    end = End(0 if down else len(known.ticks) - 1)
    if whole:  # what it takes to cross so many ticks exactly
        ahead = place.band - 1 if down else place.band
        last = max(0, ahead - whole + 1) if down else min(len(known.ticks) - 1, ahead + whole - 1)
        assume(0 <= ahead < len(known.ticks))
        step = move(known, place, End(last), 2**200, exact_in=exact_in, down=down).step
        amount = (step.sent if exact_in else step.paid) or amount
    moved = move(known, place, end, amount, exact_in=exact_in, down=down)
    totals, price, liquidity, tick, left = loop(known, place, amount, exact_in=exact_in, down=down)
    assert tuple(moved.step) == totals
    assert (moved.place.price, moved.place.tick, moved.left) == (price, tick, left)
    assert known.liquidity[moved.place.band] == liquidity


@pytest.mark.parametrize("exact_in", [True, False])
@pytest.mark.parametrize(("down", "tick", "liquidity"), [(True, -41, 3), (False, 40, 7)])
def test_a_swap_that_ends_on_a_tick_does_not_cross_the_gap_behind_it(
    exact_in: bool, down: bool, tick: int, liquidity: int
) -> None:
    """-80 [3] -60 [0] -40 [5] -20 [5 here] 20 [5] 40 [0] 60 [7] 80: the swap ends where liquidity does."""
    ticks, scale = (-80, -60, -40, -20, 20, 40, 60, 80), 10**12
    net = tuple(step * scale for step in (3, -3, 5, 1, -1, -5, 7, -7))
    known = bands(ticks, net, 4, 6 * scale, FeeTerms(2_500, 120_000, 0, 1_000_000), CLMM)
    place, end = Place(4, CLMM.at(0), 0), End(0 if down else 7)
    near = move(known, place, End(2 if down else 5), 2**200, exact_in=exact_in, down=down).step
    amount = near.sent if exact_in else near.paid
    on_it = move(known, place, end, amount, exact_in=exact_in, down=down)
    assert (on_it.place.tick, on_it.left, known.liquidity[on_it.place.band]) == (tick, 0, 0)
    beyond = move(known, place, end, amount + 1_000, exact_in=exact_in, down=down)
    assert known.liquidity[beyond.place.band] == liquidity * scale
    assert tuple(beyond.step) == loop(known, place, amount + 1_000, exact_in=exact_in, down=down)[0]


@pytest.mark.parametrize("down", [True, False])
def test_an_output_whose_price_is_rounded_onto_a_tick_crosses_it(down: bool) -> None:
    """Above a liquidity of 2^64 one unit of price is worth more than one of the token."""
    terms = FeeTerms(100, 0, 0, 1_000_000)
    known = bands((-10, 0, 10), (2**66, 2**60, -(2**66) - 2**60), 2, 2**66 + 2**60, terms, CLMM)
    band, price = (2, CLMM.at(0) + 1) if down else (1, CLMM.at(0) - 1)
    place = Place(band, price, 0 if down else -1)
    moved = move(known, place, End(0 if down else 2), 3, exact_in=False, down=down)
    assert (moved.place.price, moved.place.tick) == (CLMM.at(0), -1 if down else 0)
    totals, price, liquidity, tick, _ = loop(known, place, 3, exact_in=False, down=down)
    assert (tuple(moved.step), moved.place.price, moved.place.tick) == (totals, price, tick)
    assert known.liquidity[moved.place.band] == liquidity != known.liquidity[band]


@settings(max_examples=50)
@given(pool=clmm_pools(), amount=amounts, more=amounts, a_to_b=st.booleans())
def test_more_in_is_never_less_out(pool: ClmmPool, amount: int, more: int, a_to_b: bool) -> None:
    try:
        one = pool.quote_exact_in(amount, a_to_b=a_to_b)
        two = pool.quote_exact_in(min(amount + more, 2**64 - 1), a_to_b=a_to_b)
    except QuoteError:
        return  # no liquidity this way, or more than a vault can hold
    assert two.amount_out >= one.amount_out


@settings(max_examples=50)
@given(pool=clmm_pools(), amount=amounts, a_to_b=st.booleans())
def test_what_an_exact_output_costs_buys_it(pool: ClmmPool, amount: int, a_to_b: bool) -> None:
    try:
        cost = pool.quote_exact_out(amount, a_to_b=a_to_b)
    except QuoteError:
        return  # the pool does not hold so much
    bought = pool.quote_exact_in(cost.amount_in, a_to_b=a_to_b)
    assert bought.amount_out >= amount == cost.amount_out


@settings(max_examples=50)
@given(pool=clmm_pools(), amount=amounts, a_to_b=st.booleans())
def test_there_and_back_never_gains(pool: ClmmPool, amount: int, a_to_b: bool) -> None:
    try:
        there = pool.quote_exact_in(amount, a_to_b=a_to_b)
        back = pool.after(there).quote_exact_in(there.amount_out, a_to_b=not a_to_b)
    except QuoteError:
        return
    assert back.amount_out <= there.amount_in


@settings(max_examples=50)
@given(pool=clmm_pools(), amounts=st.lists(st.tuples(amounts, st.booleans()), min_size=1, max_size=6))
def test_swaps_conserve_what_the_vaults_and_the_user_hold(
    pool: ClmmPool, amounts: list[tuple[int, bool]]
) -> None:
    user_a = user_b = 0
    pool = pool._replace(sides=pool.sides._replace(vault_a=2**63, vault_b=2**63))
    first = pool
    for amount, a_to_b in amounts:
        try:
            quote = pool.quote_exact_in(amount, a_to_b=a_to_b)
        except QuoteError:
            continue
        pool = pool.after(quote)
        change = (-quote.amount_in, quote.amount_out)
        user_a, user_b = user_a + change[not a_to_b], user_b + change[a_to_b]
        assert CLMM.at(pool.tick) <= pool.place.price <= CLMM.at(pool.tick + 1)
        assert pool.bands is first.bands
        assert pool.place.band == sum(tick <= pool.tick for tick in pool.bands.ticks)
    assert pool.sides.vault_a + user_a == first.sides.vault_a
    assert pool.sides.vault_b + user_b == first.sides.vault_b


def test_liquidity_below_zero_is_refused_in_a_sentence() -> None:
    with pytest.raises(QuoteError, match="not read at one slot"):
        bands((-10, 10), (5, -5), 1, 4, FeeTerms(100, 0, 0, 1_000_000), CLMM)
