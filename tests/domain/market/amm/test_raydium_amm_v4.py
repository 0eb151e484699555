"""Raydium AMM v4 mathematics: where the SDK errs, and the laws of its pools."""

from __future__ import annotations

from decimal import Decimal

import pytest
from amm_checks.cases import quotable
from hypothesis import given
from hypothesis import strategies as st
from vector_accounts import vector_pools

from adapters.solana.programs.raydium_amm_v4 import PROGRAM
from domain.errors import QuoteError
from domain.market.amm.pool import PPM, price_impact_ppm
from domain.market.amm.raydium_amm_v4 import AmmV4Pool, ceil_or_nothing

pools = st.builds(
    AmmV4Pool,
    reserve_a=st.integers(1, 2**63),
    reserve_b=st.integers(1, 2**63),
    fee_numerator=st.sampled_from((0, 25, 30, 9_999)),
    fee_denominator=st.just(10_000),
)
amounts = st.integers(1, 2**63) | st.integers(1, 500)


def sdk_exact_in(pool: AmmV4Pool, amount: int, *, a_to_b: bool) -> int:
    """The SDK's rule: the fee is always rounded up."""
    fee = -(-amount * pool.fee_numerator // pool.fee_denominator)
    reserves = (pool.reserve_a, pool.reserve_b) if a_to_b else (pool.reserve_b, pool.reserve_a)
    return (amount - fee) * reserves[1] // (reserves[0] + amount - fee)


def sdk_exact_out(pool: AmmV4Pool, amount: int, *, a_to_b: bool) -> int:
    """The SDK's rule: both divisions are rounded down."""
    reserves = (pool.reserve_a, pool.reserve_b) if a_to_b else (pool.reserve_b, pool.reserve_a)
    net = reserves[0] * amount // (reserves[1] - amount)
    return net * pool.fee_denominator // (pool.fee_denominator - pool.fee_numerator)


def test_a_copy_of_the_sdk_would_fail() -> None:
    """It charges a fee where the program charges none, and asks for less than the program takes."""
    differing = {"amountOut": 0, "amountIn": 0}
    for vector in vector_pools("raydium_amm_v4"):
        pool = quotable(PROGRAM, vector)
        assert isinstance(pool, AmmV4Pool)
        for case in vector["cases"]:
            key = "amountOut" if case["mode"] == "exact_in" else "amountIn"
            if key not in case:
                continue
            copy = sdk_exact_in if case["mode"] == "exact_in" else sdk_exact_out
            ours = copy(pool, int(case["amount"]), a_to_b=case["side"] == "a_to_b")
            differing[key] += ours != int(case[key])
    assert differing["amountOut"] >= 40
    assert differing["amountIn"] >= 40


def test_price_impact_is_the_sdks_where_both_charge_the_same_fee() -> None:
    """The SDK gives per cent with nine places; ours is parts per million, rounded up."""
    compared = 0
    for vector in vector_pools("raydium_amm_v4"):
        pool = quotable(PROGRAM, vector)
        for case in vector["cases"]:
            if case.get("amountOut", "0") == "0" or case["fee"] != case["sdkFee"]:
                continue
            quote = pool.quote_exact_in(int(case["amount"]), a_to_b=case["side"] == "a_to_b")
            exact = Decimal(case["priceImpactPct"]) * 10_000
            assert -1 < price_impact_ppm(pool, quote) - exact < 2, f"{case} gave {quote}"
            compared += 1
    assert compared


@pytest.mark.parametrize(
    ("numerator", "rounded"), [(0, 0), (1, 0), (4_999, 0), (5_000, 1), (9_999, 1), (10_000, 1), (10_001, 2)]
)
def test_the_programs_ceiling_is_none_below_a_half(numerator: int, rounded: int) -> None:
    assert ceil_or_nothing(numerator, 10_000) == rounded


@given(pool=pools, amount=amounts, a_to_b=st.booleans())
def test_a_swap_never_makes_the_product_of_the_reserves_smaller(
    pool: AmmV4Pool, amount: int, a_to_b: bool
) -> None:
    quote = pool.quote_exact_in(amount, a_to_b=a_to_b)
    after = pool.after(quote)
    assert after.reserve_a * after.reserve_b >= pool.reserve_a * pool.reserve_b
    assert min(after.reserve_a, after.reserve_b) > 0
    assert (quote.fee_out, quote.partial) == (0, False)


@given(pool=pools, wanted=amounts, a_to_b=st.booleans())
def test_paying_what_exact_out_asks_brings_at_least_what_was_wanted(
    pool: AmmV4Pool, wanted: int, a_to_b: bool
) -> None:
    try:
        asked = pool.quote_exact_out(wanted, a_to_b=a_to_b)
    except QuoteError:
        return
    assert pool.quote_exact_in(asked.amount_in, a_to_b=a_to_b).amount_out >= wanted
    after = pool.after(asked)
    assert after.reserve_a + after.reserve_b == (
        pool.reserve_a + pool.reserve_b + asked.amount_in - asked.amount_out
    )


@given(pool=pools, amount=st.integers(1, 2**62), more=st.integers(0, 2**62), a_to_b=st.booleans())
def test_more_in_never_brings_less(pool: AmmV4Pool, amount: int, more: int, a_to_b: bool) -> None:
    """Not even where the fee jumps from 0 to 1."""
    few, many = (pool.quote_exact_in(size, a_to_b=a_to_b) for size in (amount, amount + more))
    assert many.amount_in - many.fee_in >= few.amount_in - few.fee_in
    assert many.amount_out >= few.amount_out


@given(pool=pools, amount=st.integers(1, 2**40), a_to_b=st.booleans())
def test_price_impact_is_a_share(pool: AmmV4Pool, amount: int, a_to_b: bool) -> None:
    assert 0 <= price_impact_ppm(pool, pool.quote_exact_in(amount, a_to_b=a_to_b)) <= PPM


@pytest.mark.parametrize("amount", [0, -1, 2**64])
def test_amounts_that_are_no_positive_u64_are_refused(amount: int) -> None:
    pool = AmmV4Pool(10**9, 10**9, 25, 10_000)
    for quoted in (pool.quote_exact_in, pool.quote_exact_out):
        with pytest.raises(QuoteError, match="amounts run from 1"):
            quoted(amount, a_to_b=True)


def test_what_the_pool_cannot_trade_is_refused_in_a_sentence() -> None:
    with pytest.raises(QuoteError, match="cannot trade"):
        AmmV4Pool(0, 5, 25, 10_000).quote_exact_in(1, a_to_b=True)
    with pytest.raises(QuoteError, match="cannot trade"):
        AmmV4Pool(5, 0, 25, 10_000).spot_price()
    with pytest.raises(QuoteError, match="ask for less"):
        AmmV4Pool(5, 5, 25, 10_000).quote_exact_out(5, a_to_b=True)
    with pytest.raises(QuoteError, match="above 2"):
        AmmV4Pool(2**63, 2**63, 25, 10_000).quote_exact_out(2**63 - 1, a_to_b=True)
    with pytest.raises(QuoteError, match="input of 0"):
        AmmV4Pool(10, 10**9, 25, 10_000).quote_exact_out(1, a_to_b=True)
