"""What a flash loan costs, by the lending program's fixed point arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import QuoteError
from domain.market.flash_loan import DISABLED, flash_loan_fee

ONE = 2**60
TENTH_OF_A_BASIS_POINT = 11_529_215_046_068
"""The rate of the main market's USDC reserve in 2026: 0.001 %."""


@pytest.mark.parametrize(
    ("amount", "rate", "fee"),
    [
        (1_000_000_000, 0, 0),
        (1_000_000_000, TENTH_OF_A_BASIS_POINT, 10_000),
        (1_000_000, TENTH_OF_A_BASIS_POINT, 10),
        (50_000, TENTH_OF_A_BASIS_POINT, 1),  # half a unit, and never less than one
        (3, ONE // 2, 2),  # one and a half: rounded half up
        (5, ONE // 4, 1),
        (2, 1, 1),
    ],
)
def test_the_fee_is_rounded_half_up_and_at_least_one_unit(amount: int, rate: int, fee: int) -> None:
    assert flash_loan_fee(amount, rate) == fee


def test_a_copy_of_the_sdk_would_lend_for_nothing_where_the_program_lends_nothing() -> None:
    """2^64 - 1 switches flash loans off in the program; the SDK reads it as a fee of 0."""
    sdk_fee = 0 if DISABLED == 2**64 - 1 else 1_000_000 * DISABLED // ONE
    assert sdk_fee == 0
    with pytest.raises(QuoteError, match="a reserve that gives none"):
        flash_loan_fee(1_000_000, DISABLED)


def test_a_loan_that_its_fee_would_eat_is_refused() -> None:
    with pytest.raises(QuoteError, match="a flash loan of 1 is no more than its fee"):
        flash_loan_fee(1, 1)
    with pytest.raises(QuoteError, match="no more than its fee"):
        flash_loan_fee(10**9, ONE)
    with pytest.raises(QuoteError, match="amounts run from 1"):
        flash_loan_fee(0, 0)


@given(amount=st.integers(1, 2**64 - 1), more=st.integers(1, 2**64 - 1), rate=st.integers(0, ONE // 10))
def test_the_fee_is_near_its_rate_and_grows_with_the_loan(amount: int, more: int, rate: int) -> None:
    small, large = sorted((amount + 1, more + 1))
    if large < 2**64:
        low, high = flash_loan_fee(small, rate), flash_loan_fee(large, rate)
        assert low <= high
        assert abs(high * ONE - max(large * rate, ONE * bool(rate))) <= ONE // 2
