"""Orca Whirlpool pools: three tick arrays a swap, the ends of the prices, and the adaptive fee."""

from __future__ import annotations

import pytest
from concentrated_pools import RICH, placed_bands
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import QuoteError
from domain.market.amm.adaptive_fee import RATE_LIMIT, AdaptiveFee, Volatility
from domain.market.amm.concentrated import Bands, FeeTerms, Place, bands, whole
from domain.market.amm.pool import Pool
from domain.market.amm.ticks import MAX_TICK, MIN_TICK, WHIRLPOOL
from domain.market.amm.whirlpool import Adaptive, WhirlpoolPool, swap_starts

TERMS = FeeTerms(3_000, 1_300, 0, 10_000)
EVERYWHERE = (-(10**6), 10**6)
NOW = 1_760_000_000
FEE = AdaptiveFee(30, 600, 5_000, 4_000, 350_000, 64, 64)
CALM = Volatility(NOW - 1_000, NOW - 1_000, 0, 0, 0)


def pool_of(
    ticks: tuple[int, ...], net: tuple[int, ...], *, spacing: int = 64, tick: int = 0
) -> WhirlpoolPool:
    band = sum(one <= tick for one in ticks)
    known = bands(ticks, net, band, sum(net[:band]), TERMS, WHIRLPOOL)
    return WhirlpoolPool(known, Place(band, WHIRLPOOL.at(tick), tick), RICH, spacing, EVERYWHERE)


WIDE = pool_of((-64_000, 64_000), (10**12, -(10**12)))


@pytest.mark.parametrize(
    ("spacing", "tick", "a_to_b", "starts"),
    [
        (1, 0, True, (0, -88, -176)),
        (1, -1, True, (-88, -176, -264)),
        (1, -443_608, True, (-443_608, -443_696)),
        (1, -443_635, True, (-443_696,)),
        (1, 86, False, (0, 88, 176)),
        (1, 87, False, (88, 176, 264)),
        (1, 443_608, False, (443_608,)),
        (64, 5_567, False, (0, 5_632, 11_264)),
        (64, 5_568, False, (5_632, 11_264, 16_896)),
        (32_768, -32_769, False, (-2_883_584, 0)),
        (32_768, -32_768, False, (0,)),
    ],
)
def test_going_up_from_the_last_spacing_starts_in_the_next_array(
    spacing: int, tick: int, a_to_b: bool, starts: tuple[int, ...]
) -> None:
    """The cases the program's own tests name."""
    assert swap_starts(tick, spacing, a_to_b=a_to_b) == starts


@pytest.mark.parametrize(
    ("tick", "a_to_b", "last"),
    [(5_567, False, 16_895), (5_568, False, 22_527), (0, True, -11_264), (-1, True, -16_896)],
)
def test_the_quotes_end_where_those_arrays_do(tick: int, a_to_b: bool, last: int) -> None:
    pool = pool_of((-64_000, 64_000), (10**12, -(10**12)), tick=tick)
    assert (pool.end(a_to_b=a_to_b).at, pool.end(a_to_b=a_to_b).price) == (last, WHIRLPOOL.at(last))


def test_a_swap_that_needs_a_fourth_array_is_refused() -> None:
    pool: Pool = WIDE
    assert not pool.quote_exact_in(10**11, a_to_b=True).partial
    for a_to_b, tick in ((True, -11_264), (False, 16_895)):
        with pytest.raises(QuoteError, match=f"past tick {tick}, where the three tick arrays"):
            pool.quote_exact_in(2**60, a_to_b=a_to_b)
        with pytest.raises(QuoteError, match="three tick arrays"):
            pool.quote_exact_out(6 * 10**11, a_to_b=a_to_b)


def test_a_swap_may_end_on_the_very_edge_of_its_arrays() -> None:
    edge = WIDE.quote_exact_in(2 * 10**11, a_to_b=True)
    low, high = edge.amount_in, 2**60
    while low + 1 < high:  # halves the range: 40 rounds
        middle = (low + high) // 2
        try:
            edge, low = WIDE.quote_exact_in(middle, a_to_b=True), middle
        except QuoteError:
            high = middle
    after = WIDE.after(edge)
    assert (after.place.price, after.tick) == (WHIRLPOOL.at(-11_264), -11_265)
    assert after.quote_exact_in(10**9, a_to_b=True).amount_out > 0, "the next swap has three arrays again"


def test_arrays_that_were_not_read_are_named() -> None:
    pool = WIDE._replace(known=(-5_632, 11_264))
    assert pool.quote_exact_in(10**9, a_to_b=True).amount_out > 0
    with pytest.raises(QuoteError, match="past tick -5632, where the tick arrays that were read end"):
        pool.quote_exact_in(2**60, a_to_b=True)
    with pytest.raises(QuoteError, match="past tick 11263, where the tick arrays that were read end"):
        pool.quote_exact_in(2**60, a_to_b=False)


def test_at_the_ends_of_the_prices_an_input_is_partly_spent_and_an_output_refused() -> None:
    pool = pool_of((-2_883_584 // 32_768 * 5_000, 440_000), (10**6, -(10**6)), spacing=32_768)
    for a_to_b, price, tick in (
        (True, WHIRLPOOL.at(MIN_TICK), MIN_TICK - 1),
        (False, WHIRLPOOL.highest, MAX_TICK),
    ):
        quote = pool.quote_exact_in(2**63, a_to_b=a_to_b)
        after = pool.after(quote)
        assert quote.partial
        assert (after.place.price, after.tick) == (price, tick)
        with pytest.raises(QuoteError, match="holds"):
            pool.quote_exact_out(2**63, a_to_b=a_to_b)
    down = pool.after(pool.quote_exact_in(2**63, a_to_b=True))
    assert down.quote_exact_in(10**6, a_to_b=False).amount_out > 0


@settings(max_examples=50)
@given(
    pool=placed_bands(WHIRLPOOL), amount=st.integers(1, 2**62), a_to_b=st.booleans(), exact_in=st.booleans()
)
def test_an_adaptive_fee_without_control_is_the_fixed_fee(
    pool: tuple[Bands, Place], amount: int, a_to_b: bool, exact_in: bool
) -> None:
    fixed = WhirlpoolPool(pool[0], pool[1], RICH, 60, EVERYWHERE)
    adaptive = fixed._replace(adaptive=Adaptive(FEE._replace(control_factor=0), CALM, NOW))
    answers: list[object] = []
    for one in (fixed, adaptive):
        quote = one.quote_exact_in if exact_in else one.quote_exact_out
        try:
            answers.append(quote(amount, a_to_b=a_to_b)._replace(volatility=None))
        except QuoteError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


@settings(max_examples=50)
@given(pool=placed_bands(WHIRLPOOL), amount=st.integers(1, 2**62), a_to_b=st.booleans())
def test_a_moving_price_costs_more_never_less_and_no_more_than_the_limit(
    pool: tuple[Bands, Place], amount: int, a_to_b: bool
) -> None:
    calm = WhirlpoolPool(pool[0], pool[1], RICH, 60, EVERYWHERE)
    lively = calm._replace(adaptive=Adaptive(FEE._replace(control_factor=90_000), CALM, NOW))
    try:
        fixed = calm.quote_exact_in(amount, a_to_b=a_to_b)
        quote = lively.quote_exact_in(amount, a_to_b=a_to_b)
    except QuoteError:
        return
    assert quote.amount_out <= fixed.amount_out
    assert quote.fee_in * 1_000_000 <= quote.amount_in * RATE_LIMIT + 10_000 * 1_000_000


def test_the_fee_remembers_large_swaps_and_forgets_them_with_time() -> None:
    pool = WIDE._replace(adaptive=Adaptive(FEE, CALM, NOW))
    first = pool.quote_exact_in(10**10, a_to_b=True)
    assert first.volatility
    assert first.volatility.major_swap_time == NOW
    rates = []
    for wait in (0, 31, 700, 4_000):
        later = pool.after(first)
        assert later.adaptive
        later = later._replace(adaptive=later.adaptive._replace(unix_time=NOW + wait))
        rates.append(later.quote_exact_in(10**6, a_to_b=True).fee_in)
    assert rates[0] > rates[1] > rates[2] == rates[3] == 3_000


def rate_of(groups: int) -> int:
    """The rate so many groups of 64 ticks from the reference: 3,000 and the rest by the program's formula."""
    crossed = groups * 10_000 * 64
    return 3_000 - (-FEE.control_factor * crossed * crossed // 10**13)


def test_every_group_has_its_rate_and_a_gap_between_them_is_skipped() -> None:
    """Up from 0: group 0 ends at 64 with the liquidity, which begins again at 192 in group 3."""
    pool = pool_of((-64, 64, 192, 640), (10**12, -(10**12), 10**12, -(10**12)))
    pool = pool._replace(adaptive=Adaptive(FEE, CALM, NOW))
    pieces = [
        whole(
            TERMS._replace(rate=rate_of(group)), 10**12, WHIRLPOOL.at(low), WHIRLPOOL.at(low + 64), down=False
        )
        for group, low in ((0, 0), (3, 192), (4, 256))
    ]
    quote = pool.quote_exact_in(sum(piece.sent for piece in pieces), a_to_b=False)
    assert (quote.amount_out, quote.fee_in) == (
        sum(piece.paid for piece in pieces),
        sum(piece.fee for piece in pieces),
    )
    assert quote.volatility
    assert quote.volatility.accumulator == 40_000
    assert pool.after(quote).tick == 320


def test_a_swap_that_is_all_fee_on_a_groups_edge_stays_in_its_group() -> None:
    recent = Volatility(NOW - 5, NOW - 5, 0, 0, 0)
    pool = pool_of((-640, 640), (10**12, -(10**12)), tick=192)
    pool = pool._replace(adaptive=Adaptive(FEE._replace(control_factor=0), recent, NOW))
    quote = pool.quote_exact_in(1, a_to_b=False)
    assert (quote.fee_in, quote.amount_out, quote.place.price) == (1, 0, WHIRLPOOL.at(192))
    assert quote.volatility
    assert quote.volatility.accumulator == 30_000


def test_a_reference_older_than_an_hour_is_forgotten_however_lively_the_pool() -> None:
    for age, rate in ((3_600, rate_of(10)), (3_601, rate_of(0))):
        lively = Volatility(NOW - age, NOW - 1, 90_000, 1, 110_000)
        pool = WIDE._replace(adaptive=Adaptive(FEE, lively, NOW))
        assert pool.quote_exact_in(10**6, a_to_b=False).fee_in == -(-(10**6) * rate // 10**6), age


def test_a_small_swap_is_no_large_one() -> None:
    quote = WIDE._replace(adaptive=Adaptive(FEE, CALM, NOW)).quote_exact_in(1_000, a_to_b=True)
    assert quote.volatility
    assert quote.volatility.major_swap_time == CALM.major_swap_time


def test_a_clock_behind_the_last_swap_is_refused() -> None:
    pool = WIDE._replace(adaptive=Adaptive(FEE, CALM, NOW - 2_000))
    with pytest.raises(QuoteError, match="read the clock again"):
        pool.quote_exact_in(1_000, a_to_b=True)


def test_an_empty_pool_has_no_price() -> None:
    assert WIDE.spot_price() == (2**128, 2**128)
    with pytest.raises(QuoteError, match="no price"):
        pool_of((), ()).spot_price()
