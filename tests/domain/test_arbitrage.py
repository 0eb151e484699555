"""What the planner decides: a profit after every cost, floors under every leg, and nothing twice."""

from __future__ import annotations

import pytest
from given import (
    POOL_A,
    POOL_B,
    SOL,
    a_strategy,
    a_wallet,
    an_opportunity,
    an_order,
    limits,
    moved,
    parameters,
    pool,
    recorded,
    signed,
    swapped,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.chain import NATIVE, USDC, WSOL, Commitment, Signature, Slot
from domain.errors import InvalidInput, InvariantBroken
from domain.market.events import PoolUpdated
from domain.market.pools import PoolBook, curve
from domain.money import Lamports
from domain.refusal import Refusal
from domain.strategies.arbitrage import Finding, costs_of, decide
from domain.strategies.outlook import Outlook
from domain.strategies.strategy import Strategy
from domain.trading.opportunity import Opportunity, opportunity_stream, staleness
from domain.trading.order import REFUSED, Order
from domain.trading.risk import MAX_LOSS, Exposure, allow, still_wanted

DEAR = 165_000_000_000


def _book(*pools: PoolUpdated) -> PoolBook:
    book = PoolBook()
    for each in pools:
        book.fold(each)
    return book


def _found(*pools: PoolUpdated) -> Finding:
    finding = decide(parameters(), _book(*pools), 100 * SOL)
    assert finding is not None
    return finding


def test_profit_is_after_every_cost() -> None:
    """Output less input less base fee, priority fee (rounded up) and tip."""
    finding = _found(pool(), pool(POOL_B, usdc=DEAR))
    first, last = finding.legs
    assert first.mint_in == last.mint_out == WSOL
    assert finding.costs.total_lamports == 5_000 + 200 + 1_000
    assert finding.expected_profit_lamports == last.quoted_amount_out - first.amount_in - 6_200
    assert costs_of(parameters(compute_unit_price_micro_lamports=1)).priority_fee_lamports == 1


def test_a_landed_trade_never_loses() -> None:
    """Leg 1 must cover leg 2's input exactly; leg 2 must give back input, costs and half the profit."""
    finding = _found(pool(), pool(POOL_B, usdc=DEAR))
    first, last = finding.legs
    assert first.min_amount_out == first.quoted_amount_out == last.amount_in
    assert (
        last.min_amount_out
        == first.amount_in + finding.costs.total_lamports + finding.expected_profit_lamports // 2
    )


def test_too_little_profit_is_left_alone() -> None:
    """The same pools, a higher bar."""
    book = _book(pool(), pool(POOL_B, usdc=DEAR))
    assert decide(parameters(min_profit_lamports=Lamports(10**15)), book, 100 * SOL) is None


@pytest.mark.parametrize(
    "other",
    [pool(POOL_B, usdc=DEAR, is_open=False), pool(POOL_B, usdc=0)],
    ids=["closed", "empty"],
)
def test_pools_that_cannot_be_traded_are_passed_over(other: PoolUpdated) -> None:
    assert decide(parameters(), _book(pool(), other), 100 * SOL) is None


def test_a_quiet_pool_is_as_good_as_new_until_sight_is_lost() -> None:
    """A state stays good however many slots pass; after a gap it must be read again."""
    book = _book(pool(slot=1), pool(POOL_B, usdc=DEAR, slot=1_000))
    assert decide(parameters(), book, 100 * SOL) is not None
    book.lose_sight()
    assert decide(parameters(), book, 100 * SOL) is None
    book.fold(pool(POOL_B, usdc=DEAR, slot=1_001))
    assert decide(parameters(), book, 100 * SOL) is None
    book.fold(pool(slot=1_001))
    assert decide(parameters(), book, 100 * SOL) is not None


def test_an_older_reading_changes_nothing() -> None:
    book = _book(pool(slot=100))
    assert not book.fold(pool(slot=99, usdc=1))
    assert book.get(POOL_A) == pool(slot=100)


@settings(max_examples=100, deadline=None)
@given(st.integers(10**8, 10**13), st.integers(10**8, 10**13), st.integers(0, 60 * SOL))
def test_money_is_never_lost_by_what_is_decided(usdc_a: int, usdc_b: int, available: int) -> None:
    """Whatever the pools: executed on the very states it was decided on, it pays what it promised."""
    one, other = pool(usdc=usdc_a), pool(POOL_B, usdc=usdc_b)
    finding = decide(parameters(), _book(one, other), available)
    if finding is None:
        return
    amount = finding.legs[0].amount_in
    assert 0 < amount <= min(available, parameters().max_input)
    for leg, state in zip(finding.legs, finding.pools, strict=True):
        assert amount == leg.amount_in
        amount = swapped(curve(state), amount, a_to_b=leg.mint_in == state.mint_a)
        assert amount >= leg.min_amount_out
    gained = amount - finding.legs[0].amount_in - finding.costs.total_lamports
    assert gained == finding.expected_profit_lamports >= 10_000


def _outlook() -> Outlook:
    outlook = Outlook()
    position = 0
    for stream, events in (
        ("strategy-one", a_strategy().collect_events()),
        ("wallet", a_wallet().collect_events()),
        ("pool-a", [pool()]),
        ("pool-b", [pool(POOL_B, usdc=DEAR)]),
    ):
        for version, event in enumerate(events, 1):
            position += 1
            outlook.fold(recorded(position, stream, version, event))
    return outlook


def _find(outlook: Outlook) -> Finding | None:
    (strategy,) = outlook.running()
    return outlook.find(strategy)


def test_the_same_states_are_decided_once_and_name_their_cause() -> None:
    outlook = _outlook()
    finding = _find(outlook)
    assert finding is not None
    assert outlook.trigger_of(finding).event.pool == POOL_B
    assert _find(outlook) is None
    outlook.fold(recorded(90, "pool-b", 2, pool(POOL_B, usdc=DEAR, slot=101)))
    assert _find(outlook) is not None


def _under_way(outlook: Outlook) -> Order:
    """The opportunity is on record and its order signed; both pools have moved on by a slot."""
    story = (*an_opportunity().collect_events(), *signed(an_order()).collect_events())
    for number, event in enumerate(story):
        outlook.fold(recorded(100 + number, "order", 1, event))
    _move(outlook, 101)
    return signed(an_order())


def _move(outlook: Outlook, slot: int) -> None:
    outlook.fold(recorded(200 + 2 * slot, "pool-a", 1, pool(slot=slot)))
    outlook.fold(recorded(201 + 2 * slot, "pool-b", 1, pool(POOL_B, usdc=DEAR, slot=slot)))


def test_pools_of_a_trade_under_way_are_left_alone_until_it_shows() -> None:
    """Seen in slot 103: states of slot 102 are not decided on, those of slot 103 are."""
    outlook = _outlook()
    order = _under_way(outlook)
    assert _find(outlook) is None
    order.collect_events()
    order.observe(Slot(103), Commitment.PROCESSED, None, at=1)
    outlook.fold(recorded(300, "order", 2, order.collect_events()[0]))
    _move(outlook, 102)
    assert _find(outlook) is None
    _move(outlook, 103)
    assert _find(outlook) is not None


@pytest.mark.parametrize("ending", ["refused", "failed", "declined", "forgotten"])
def test_a_trade_that_came_to_nothing_frees_its_pools(ending: str) -> None:
    outlook = _outlook()
    order = _under_way(outlook)
    order.collect_events()
    opportunity = an_opportunity()
    opportunity.collect_events()
    if ending == "refused":
        order.submit("rpc", f"{REFUSED}slippage", at=1)
    elif ending == "failed":
        order.observe(Slot(102), Commitment.PROCESSED, "slippage", at=1)
    elif ending == "declined":
        opportunity.decline(_refusal(), at=1)
    else:
        _move(outlook, 500)
    for event in (*order.collect_events(), *opportunity.collect_events()):
        outlook.fold(recorded(300, "order", 2, event))
    assert _find(outlook) is not None


def _refusal() -> Refusal:
    refusal = staleness(an_opportunity().found, age_us=5_000_001, newest_slot=Slot(100), max_age_slots=9)
    assert refusal is not None
    return refusal


def test_a_finding_grows_stale_by_the_clock_and_by_slots() -> None:
    found = an_opportunity(slot=100).found
    assert staleness(found, age_us=1, newest_slot=Slot(105), max_age_slots=5) is None
    assert staleness(found, age_us=1, newest_slot=Slot(106), max_age_slots=5) is not None
    assert _refusal().reason == "stale"


def test_an_opportunity_is_declined_once_and_named_by_its_states() -> None:
    opportunity = an_opportunity()
    opportunity.decline(_refusal(), at=1)
    with pytest.raises(InvariantBroken, match="declined before"):
        opportunity.decline(_refusal(), at=2)
    assert isinstance(opportunity, Opportunity)
    assert opportunity_stream("s", (pool(),)) == opportunity_stream("s", (pool(),))
    assert opportunity_stream("s", (pool(),)) != opportunity_stream("s", (pool(slot=101),))


def test_risk_is_asked_in_order() -> None:
    """Stopped, too large, too many open, too much lost."""
    strategy, exposure = a_strategy(), Exposure()
    assert allow(strategy, exposure, 50 * SOL) is None
    assert _reason(strategy, exposure, 50 * SOL + 1) == "order_too_large"
    for name in ("opportunity-1", "opportunity-1", "opportunity-2"):
        exposure.fold(an_order(name).collect_events()[0])
    assert _reason(strategy, exposure, SOL) == "too_many_open_orders"
    _lose(exposure, SOL)
    assert _reason(strategy, exposure, SOL) == MAX_LOSS
    strategy.stop("user", at=9)
    assert _reason(strategy, exposure, SOL) == "strategy_stopped"


def _reason(strategy: Strategy, exposure: Exposure, amount: int) -> str:
    refusal = allow(strategy, exposure, amount)
    assert refusal is not None
    return refusal.reason


def _lose(exposure: Exposure, lamports: int) -> None:
    order = signed(an_order())
    order.fail(Slot(9), "slippage", Lamports(lamports), at=1)
    for event in order.collect_events():
        exposure.fold(event)
    wallet = a_wallet()
    wallet.collect_events()
    wallet.book("fee", Signature("sig-1"), Slot(9), moved(NATIVE, -lamports), 3, order.id)
    for event in wallet.collect_events():
        exposure.fold(event)


def test_what_was_expired_is_asked_again_before_it_is_signed_again() -> None:
    order, strategy, wallet = an_order(), a_strategy(), a_wallet()
    assert still_wanted(order, strategy, wallet, age_us=10, lifetime_us=10) is None
    late = still_wanted(order, strategy, wallet, age_us=11, lifetime_us=10)
    strategy.reconfigure(parameters(), limits(max_order_input=1), at=3)
    large = still_wanted(order, strategy, wallet, age_us=1, lifetime_us=10)
    assert (late and late.reason, large and large.reason) == ("stale", "order_too_large")


def test_a_strategy_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InvalidInput, match="wrapped SOL"):
        a_strategy(parameters=parameters(mint=USDC))
    with pytest.raises(InvalidInput, match="max_open_orders is 0"):
        a_strategy(limits=limits(max_open_orders=0))
