"""PumpSwap mathematics: the laws of its pools, its fee tiers and what it refuses."""

from __future__ import annotations

import pytest
from amm_checks.cases import quotable
from hypothesis import given
from hypothesis import strategies as st
from pumpswap_accounts import accounts_around
from vector_accounts import vector_pools

from adapters.solana.programs.pumpswap import PROGRAM
from domain.errors import QuoteError
from domain.market.amm.pool import PPM, price_impact_ppm
from domain.market.amm.pumpswap import Fees, FeeTier, PumpSwapPool, PumpSwapQuote, fees_at, priced

LOW, HIGH = Fees(2, 93, 30), Fees(20, 5, 5)
TIERS = (FeeTier(0, LOW), FeeTier(1_000, HIGH))
FLAT = (FeeTier(0, Fees(25, 5, 0)),)

pools = st.builds(
    priced,
    reserve_a=st.integers(1, 2**62),
    reserve_b=st.integers(1, 2**62),
    virtual_b=st.just(0) | st.integers(0, 2**40),
    supply=st.integers(0, 10**15),
    tiers=st.sampled_from((TIERS, FLAT)),
)
amounts = st.integers(1, 2**62) | st.integers(1, 2_000)


def quoted(pool: PumpSwapPool, amount: int, *, a_to_b: bool) -> PumpSwapQuote | None:
    """An exact-in quote, none where the pool refuses."""
    try:
        return pool.quote_exact_in(amount, a_to_b=a_to_b)
    except QuoteError:
        return None


@given(pool=pools, amount=amounts, a_to_b=st.booleans())
def test_a_swap_never_makes_the_product_of_the_reserves_smaller(
    pool: PumpSwapPool, amount: int, a_to_b: bool
) -> None:
    quote = quoted(pool, amount, a_to_b=a_to_b)
    if quote is None:
        return
    after = pool.after(quote)
    assert after.reserve_a * after.effective_b >= pool.reserve_a * pool.effective_b
    assert after.reserve_a > 0
    assert after.reserve_b >= 0
    assert not quote.partial


@given(pool=pools, amount=amounts, a_to_b=st.booleans())
def test_what_is_sent_is_shared_out_to_the_unit(pool: PumpSwapPool, amount: int, a_to_b: bool) -> None:
    """A seller's and the takers' parts are what the curve pays; a buyer's leave at most two units over."""
    quote = quoted(pool, amount, a_to_b=a_to_b)
    if quote is None:
        return
    if a_to_b:
        assert quote.amount_out + quote.fee_out == quote.curve_quote
        assert quote.fee_in == 0
    else:
        assert quote.amount_in == quote.curve_quote + quote.fee_in
        assert 0 <= amount - quote.amount_in <= 2
        assert quote.fee_out == 0
    taken = quote.lp_fee + quote.protocol_fee + quote.creator_fee
    assert taken >= -(-quote.curve_quote * sum(pool.fees) // 10_000)


@given(pool=pools, wanted=amounts)
def test_a_buy_of_an_exact_amount_asks_the_least_that_brings_it(pool: PumpSwapPool, wanted: int) -> None:
    try:
        asked = pool.quote_exact_out(wanted, a_to_b=False)
    except QuoteError:
        return
    brought, short = (
        pool.reserve_a * curve // (pool.effective_b + curve)
        for curve in (asked.curve_quote, asked.curve_quote - 1)
    )
    assert short < wanted <= brought
    after = pool.after(asked)
    assert after.reserve_a == pool.reserve_a - wanted
    assert after.reserve_b == pool.reserve_b + asked.curve_quote + asked.lp_fee


@given(pool=pools, wanted=amounts)
def test_selling_what_exact_out_asks_brings_all_but_two_units(pool: PumpSwapPool, wanted: int) -> None:
    try:
        asked = pool.quote_exact_out(wanted, a_to_b=True)
    except QuoteError:
        return
    sold = quoted(pool, asked.amount_in, a_to_b=True)
    if sold is None:  # rounding the input up can ask for a unit that is only virtual
        assert wanted <= 2 or pool.virtual_b
    else:
        assert sold.amount_out >= wanted - 2


@given(pool=pools, amount=st.integers(10_000, 2**61), more=st.integers(0, 2**61), a_to_b=st.booleans())
def test_more_in_never_brings_less(pool: PumpSwapPool, amount: int, more: int, a_to_b: bool) -> None:
    """Except for the units by which three fees are rounded up."""
    few, many = (quoted(pool, size, a_to_b=a_to_b) for size in (amount, amount + more))
    if few is not None and many is not None:
        assert many.amount_out >= few.amount_out - (
            2 if a_to_b else -(-2 * pool.reserve_a // pool.effective_b)
        )


@given(pool=pools, amount=st.integers(10_000, 2**40), a_to_b=st.booleans())
def test_price_impact_is_a_share(pool: PumpSwapPool, amount: int, a_to_b: bool) -> None:
    quote = quoted(pool, amount, a_to_b=a_to_b)
    assert quote is None or 0 <= price_impact_ppm(pool, quote) <= PPM


def test_a_copy_that_rounds_the_sum_of_the_fees_would_fail() -> None:
    """Each taker's fee is rounded up by itself."""
    differing = 0
    for vector in vector_pools("pumpswap"):
        pool = quotable(PROGRAM, vector, accounts_around(vector))
        assert isinstance(pool, PumpSwapPool)
        for case in vector["cases"]:
            if case["side"] == "sell" and case["mode"] == "exact_in" and "amountOut" in case:
                curve = int(case["curveOut"])
                once = curve - -(-curve * sum(pool.fees) // 10_000)
                differing += once != int(case["amountOut"])
    assert differing >= 30


@pytest.mark.parametrize(("effective_b", "fees"), [(0, LOW), (999, LOW), (1_000, HIGH), (10**9, HIGH)])
def test_the_market_cap_picks_the_last_tier_it_reaches(effective_b: int, fees: Fees) -> None:
    assert fees_at(10, effective_b, 10, TIERS) == fees


def test_a_cap_below_every_tier_pays_the_first_tiers_fees() -> None:
    assert fees_at(10, 1, 10, (FeeTier(500, LOW), FeeTier(1_000, HIGH))) == LOW


def test_a_swap_that_moves_the_market_cap_moves_the_fees() -> None:
    pool = priced(10**6, 999, virtual_b=0, supply=10**6, tiers=TIERS)
    assert pool.fees == LOW
    after = pool.after(pool.quote_exact_in(500, a_to_b=False))
    assert after.fees == HIGH
    assert after.after(after.quote_exact_in(10**6, a_to_b=True)).fees == LOW


def test_virtual_quote_tokens_move_the_price_and_are_never_paid_out() -> None:
    pool = priced(1_000, 100_000, virtual_b=10**9, supply=0, tiers=FLAT)
    assert pool.spot_price() == (1_000_100_000, 1_000)
    with pytest.raises(QuoteError, match="sell less"):
        pool.quote_exact_in(500, a_to_b=True)
    with pytest.raises(QuoteError, match="ask for less"):
        pool.quote_exact_out(100_001, a_to_b=True)
    with pytest.raises(QuoteError, match="the vault holds 100000"):
        pool.quote_exact_out(100_000, a_to_b=True)


def test_a_program_that_stopped_one_side_still_takes_the_other() -> None:
    pool = priced(10**9, 10**9, virtual_b=0, supply=0, tiers=FLAT)._replace(buys=False)
    assert pool.quote_exact_in(1_000, a_to_b=True).amount_out > 0
    for ask in (pool.quote_exact_in, pool.quote_exact_out):
        with pytest.raises(QuoteError, match="takes no buys now"):
            ask(1_000, a_to_b=False)
    with pytest.raises(QuoteError, match="takes no sales now"):
        pool._replace(sells=False).quote_exact_in(1_000, a_to_b=True)


@pytest.mark.parametrize("amount", [0, -1, 2**64])
def test_amounts_that_are_no_positive_u64_are_refused(amount: int) -> None:
    pool = priced(10**9, 10**9, virtual_b=0, supply=0, tiers=FLAT)
    for ask in (pool.quote_exact_in, pool.quote_exact_out):
        for a_to_b in (True, False):
            with pytest.raises(QuoteError, match="amounts run from 1"):
                ask(amount, a_to_b=a_to_b)


def test_what_the_pool_cannot_trade_is_refused_in_a_sentence() -> None:
    empty = priced(0, 5, virtual_b=0, supply=0, tiers=FLAT)
    for ask in (empty.quote_exact_in, empty.quote_exact_out):
        with pytest.raises(QuoteError, match="cannot trade"):
            ask(1, a_to_b=True)
    with pytest.raises(QuoteError, match="cannot trade"):
        priced(5, 5, virtual_b=-5, supply=0, tiers=FLAT).spot_price()
    pool = priced(10**6, 10**6, virtual_b=0, supply=0, tiers=TIERS)
    with pytest.raises(QuoteError, match="leave nothing to buy with"):
        pool.quote_exact_in(1, a_to_b=False)
    with pytest.raises(QuoteError, match="sell more"):
        pool.quote_exact_in(2, a_to_b=True)
    with pytest.raises(QuoteError, match="ask for less"):
        pool.quote_exact_out(10**6, a_to_b=False)
    with pytest.raises(QuoteError, match="above 2"):
        priced(2**63, 2**63, virtual_b=0, supply=0, tiers=FLAT).quote_exact_out(2**63 - 1, a_to_b=False)
