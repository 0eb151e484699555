"""What only the read store in PostgreSQL can show: its tables, plans and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from builders import random_history
from list_log import ListLog
from waiting import until

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres import read_sql
from adapters.postgres.read_store import PostgresReadStore
from domain.errors import InvalidInput, ReadStoreUnavailable
from projections import pnl, trade_history, wallet_balances
from projections.ports import Condition, table_of
from projections.runner import ProjectionRunner


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as opened:
        yield opened


async def test_each_generation_has_a_schema_of_its_own_and_people_have_views(
    pool: asyncpg.Pool[asyncpg.Record],
) -> None:
    store = PostgresReadStore(pool)
    await store.prepare(pnl.READ_MODEL)
    await store.prepare(wallet_balances.READ_MODEL)
    schemas = await pool.fetch("select nspname from pg_namespace where nspname like 'rm\\_%' order by 1")
    assert [row["nspname"] for row in schemas] == [
        "rm_pnl",
        f"rm_pnl_v{pnl.VERSION}_g1",
        "rm_wallet_balances",
        f"rm_wallet_balances_v{wallet_balances.VERSION}_g1",
    ]
    assert await pool.fetch("select * from rm_pnl.daily") == []


async def test_many_processes_may_prepare_at_once(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    stores = [PostgresReadStore(pool) for _ in range(4)]
    prepared = await asyncio.gather(*(store.prepare(pnl.READ_MODEL) for store in stores))
    assert [(live.number, live.checkpoint) for live in prepared] == [(1, 0)] * 4


async def test_a_deep_page_reads_no_more_than_the_first(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """The keyset does not walk: behind a deep cursor, with an upper bound beside it, few buffers are read."""
    store = PostgresReadStore(pool)
    model, table = trade_history.READ_MODEL, table_of(trade_history.READ_MODEL, "trades")
    await ProjectionRunner(model, ListLog(random_history(5, 40).events), store).catch_up()
    (live,) = await store.generations(model.name)
    trades = read_sql.qualified(live, table)
    sample = (await store.select(model, "trades", limit=1)).rows[0]
    names = ", ".join(f'"{c.name}"' for c in table.columns if c.name not in ("order_id", "placed_at"))
    await pool.execute(
        f"insert into {trades} (order_id, placed_at, {names}) "  # noqa: S608 - our own names
        f"select 'copy-' || n, n, {names} from {trades}, generate_series(1, 20000) n "
        "where order_id = $1",
        sample["order_id"],
    )
    await pool.execute(f"vacuum analyze {trades}")
    text, parameters = read_sql.select(
        live,
        table,
        [Condition("strategy", "=", sample["strategy"]), Condition("placed_at", "<", 19_000)],
        [("placed_at", True), ("placed_position", True)],
        51,
        {"placed_at": 1_000, "placed_position": 10**9},
    )
    plan = await pool.fetchval(f"explain (analyze, buffers, format json) {text}", *parameters)
    buffers = int(plan.split('"Shared Hit Blocks": ')[1].split(",")[0])
    assert buffers < 60, plan


async def test_a_number_that_does_not_fit_is_the_askers_mistake(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    store = PostgresReadStore(pool)
    await store.prepare(trade_history.READ_MODEL)
    with pytest.raises(InvalidInput, match="trade_history"):
        await store.select(trade_history.READ_MODEL, "trades", where=[Condition("slot", "=", 2**70)])


async def test_a_server_that_is_away_is_named(database: str) -> None:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=1)
    await pool.close()
    with pytest.raises(ReadStoreUnavailable, match="PostgreSQL did not answer"):
        await PostgresReadStore(pool).checkpoint("pnl")


async def test_a_runner_survives_connections_cut_under_it(
    pool: asyncpg.Pool[asyncpg.Record], database: str
) -> None:
    """Cut again and again while it folds: it waits, goes on, and every event still counts once."""
    events = random_history(9, 60).events
    log = ListLog(events[:50])
    runner = ProjectionRunner(trade_history.READ_MODEL, log, PostgresReadStore(pool), batch=20, idle_s=0.02)
    running = asyncio.create_task(runner.run())
    knife = await asyncpg.connect(database)
    try:
        for end in range(50, len(events) + 50, 50):
            await knife.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
            log.grow(events[len(log.events) : end])
        await until(lambda: runner.status.checkpoint == len(events))
    finally:
        await knife.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    again = MemoryReadStore()
    await ProjectionRunner(trade_history.READ_MODEL, ListLog(events), again).catch_up()
    everything = trade_history.TradeFilter()
    assert await trade_history.trades(PostgresReadStore(pool), everything, first=500) == (
        await trade_history.trades(again, everything, first=500)
    )
