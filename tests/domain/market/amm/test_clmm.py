"""Raydium CLMM pools: where they end, what they refuse, and the mints' transfer fees around them."""

from __future__ import annotations

import pytest
from concentrated_pools import RICH, clmm_pools
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import QuoteError
from domain.market.amm.clmm import ClmmPool, ends
from domain.market.amm.concentrated import End, FeeTerms, Place, bands
from domain.market.amm.pool import Pool, TransferFee, price_impact_ppm
from domain.market.amm.ticks import CLMM, MAX_TICK, MIN_TICK

TERMS = FeeTerms(2_500, 120_000, 40_000, 1_000_000)
LIQUID = 10**12


def pool_of(ticks: tuple[int, ...], net: tuple[int, ...], tick: int = 0) -> ClmmPool:
    band = sum(one <= tick for one in ticks)
    known = bands(ticks, net, band, sum(net[:band]), TERMS, CLMM)
    return ClmmPool(known, Place(band, CLMM.at(tick), tick), RICH, *ends(known))


PLAIN = pool_of((-600, 600), (LIQUID, -LIQUID))


def test_a_pool_answers_as_every_pool_does() -> None:
    pool: Pool = PLAIN
    quote = pool.quote_exact_in(1_000_000, a_to_b=True)
    assert (quote.fee_in, quote.fee_out, quote.partial) == (2_500, 0, False)
    assert pool.spot_price() == (2**128, 2**128)
    assert 0 < price_impact_ppm(pool, quote) < 10


def test_where_the_liquidity_ends_an_input_is_partly_spent_and_an_output_refused() -> None:
    quote = PLAIN.quote_exact_in(2**60, a_to_b=True)
    assert quote.partial
    assert quote.amount_in < 2**60
    assert PLAIN.after(quote).tick == -601
    assert PLAIN.after(quote).liquidity == 0
    with pytest.raises(QuoteError, match="ask for less"):
        PLAIN.quote_exact_out(2**60, a_to_b=True)
    with pytest.raises(QuoteError, match="no liquidity"):
        PLAIN.after(quote).quote_exact_in(1_000, a_to_b=True)


def test_a_swap_through_a_gap_without_liquidity_pays_from_behind_it() -> None:
    pool = pool_of((-6_000, -3_000, -60, 60), (LIQUID, -LIQUID, LIQUID, -LIQUID))
    quote = pool.quote_exact_in(10**11, a_to_b=True)
    assert not quote.partial
    assert pool.after(quote).tick < -3_000


def test_the_program_stops_one_unit_before_the_lowest_and_the_highest_price() -> None:
    pool = pool_of((MIN_TICK, MAX_TICK), (10, -10))
    assert (pool.down, pool.up) == (End(1, CLMM.at(MIN_TICK) + 1), End(0, CLMM.highest - 1))
    down = pool.after(pool.quote_exact_in(2**63, a_to_b=True))
    up = pool.after(pool.quote_exact_in(2**63, a_to_b=False))
    assert (down.place.price, down.liquidity) == (CLMM.at(MIN_TICK) + 1, 10)
    assert (up.place.price, up.liquidity) == (CLMM.highest - 1, 10)


def test_a_direction_that_was_not_read_whole_is_refused_where_it_ends() -> None:
    pool = PLAIN._replace(down=End(0, refusal="the tick array at tick -1200 was not read"))
    assert not pool.quote_exact_in(1_000, a_to_b=True).partial
    with pytest.raises(QuoteError, match="-1200 was not read"):
        pool.quote_exact_in(2**60, a_to_b=True)
    with pytest.raises(QuoteError, match="-1200 was not read"):
        pool.quote_exact_out(2**60, a_to_b=True)


def test_a_vault_that_holds_too_little_is_refused() -> None:
    poor = PLAIN._replace(sides=RICH._replace(vault_b=10))
    with pytest.raises(QuoteError, match="vault that holds 10"):
        poor.quote_exact_in(1_000, a_to_b=True)
    assert poor.quote_exact_in(1_000, a_to_b=False).amount_out > 10


@pytest.mark.parametrize("amount", [0, -1, 2**64])
def test_no_token_account_holds_such_an_amount(amount: int) -> None:
    for quote in (PLAIN.quote_exact_in, PLAIN.quote_exact_out):
        with pytest.raises(QuoteError, match="amounts run from 1"):
            quote(amount, a_to_b=True)


def test_an_empty_pool_has_no_price() -> None:
    with pytest.raises(QuoteError, match="no price"):
        pool_of((), ()).spot_price()


@given(
    pool=clmm_pools(),
    amount=st.integers(1, 2**62),
    bps=st.integers(0, 10_000),
    maximum=st.integers(0, 10**9),
    a_to_b=st.booleans(),
)
def test_transfer_fees_lie_around_the_curve(
    pool: ClmmPool, amount: int, bps: int, maximum: int, a_to_b: bool
) -> None:
    fee = TransferFee(bps, maximum)
    charged = pool._replace(sides=pool.sides._replace(transfer_fee_a=fee, transfer_fee_b=fee))
    try:
        quote = charged.quote_exact_in(amount, a_to_b=a_to_b)
        plain = pool.quote_exact_in(quote.amount_in - quote.in_transfer_fee, a_to_b=a_to_b)
    except QuoteError:
        return
    assert quote.amount_out + quote.out_transfer_fee == plain.amount_out
    assert (quote.fee_in, quote.place) == (plain.fee_in, plain.place)


def test_an_amount_the_transfer_fee_rounds_away_from_is_refused() -> None:
    """Of 101 the mint keeps 2; for the 99 left the program wants 100 sent, not 101."""
    pool = PLAIN._replace(sides=RICH._replace(transfer_fee_a=TransferFee(100, 10**9)))
    with pytest.raises(QuoteError, match="send 100"):
        pool.quote_exact_in(101, a_to_b=True)
    assert pool.quote_exact_in(100, a_to_b=True).in_transfer_fee == 1
