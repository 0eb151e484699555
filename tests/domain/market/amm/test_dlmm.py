"""Meteora DLMM mathematics: the ladder against a walk of the bins, where the SDK errs, and a swap's laws."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
from amm_checks.cases import accounts_of, address_of, quotable, quoted, time_of
from hypothesis import assume, given
from hypothesis import strategies as st
from vector_accounts import vector_pools

from adapters.solana.programs import meteora_dlmm
from adapters.solana.programs.meteora_dlmm import PROGRAM
from domain.errors import QuoteError
from domain.market.amm import dlmm_bins
from domain.market.amm.dlmm import DlmmPool, DlmmQuote
from domain.market.amm.dlmm_bins import RATE, Bin, DlmmFees, Volatility
from domain.market.amm.pool import U64_MAX, TransferFee

VECTORS = vector_pools("meteora_dlmm")
AMOUNTS = st.integers(1, 2**20) | st.integers(1, 2**64 - 1)


@st.composite
def pools(draw: st.DrawFn, *, mint_fees: bool = True) -> DlmmPool:
    """Pools of a few bins around the active one, with gaps, orders, every fee mode and every age."""
    fees = DlmmFees(
        bin_step=draw(st.sampled_from((1, 20, 100, 400))),
        base_factor=draw(st.integers(0, 40_000)),
        base_power=draw(st.integers(0, 1)),
        variable_control=draw(st.integers(0, 200_000)),
        max_accumulator=draw(st.integers(0, 400_000)),
        filter_s=30,
        decay_s=600,
        reduction_bps=draw(st.integers(0, 10_000)),
        protocol_bps=draw(st.integers(0, 2_500)),
        only_b=draw(st.booleans()),
    )
    active = draw(st.integers(-400, 400))
    amount = st.integers(0, 3) | st.integers(0, 2**50)
    ids = sorted(draw(st.sets(st.integers(active - 8, active + 8), min_size=1, max_size=9)))
    bins = tuple(
        Bin(
            bin_id,
            dlmm_bins.price_at(bin_id, fees.bin_step),
            draw(amount) if bin_id >= active else 0,
            draw(amount) if bin_id <= active else 0,
            draw(amount),
            draw(amount),
            bin_id > active,
        )
        for bin_id in ids
    )
    fee = st.none() | st.builds(TransferFee, st.integers(1, 9_999), st.integers(0, 10**9))
    mints = fee if mint_fees else st.none()
    return DlmmPool(
        fees,
        Volatility(
            draw(st.integers(0, 400_000)), draw(st.integers(0, 400_000)), active + draw(st.integers(-9, 9)), 0
        ),
        active,
        bins,
        sum(held.amount_a + held.ask * (held.processed_orders + held.open_orders) for held in bins) + 2**20,
        sum(held.amount_b + (not held.ask) * (held.processed_orders + held.open_orders) for held in bins)
        + 2**20,
        unix_time=draw(st.sampled_from((0, 29, 30, 599, 600))),
        orders=draw(st.booleans()),
        transfer_fee_a=draw(mints),
        transfer_fee_b=draw(mints),
    )


class Walked(NamedTuple):
    """What the bin-by-bin walk of the published SDK gives for a swap without transfer fees."""

    amount_in: int
    amount_out: int
    fee: int


def _walk_exact_in(pool: DlmmPool, amount: int, *, a_to_b: bool) -> Walked | None:
    """Take bin after bin as commons/src/quote.rs of the SDK does; None where it finds no liquidity."""
    reference, index = dlmm_bins.references(pool.fees, pool.volatility, pool.active_id, pool.unix_time)
    left, out, fees = amount, 0, 0
    for held in _ahead(pool, a_to_b):
        available = dlmm_bins.layers(held, a_to_b=a_to_b, orders=pool.orders)
        if not left or not sum(available):
            continue
        rate = dlmm_bins.fee_rate(
            pool.fees, dlmm_bins.accumulator_at(pool.fees, reference, index, held.bin_id)
        )
        used, paid, fee = _swap_in_bin(held, available, left, rate, a_to_b, pool.fees.only_b and a_to_b)
        left, out, fees = left - used, out + paid, fees + fee
    return None if left else Walked(amount, out, fees)


def _swap_in_bin(
    held: Bin, available: tuple[int, int, int], left: int, rate: int, a_to_b: bool, on_output: bool
) -> tuple[int, int, int]:
    fee = 0 if on_output else -(-left * rate // RATE)
    filled = dlmm_bins.fill(available, left - fee, held.price, a_to_b=a_to_b)
    net, paid = sum(filled.taken), sum(filled.given)
    used = left
    if net < left - fee:  # the bin is exhausted: its fee comes on top of what it took
        fee = 0 if on_output else -(-net * rate // (RATE - rate))
        used = net + fee
    if on_output:
        fee = -(-paid * rate // RATE)
        paid -= fee
    return used, paid, fee


def _ahead(pool: DlmmPool, a_to_b: bool) -> list[Bin]:
    if a_to_b:
        return [held for held in reversed(pool.bins) if held.bin_id <= pool.active_id]
    return [held for held in pool.bins if held.bin_id >= pool.active_id]


def _tried(pool: DlmmPool, amount: int, *, a_to_b: bool) -> DlmmQuote | None:
    try:
        return pool.quote_exact_in(amount, a_to_b=a_to_b)
    except QuoteError:
        return None


@given(pool=pools(mint_fees=False), amount=AMOUNTS, a_to_b=st.booleans())
def test_the_ladder_gives_what_walking_the_bins_gives(pool: DlmmPool, amount: int, a_to_b: bool) -> None:
    walked, quote = _walk_exact_in(pool, amount, a_to_b=a_to_b), _tried(pool, amount, a_to_b=a_to_b)
    if walked is None or walked.amount_out == 0:
        assert quote is None
    else:
        assert quote is not None
        assert Walked(quote.amount_in, quote.amount_out, quote.fee_in + quote.fee_out) == walked


def test_a_copy_of_the_sdk_quotes_swaps_that_pay_nothing() -> None:
    """The program refuses to take something for nothing (its error 6039); the SDK's walk gives 0."""
    for_nothing = [
        (quotable(PROGRAM, vector), case)
        for vector in VECTORS
        for case in vector["cases"]
        if case.get("amountOut") == "0" and vector["kind"] != "token2022_fee"
    ]
    assert len(for_nothing) > 30
    for pool, case in for_nothing:
        assert isinstance(pool, DlmmPool)
        a_to_b = case["side"] == "a_to_b"
        walked = _walk_exact_in(pool, int(case["amount"]), a_to_b=a_to_b)
        assert walked is not None
        assert walked.amount_out == 0
        with pytest.raises(QuoteError, match="pay nothing"):
            pool.quote_exact_in(int(case["amount"]), a_to_b=a_to_b)


def test_a_copy_of_the_sdk_quotes_bins_whose_input_does_not_fit_a_u64() -> None:
    """The program casts what would empty a bin to a u64 before it looks at the amount (its error 6019)."""
    blocked = [
        (quotable(PROGRAM, vector), case)
        for vector in VECTORS
        for case in vector["cases"]
        if "Custom(6019)" in case["program"].get("err", "")
    ]
    assert len(blocked) == 2
    for pool, case in blocked:
        assert isinstance(pool, DlmmPool)
        a_to_b = case["side"] == "a_to_b"
        walked = _walk_exact_in(pool, int(case["amount"]), a_to_b=a_to_b)
        assert walked is not None
        assert walked.amount_out == int(case["amountOut"])
        with pytest.raises(QuoteError, match="does not fit a u64"):
            pool.quote_exact_in(int(case["amount"]), a_to_b=a_to_b)


@given(pool=pools(), amount=AMOUNTS, a_to_b=st.booleans())
def test_a_swap_never_pays_more_than_the_bins_hold(pool: DlmmPool, amount: int, a_to_b: bool) -> None:
    quote = _tried(pool, amount, a_to_b=a_to_b)
    assume(quote is not None)
    assert quote is not None
    held = sum(sum(dlmm_bins.layers(one, a_to_b=a_to_b, orders=pool.orders)) for one in _ahead(pool, a_to_b))
    assert 0 < quote.amount_out + quote.out_transfer_fee + quote.fee_out <= held
    assert quote.amount_in == amount
    assert 0 <= quote.protocol_fee <= quote.fee_in + quote.fee_out


@given(pool=pools(mint_fees=False), amounts=st.tuples(AMOUNTS, AMOUNTS), a_to_b=st.booleans())
def test_who_sends_more_gets_no_less(pool: DlmmPool, amounts: tuple[int, int], a_to_b: bool) -> None:
    less, more = (_tried(pool, amount, a_to_b=a_to_b) for amount in sorted(amounts))
    if less and more:
        assert less.amount_out <= more.amount_out


@given(pool=pools(), amount=AMOUNTS, a_to_b=st.booleans())
def test_what_an_exact_output_asks_for_buys_at_least_that_output(
    pool: DlmmPool, amount: int, a_to_b: bool
) -> None:
    try:
        quote = pool.quote_exact_out(amount, a_to_b=a_to_b)
    except QuoteError:
        return
    sent = pool.quote_exact_in(quote.amount_in, a_to_b=a_to_b)
    assert quote.amount_out >= amount
    assert sent.amount_out >= amount
    if pool.transfer_fee_a is None and pool.transfer_fee_b is None:
        assert quote.amount_out == amount
        assert sent.amount_out == amount + quote.surplus_out


@given(pool=pools(), amount=AMOUNTS, a_to_b=st.booleans(), exact_in=st.booleans())
def test_a_swap_neither_makes_nor_loses_money(
    pool: DlmmPool, amount: int, a_to_b: bool, exact_in: bool
) -> None:
    """What the vaults gain or pay is in the bins or the fees, or waits for order placers or the protocol."""
    try:
        quote = (pool.quote_exact_in if exact_in else pool.quote_exact_out)(amount, a_to_b=a_to_b)
    except QuoteError:
        return
    after = pool.after(quote)
    gained, paid = after.reserve_a - pool.reserve_a, pool.reserve_b - after.reserve_b
    if not a_to_b:
        gained, paid = after.reserve_b - pool.reserve_b, pool.reserve_a - after.reserve_a
    into_bins, from_bins, from_orders = _moved(pool, after, a_to_b)
    assert gained == quote.amount_in - quote.in_transfer_fee
    assert paid == quote.amount_out + quote.out_transfer_fee
    assert from_bins + from_orders == paid + quote.fee_out + quote.surplus_out
    for_placers = gained - quote.fee_in - into_bins
    assert for_placers > 0 if from_orders else for_placers >= 0
    assert (after.active_id <= pool.active_id) if a_to_b else (after.active_id >= pool.active_id)


def _moved(before: DlmmPool, after: DlmmPool, a_to_b: bool) -> tuple[int, int, int]:
    changes_a = sum(new.amount_a - old.amount_a for old, new in zip(before.bins, after.bins, strict=True))
    changes_b = sum(new.amount_b - old.amount_b for old, new in zip(before.bins, after.bins, strict=True))
    orders = sum(
        old.processed_orders + old.open_orders - new.processed_orders - new.open_orders
        for old, new in zip(before.bins, after.bins, strict=True)
    )
    return (changes_a, -changes_b, orders) if a_to_b else (changes_b, -changes_a, orders)


def test_the_next_swap_pays_for_the_volatility_of_the_last() -> None:
    """A swap across bins raises the fee of those that follow at once, less so later, and at last no more."""
    fees = DlmmFees(100, 2_000, 0, 120_000, 350_000, 30, 600, 5_000, 500)
    bins = tuple(Bin(bin_id, dlmm_bins.price_at(bin_id, 100), 10**6, 10**6) for bin_id in range(-9, 1))
    pool = DlmmPool(fees, Volatility(0, 0, 0, 0), 0, bins, 10**9, 10**9, unix_time=10_000)
    calm = pool.quote_exact_in(1_000, a_to_b=True)
    crossed = pool.after(pool.quote_exact_in(5 * 10**6, a_to_b=True))
    assert crossed.volatility == Volatility(40_000, 0, 0, 10_000)
    assert crossed.active_id == -4
    costs = [
        replace(crossed, unix_time=10_000 + later).quote_exact_in(1_000, a_to_b=True).fee_in
        for later in (29, 30, 599, 600)
    ]
    assert costs[0] > costs[1] == costs[2] > costs[3] == calm.fee_in


def test_the_volatilitys_references_move_with_the_clock() -> None:
    fees = DlmmFees(1, 1, 0, 0, 0, 30, 600, 5_000, 0)
    remembered = Volatility(100_000, 7, 3, 1_000)
    for elapsed, reference, index in (
        (-5, 7, 3),
        (29, 7, 3),
        (30, 50_000, 9),
        (599, 50_000, 9),
        (600, 0, 9),
    ):
        found = dlmm_bins.references(fees, remembered, 9, 1_000 + elapsed)
        assert found == (reference, index), f"after {elapsed} s"


def test_the_fee_stops_at_a_tenth() -> None:
    fees = DlmmFees(400, 60_000, 3, 2**32 - 1, 2**32 - 1, 30, 600, 5_000, 2_500)
    assert dlmm_bins.fee_rate(fees, 2**32 - 1) == RATE // 10


def test_prices_equal_those_the_program_wrote_into_the_bins() -> None:
    seen = 0
    for vector in VECTORS:
        pool = meteora_dlmm.quotable(address_of(vector), accounts_of(vector), time_of(vector))
        for held in pool.bins:
            assert dlmm_bins.price_at(held.bin_id, pool.fees.bin_step) == held.price
            seen += 1
    assert seen > 1_000


def test_the_spot_price_is_the_active_bins() -> None:
    pool = quotable(PROGRAM, VECTORS[0])
    assert isinstance(pool, DlmmPool)
    assert pool.spot_price() == (dlmm_bins.price_at(-74, 100), 2**64)
    with pytest.raises(QuoteError, match="no price"):
        dlmm_bins.price_at(443_636, 400)


def test_a_pool_without_bins_refuses_in_a_sentence() -> None:
    full = quotable(PROGRAM, VECTORS[0])
    assert isinstance(full, DlmmPool)
    empty = DlmmPool(full.fees, full.volatility, 0, (), 0, 0, 0)
    with pytest.raises(QuoteError, match="bins are empty"):
        empty.spot_price()
    for a_to_b in (True, False):
        with pytest.raises(QuoteError, match="takes in 0, and 5 was asked for; no liquidity was read"):
            empty.quote_exact_in(5, a_to_b=a_to_b)
        with pytest.raises(QuoteError, match="pays 0, and 5 was asked for"):
            empty.quote_exact_out(5, a_to_b=a_to_b)


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1])
def test_amounts_that_are_no_u64_are_refused(amount: int) -> None:
    pool = quotable(PROGRAM, VECTORS[0])
    for mode in ("exact_in", "exact_out"):
        assert quoted(pool, {"mode": mode, "amount": amount}, a_to_b=True) is None


def test_a_vault_that_holds_less_than_the_bins_say_stops_the_swap() -> None:
    """Bins and vault read at different slots, or a pool that was drained: the transfer would fail."""
    pool = quotable(PROGRAM, VECTORS[0])
    assert isinstance(pool, DlmmPool)
    poor = DlmmPool(pool.fees, pool.volatility, pool.active_id, pool.bins, 10, 10, pool.unix_time)
    with pytest.raises(QuoteError, match="more than the 10 in the vault"):
        poor.quote_exact_in(10**6, a_to_b=True)
