"""Raydium CPMM mathematics: where the SDK errs, and the laws any constant product pool obeys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amm_checks.cases import quotable
from hypothesis import given
from hypothesis import strategies as st
from vector_accounts import vector_pools

from adapters.solana.programs.raydium_cpmm import PROGRAM
from domain.errors import QuoteError
from domain.market.amm.constant_product import (
    RATE,
    ConstantProductPool,
    CreatorFeeOn,
    amount_in_to_price,
)
from domain.market.amm.pool import TransferFee
from domain.market.amm.transfer_fee import transfer_fee

pools = st.builds(
    ConstantProductPool,
    reserve_a=st.integers(1_000, 2**63),
    reserve_b=st.integers(1_000, 2**63),
    trade_rate=st.integers(0, 100_000),
    protocol_rate=st.integers(0, 500_000),
    fund_rate=st.integers(0, 500_000),
    creator_rate=st.integers(0, 50_000),
    creator_fee_on=st.sampled_from(CreatorFeeOn),
    transfer_fee_a=st.none() | st.builds(TransferFee, st.integers(0, 9_999), st.integers(0, 10**9)),
    transfer_fee_b=st.none(),
)
plain_pools = st.builds(
    ConstantProductPool,
    reserve_a=st.integers(10**6, 10**15),
    reserve_b=st.integers(10**6, 10**15),
    trade_rate=st.integers(0, 40_000),
    protocol_rate=st.just(120_000),
    fund_rate=st.just(40_000),
    creator_rate=st.just(0),
    creator_fee_on=st.just(CreatorFeeOn.INPUT),
    transfer_fee_a=st.none(),
    transfer_fee_b=st.none(),
)


def sdk_exact_in(
    pool: ConstantProductPool, amount: int, *, a_to_b: bool, decided_for: bool, mints_charge: bool = True
) -> int:
    """The SDK's rule: both fees are rounded up by themselves.

    Its `computeSwapAmount` also decides the side of the creator's fee for one direction only, and forgets
    what the mints keep.
    """
    fees = (pool.transfer_fee_a, pool.transfer_fee_b) if mints_charge else (None, None)
    fee_in, fee_out = fees if a_to_b else fees[::-1]
    reserves = (pool.reserve_a, pool.reserve_b) if a_to_b else (pool.reserve_b, pool.reserve_a)
    received = amount - transfer_fee(amount, fee_in)
    on_input = pool.creator_fee_on_input(decided_for)
    net = received - -(-received * pool.trade_rate // RATE)
    if on_input:
        net -= -(-received * pool.creator_rate // RATE)
    out = max(net, 0) * reserves[1] // (reserves[0] + max(net, 0))
    if not on_input:
        out -= -(-out * pool.creator_rate // RATE)
    return out - transfer_fee(out, fee_out)


def exact_in_cases() -> list[tuple[ConstantProductPool, dict[str, Any], bool]]:
    """Pool, case and direction of every exact input that has an answer."""
    found = []
    for vector in vector_pools("raydium_cpmm"):
        pool = quotable(PROGRAM, vector)
        assert isinstance(pool, ConstantProductPool)
        found += [(pool, case, case["side"] == "a_to_b") for case in vector["cases"] if "amountOut" in case]
    return found


def test_a_copy_of_the_sdk_that_rounds_both_fees_up_would_fail() -> None:
    """The program rounds their sum up once and pays more; elsewhere both agree."""
    for pool, case, a_to_b in exact_in_cases():
        copy = sdk_exact_in(pool, int(case["amount"]), a_to_b=a_to_b, decided_for=a_to_b)
        assert copy == int(case.get("sdkAmountOut", case["amountOut"]))
        assert (copy < int(case["amountOut"])) == ("sdkAmountOut" in case)


def test_a_copy_of_the_sdk_that_decides_the_creators_side_for_one_direction_would_fail() -> None:
    copies = [
        (sdk_exact_in(pool, int(case["amount"]), a_to_b=a_to_b, decided_for=True), int(case["amountOut"]))
        for pool, case, a_to_b in exact_in_cases()
        if pool.creator_fee_on is not CreatorFeeOn.INPUT and not a_to_b
    ]
    assert any(copy != right for copy, right in copies)


def test_a_copy_of_the_sdk_that_forgets_the_mints_fees_would_fail() -> None:
    copies = [
        (
            sdk_exact_in(pool, int(case["amount"]), a_to_b=a_to_b, decided_for=a_to_b, mints_charge=False),
            int(case["amountOut"]),
        )
        for pool, case, a_to_b in exact_in_cases()
        if pool.transfer_fee_a or pool.transfer_fee_b
    ]
    assert any(copy > right for copy, right in copies)


@given(pool=pools, amount=st.integers(1, 2**63), a_to_b=st.booleans())
def test_a_swap_never_makes_the_product_of_the_reserves_smaller(
    pool: ConstantProductPool, amount: int, a_to_b: bool
) -> None:
    after = pool.after(pool.quote_exact_in(amount, a_to_b=a_to_b))
    assert after.reserve_a * after.reserve_b >= pool.reserve_a * pool.reserve_b


@given(pool=pools, wanted=st.integers(1, 2**40), a_to_b=st.booleans())
def test_paying_what_exact_out_asks_brings_at_least_what_was_wanted(
    pool: ConstantProductPool, wanted: int, a_to_b: bool
) -> None:
    plain = replace(pool, transfer_fee_a=None)
    try:
        asked = plain.quote_exact_out(wanted, a_to_b=a_to_b)
    except QuoteError:
        return
    assert plain.quote_exact_in(asked.amount_in, a_to_b=a_to_b).amount_out >= wanted


@given(pool=pools, amount=st.integers(1, 2**63), a_to_b=st.booleans())
def test_every_unit_sold_and_paid_is_accounted_for(
    pool: ConstantProductPool, amount: int, a_to_b: bool
) -> None:
    """What leaves the user is in the reserve, with somebody who takes a fee, or with the mint."""
    quote = pool.quote_exact_in(amount, a_to_b=a_to_b)
    after = pool.after(quote)
    gained, paid = after.reserve_a - pool.reserve_a, pool.reserve_b - after.reserve_b
    if not a_to_b:
        gained, paid = -paid, -gained
    owed = quote.protocol_fee + quote.fund_fee + quote.fee_in - quote.trade_fee
    assert quote.amount_in == gained + owed + quote.in_transfer_fee
    assert paid == quote.amount_out + quote.fee_out + quote.out_transfer_fee
    assert quote.fee_in + quote.fee_out == quote.trade_fee + quote.creator_fee


@given(pool=plain_pools, amount=st.integers(1, 10**14), a_to_b=st.booleans())
def test_the_short_way_of_a_plain_pool_gives_what_the_long_way_gives(
    pool: ConstantProductPool, amount: int, a_to_b: bool
) -> None:
    """A mint's fee of nothing sends the same swap through the long way."""
    charged = replace(pool, transfer_fee_a=TransferFee(0, 0), transfer_fee_b=TransferFee(0, 0))

    def answers(asked: ConstantProductPool) -> list[tuple[int, ...] | None]:
        found: list[tuple[int, ...] | None] = []
        for quote in (asked.quote_exact_in, asked.quote_exact_out):
            try:
                found.append(quote(amount, a_to_b=a_to_b)[:-1])
            except QuoteError:
                found.append(None)
        return found

    assert answers(pool) == answers(charged)


@given(pool=plain_pools, amount=st.integers(1, 10**14))
def test_there_and_back_never_earns(pool: ConstantProductPool, amount: int) -> None:
    out = pool.quote_exact_in(amount, a_to_b=True)
    if out.amount_out:
        back = pool.after(out).quote_exact_in(out.amount_out, a_to_b=False)
        assert back.amount_out <= amount


@given(pool=plain_pools, price=st.integers(1, 10**9))
def test_moving_to_a_price_stops_just_before_it(pool: ConstantProductPool, price: int) -> None:
    """One base unit more would carry the pool past the target."""
    scale = 10**6
    if max(pool.reserve_a, pool.reserve_b) * 10**9 > 2**62:
        pool = replace(
            pool, reserve_a=pool.reserve_a % 10**8 + 10**6, reserve_b=pool.reserve_b % 10**8 + 10**6
        )
    amount, a_to_b = amount_in_to_price(pool, price, scale)

    def side(amount_in: int) -> int:
        after = pool.after(pool.quote_exact_in(amount_in, a_to_b=a_to_b)) if amount_in else pool
        cross = after.reserve_b * scale - price * after.reserve_a
        return cross if a_to_b else -cross

    assert side(amount) >= 0
    assert side(amount + 1) < 0


@pytest.mark.parametrize("amount", [0, -1, 2**64])
def test_amounts_that_are_no_positive_u64_are_refused(amount: int) -> None:
    pool = ConstantProductPool(10**9, 10**9, 2_500)
    with pytest.raises(QuoteError, match="amounts run from 1"):
        pool.quote_exact_in(amount, a_to_b=True)
    with pytest.raises(QuoteError):
        pool.quote_exact_out(amount, a_to_b=True)


def test_an_empty_pool_quotes_nothing() -> None:
    with pytest.raises(QuoteError, match="cannot trade"):
        ConstantProductPool(0, 5, 2_500).quote_exact_in(1, a_to_b=True)
    with pytest.raises(QuoteError, match="two filled reserves"):
        amount_in_to_price(ConstantProductPool(0, 5, 2_500), 1, 1)


def test_fees_that_leave_nothing_are_refused() -> None:
    """A config as no program writes it, but bytes can say anything."""
    free = ConstantProductPool(10**9, 10**9, 0)
    for greedy in (
        replace(free, trade_rate=10**6),
        replace(free, trade_rate=999_000, creator_rate=1_000),
        replace(free, creator_rate=10**6, creator_fee_on=CreatorFeeOn.ONLY_B),
    ):
        with pytest.raises(QuoteError, match="leave nothing"):
            greedy.quote_exact_in(1_000, a_to_b=True)
        with pytest.raises(QuoteError, match="leave nothing"):
            greedy.quote_exact_out(1_000, a_to_b=True)


def test_an_exact_output_is_bounded_by_the_reserve_and_by_a_u64() -> None:
    for mint_fee in (None, TransferFee(0, 0)):
        pool = ConstantProductPool(2**63, 1_000, 2_500, transfer_fee_b=mint_fee)
        assert pool.quote_exact_out(1, a_to_b=True).amount_in > 2**63 // 1_000
        with pytest.raises(QuoteError, match="a reserve of 1000: ask for less"):
            pool.quote_exact_out(1_000, a_to_b=True)
        with pytest.raises(QuoteError, match="above 2\\^64"):
            pool.quote_exact_out(999, a_to_b=True)
