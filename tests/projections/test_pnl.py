"""Profit and loss to the lamport: by order, by day, in total, with nothing left out."""

from __future__ import annotations

import pytest
from builders import START_US, WALLET, History, Story, landed_trade
from list_log import ListLog

from adapters.memory.read_store import MemoryReadStore
from domain.chain import NATIVE, USDC
from domain.errors import InvalidInput
from domain.wallets.events import Posting
from projections import pnl
from projections.pnl import Grouping, Pnl
from projections.runner import ProjectionRunner

DAY_US = 86_400_000_000


@pytest.fixture
def history() -> History:
    history = History()
    history.open_wallet()
    return history


async def store_of(history: History) -> MemoryReadStore:
    store = MemoryReadStore()
    await ProjectionRunner(pnl.READ_MODEL, ListLog(history.events), store).catch_up()
    return store


async def by_day(history: History) -> Pnl:
    return await pnl.pnl(await store_of(history), by=Grouping.DAY)


async def test_a_landed_trade_earns_gross_less_fee_less_tip(history: History) -> None:
    landed_trade(history, "one", profit_lamports=50_000)
    (result,) = (await by_day(history)).results
    assert (result.gross_lamports, result.fee_lamports, result.tip_lamports) == (50_000, 6_000, 2_000)
    assert result.realised_lamports == 42_000
    assert (result.landed, result.wins, result.failed) == (1, 1, 0)
    assert result.residuals == {USDC: 3}


async def test_a_trade_whose_costs_eat_its_profit_is_no_win(history: History) -> None:
    landed_trade(history, "one", profit_lamports=8_000)
    (result,) = (await by_day(history)).results
    assert (result.landed, result.wins, result.realised_lamports) == (1, 0, 0)


async def test_a_failed_order_loses_its_fee(history: History) -> None:
    Story(history, "one").found().placed().signed().failed()
    (result,) = (await by_day(history)).results
    assert (result.failed, result.landed, result.realised_lamports) == (1, 0, -6_000)
    assert result.gross_lamports == 0


async def test_deposits_and_open_orders_are_no_profit(history: History) -> None:
    Story(history, "one").found().placed().signed().submitted().observed()
    answer = await by_day(history)
    assert answer.results == ()
    assert answer.overall.realised_lamports == 0


async def test_days_end_at_midnight_utc_and_come_newest_first(history: History) -> None:
    history.now = START_US + DAY_US - 30_000_000
    landed_trade(history, "before")
    history.now = START_US + DAY_US
    landed_trade(history, "after")
    answer = await by_day(history)
    assert [result.day for result in answer.results] == ["2026-01-02", "2026-01-01"]
    assert answer.overall.landed == 2


async def test_strategies_and_days_can_be_asked_for(history: History) -> None:
    landed_trade(history, "one", strategy="a")
    landed_trade(history, "two", strategy="b")
    store = await store_of(history)
    assert (await pnl.pnl(store, strategy="a")).overall.landed == 1
    assert (await pnl.pnl(store, wallet=WALLET)).overall.landed == 2
    assert (await pnl.pnl(store, first_day="2026-01-02")).overall.landed == 0
    assert [result.strategy for result in (await pnl.pnl(store)).results] == ["a", "b"]


async def test_an_answer_over_too_many_days_is_refused(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pnl, "MAX_DAYS", 1)
    landed_trade(history, "one", strategy="a")
    landed_trade(history, "two", strategy="b")
    with pytest.raises(InvalidInput, match="narrow it"):
        await pnl.pnl(await store_of(history))


async def test_a_fee_that_no_order_paid_is_no_result(history: History) -> None:
    """Booked by hand, or for an anchor on the chain: it says nothing of trading, and halts nothing."""
    cause = history.market()
    lines = [Posting(f"wallet:{WALLET}", NATIVE, -5_000), Posting("fees:network", NATIVE, 5_000)]
    history.transfer(cause, WALLET, "fee", "", lines)
    assert (await by_day(history)).results == ()
