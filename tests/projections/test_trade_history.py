"""An order's row tells its whole life, whichever way it went."""

from __future__ import annotations

import pytest
from builders import History, Story
from list_log import ListLog

from adapters.memory.read_store import MemoryReadStore
from projections import trade_history
from projections.runner import ProjectionRunner
from projections.trade_history import Trade, TradeCounts, TradeStatus


@pytest.fixture
def story() -> Story:
    history = History()
    history.open_wallet()
    return Story(history, "one").found()


async def told(story: Story) -> tuple[Trade, TradeCounts]:
    store = MemoryReadStore()
    await ProjectionRunner(trade_history.READ_MODEL, ListLog(story.history.events), store).catch_up()
    found, position = await trade_history.trade(store, story.order_id)
    assert found is not None
    assert position == len(story.history.events)
    return found, await trade_history.trade_counts(store)


async def test_it_is_placed_with_what_it_intends(story: Story) -> None:
    trade, counts = await told(story.placed())
    assert (trade.status, trade.attempts, trade.signature) == (TradeStatus.PLACED, 0, None)
    assert trade.legs == story.legs
    assert trade.opportunity_id == story.opportunity_id
    assert trade.seen_at == story.seen.recorded_at
    assert counts.by_status == {"placed": 1}


async def test_a_resend_counts_but_the_first_send_keeps_its_time(story: Story) -> None:
    trade, _ = await told(story.placed().signed().submitted())
    again, _ = await told(story.submitted(2))
    assert (again.sends, again.status) == (2, TradeStatus.SUBMITTED)
    assert again.submitted_at == trade.submitted_at


async def test_a_resend_after_the_first_sight_leaves_it_observed(story: Story) -> None:
    trade, _ = await told(story.placed().signed().submitted().observed().submitted(2))
    assert (trade.status, trade.sends) == (TradeStatus.OBSERVED, 2)


async def test_detection_to_landing_ends_at_the_first_sight(story: Story) -> None:
    """A later, surer sight of the same transaction does not make it slower."""
    seen, _ = await told(story.placed().signed().submitted().observed())
    landed, counts = await told(story.observed().landed())
    assert seen.detect_to_land_us == landed.detect_to_land_us
    assert landed.detect_to_land_us == (landed.observed_at or 0) - landed.seen_at
    assert (landed.landed_at or 0) > (landed.observed_at or 0)
    assert (counts.latency, counts.latency_sum_us) == ({100_000: 1}, landed.detect_to_land_us)


async def test_a_rolled_back_sight_counts_for_nothing(story: Story) -> None:
    back, _ = await told(story.placed().signed().submitted().observed().rolled_back())
    assert (back.status, back.slot, back.observed_at, back.detect_to_land_us) == (
        TradeStatus.SIGNED,
        None,
        None,
        None,
    )
    landed, counts = await told(story.observed().landed())
    assert landed.detect_to_land_us == (landed.observed_at or 0) - landed.seen_at
    assert {name: n for name, n in counts.by_status.items() if n} == {"landed": 1}


async def test_an_expired_attempt_is_followed_by_the_next(story: Story) -> None:
    expired, _ = await told(story.placed().signed().submitted().expired())
    assert expired.status is TradeStatus.EXPIRED
    signed, _ = await told(story.signed())
    assert (signed.status, signed.attempts) == (TradeStatus.SIGNED, 2)
    assert signed.signature == story.signature != expired.signature
    assert signed.submitted_at is None


async def test_a_failed_order_costs_its_fee_and_says_why(story: Story) -> None:
    trade, counts = await told(story.placed().signed().submitted().observed("0x1775").failed("0x1775"))
    assert (trade.status, trade.error, trade.fee_lamports) == (TradeStatus.FAILED, "0x1775", 6_000)
    assert trade.realised_profit_lamports == -6_000
    assert trade.detect_to_land_us is None
    assert trade.closed_at is not None
    assert counts.latency == {}


async def test_an_abandoned_order_says_why_and_has_no_result(story: Story) -> None:
    trade, _ = await told(story.placed().abandoned())
    assert (trade.status, trade.error) == (
        TradeStatus.ABANDONED,
        "no_longer_profitable: the price moved away",
    )
    assert trade.realised_profit_lamports is None
    assert trade.closed_at is not None
