"""The laws of every read model: how, when and where the log is folded makes no difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from builders import History, Story, random_history
from hypothesis import given, settings
from hypothesis import strategies as st
from list_log import ListLog
from running import run_until_halted

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.read_store import open_read_store
from domain.events import RecordedEvent
from projections import opportunities, pnl, stories, trade_history, wallet_balances
from projections.ports import ReadStore, Row
from projections.read_model import ReadModel
from projections.runner import ProjectionRunner

MODELS = [module.READ_MODEL for module in (wallet_balances, pnl, trade_history, opportunities, stories)]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


async def tables(store: ReadStore, model: ReadModel) -> dict[str, list[Row]]:
    """Everything a read model holds, in the order of its keys."""
    return {
        table.name: (
            await store.select(
                model, table.name, order_by=[(name, False) for name in table.key], limit=100_000
            )
        ).rows
        for table in model.tables
    }


async def fold_in_batches(
    model: ReadModel, events: Sequence[RecordedEvent], cuts: Sequence[int]
) -> dict[str, list[Row]]:
    """The tables after folding the log as it grows, a new runner for each piece."""
    store = MemoryReadStore()
    for cut in sorted({*cuts, len(events)}):
        await ProjectionRunner(model, ListLog(events[:cut]), store).catch_up()
    return await tables(store, model)


@st.composite
def histories_and_cuts(draw: st.DrawFn) -> tuple[list[RecordedEvent], list[int]]:
    events = random_history(draw(st.integers(0, 10_000)), draw(st.integers(1, 8))).events
    return events, draw(st.lists(st.integers(0, len(events)), max_size=6))


@each_model
@given(history=histories_and_cuts())
@settings(max_examples=25, deadline=None)
async def test_folding_two_batches_is_folding_one(
    model: ReadModel, history: tuple[list[RecordedEvent], list[int]]
) -> None:
    """fold(a + b) = fold(fold(a), b), for any cut."""
    events, cuts = history
    assert await fold_in_batches(model, events, cuts) == await fold_in_batches(model, events, [])


@each_model
async def test_postgresql_and_memory_hold_the_same_rows(model: ReadModel, database: str) -> None:
    """In PostgreSQL with small batches, in memory with one: row for row the same, and so is a rebuild."""
    events = random_history(11, 60).events
    async with open_read_store(database, connections=2) as stored:
        for cut in range(0, len(events), 100):
            await ProjectionRunner(model, ListLog(events[:cut]), stored, batch=37).catch_up()
        await ProjectionRunner(model, ListLog(events), stored, batch=37).catch_up()
        in_postgres = await tables(stored, model)
        again = ReadModel(model.name, 99, model.tables, model.steps, halts_on_poison=True)
        await ProjectionRunner(again, ListLog(events), stored).catch_up()
        assert await tables(stored, again) == in_postgres
    assert await fold_in_batches(model, events, []) == in_postgres


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
async def test_no_lamport_is_made_or_lost(seed: int, count: int) -> None:
    """What the wallet gained since its deposit is what the orders realised; the counts add up."""
    events, store = random_history(seed, count).events, MemoryReadStore()
    for model in (wallet_balances.READ_MODEL, pnl.READ_MODEL, trade_history.READ_MODEL):
        await ProjectionRunner(model, ListLog(events), store).catch_up()
    held = (await wallet_balances.wallet_balances(store)).balances
    overall = (await pnl.pnl(store)).overall
    trades = (await trade_history.trades(store, trade_history.TradeFilter(), first=500)).items
    lamports = sum(holding.balance for holding in held if holding.mint != str(_USDC))
    assert lamports - 20 * 10**9 == overall.realised_lamports
    assert overall.realised_lamports == sum(t.realised_profit_lamports or 0 for t in trades)
    assert overall.gross_lamports - overall.fee_lamports - overall.tip_lamports == overall.realised_lamports
    assert overall.residuals.get(_USDC, 0) == sum(h.balance for h in held if h.mint == _USDC)
    counts = (await trade_history.trade_counts(store)).by_status
    assert {name: n for name, n in counts.items() if n} == _counted(trade.status.value for trade in trades)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
async def test_days_and_totals_tell_the_same_sum(seed: int) -> None:
    store = MemoryReadStore()
    await ProjectionRunner(pnl.READ_MODEL, ListLog(random_history(seed, 10).events), store).catch_up()
    by_day = await pnl.pnl(store, by=pnl.Grouping.DAY)
    total = await pnl.pnl(store, by=pnl.Grouping.TOTAL)
    assert by_day.overall == total.overall
    assert sum(day.realised_lamports for day in by_day.results) == total.overall.realised_lamports
    assert sum(line.landed for line in total.results) == total.overall.landed


async def test_an_order_nobody_placed_halts_the_money() -> None:
    """A booking without its order is a contradiction, not a number."""
    history = History()
    history.open_wallet()
    Story(history, "lost").found().placed().signed().landed()
    without = [event for event in history.events if event.topic != "order.placed"]
    renumbered = [_at(event, position) for position, event in enumerate(without, 1)]
    runner = ProjectionRunner(pnl.READ_MODEL, ListLog(renumbered), MemoryReadStore())
    await run_until_halted(runner)
    assert "which no earlier event put into 'orders'" in (runner.status.error or "")


def _at(event: RecordedEvent, position: int) -> RecordedEvent:
    return event._replace(position=position)


def _counted(names: Any) -> dict[str, int]:  # noqa: ANN401 - any iterable of names
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


_USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
