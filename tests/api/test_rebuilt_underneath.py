"""Whoever asks over GraphQL does not notice that the read models behind it are rebuilt and swapped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from api_client import Client, client_of
from builders import random_history
from list_log import ListLog

from adapters.postgres.read_store import PostgresReadStore, open_read_store
from projections import pnl, trade_history
from projections.ports import FoldEvent, Rows, State
from projections.read_model import ReadModel, Step
from projections.rebuild import rebuild

LEAST = 5
"""Questions of each asker that must have met a rebuild for the test to have shown anything."""

LOG = ListLog(random_history(61, 40).events)
QUERY = """{
    trades(first: 500) { nodes { id status expectedProfitLamports realisedProfitLamports } asOfPosition }
    pnl(by: DAY) { results { day landed realisedLamports } overall { landed } asOfPosition }
}"""


def _one_more() -> ReadModel:
    """A version of the trade history that shows every expected profit a lamport larger."""
    model = trade_history.READ_MODEL
    placed = model.steps["order.placed"]

    def fold(rows: Rows, event: FoldEvent) -> None:
        placed.fold(rows, event)
        for (table, _), row in rows.changed.items():
            if table == "trades" and row["placed_position"] == event.position:
                row["expected_profit_lamports"] += 1

    steps = {**model.steps, "order.placed": Step(placed.keys, fold, placed.facts, placed.makes)}
    return ReadModel(model.name, model.version + 1, model.tables, steps, model.halts_on_poison)


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresReadStore]:
    async with open_read_store(database) as opened:
        yield opened


async def _asked(ask: Client, before: dict[str, Any], stop: asyncio.Event) -> list[dict[str, Any]]:
    """Ask until told to stop, and once more; every answer that is another than the one before it."""
    answers, asked, last = [before], 0, False
    while not last:
        last = stop.is_set()
        answer = await ask.data(QUERY)
        asked += 1
        if answer != answers[-1]:
            answers.append(answer)
    assert asked > LEAST
    return answers


async def _rebuilt(store: PostgresReadStore) -> None:
    """Both read models anew and anew, the last time one of them by a new version; the last old ones stay."""
    for history in (trade_history.READ_MODEL, trade_history.READ_MODEL, _one_more()):
        for old in await store.generations():
            if old.state is State.OLD:
                assert await store.drop(old)
        await asyncio.gather(*(rebuild(model, LOG, store, batch=10) for model in (history, pnl.READ_MODEL)))


async def test_answers_are_old_or_new_and_never_an_error(store: PostgresReadStore) -> None:
    async with client_of(LOG, store) as ask:
        before, stop = await ask.data(QUERY), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            askers = [group.create_task(_asked(ask, before, stop)) for _ in range(2)]
            await _rebuilt(store)
            stop.set()
        after = await ask.data(QUERY)
    expected = [{**node, "expectedProfitLamports": _plus_one(node)} for node in before["trades"]["nodes"]]
    assert len(expected) > 20
    assert after == {**before, "trades": {**before["trades"], "nodes": expected}}
    assert [asker.result() for asker in askers] == [[before, after]] * 2


def _plus_one(node: dict[str, Any]) -> str:
    return str(int(node["expectedProfitLamports"]) + 1)
