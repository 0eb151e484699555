"""The views for people: what somebody builds on them survives a rebuild, or is named and left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from builders import random_history
from list_log import ListLog
from totals import FIRST, SECOND, TOPICS, keys, raised

from adapters.postgres.read_store import PostgresReadStore
from domain.errors import ProjectionError
from projections.ports import FoldEvent, Rows, State, Table
from projections.read_model import ReadModel, Step, columns
from projections.rebuild import rebuild
from projections.runner import ProjectionRunner

LOG = ListLog(random_history(35, 10).events)
FEWER = Table("totals", columns(name="text"), key=("name",))


def named(rows: Rows, _event: FoldEvent) -> None:
    for name in ("all", "half"):
        rows.put("totals", (name,), {"name": name})


NARROW = ReadModel("totals", 2, (FEWER,), dict.fromkeys(TOPICS, Step(keys, named)), halts_on_poison=True)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    async with asyncpg.create_pool(database, min_size=1, max_size=5) as opened:
        yield opened


@pytest.fixture
async def store(pool: asyncpg.Pool[asyncpg.Record]) -> PostgresReadStore:
    """With the read model folded, and somebody's own view over the one for people."""
    store = PostgresReadStore(pool)
    await ProjectionRunner(FIRST, LOG, store).catch_up()
    await pool.execute("create view my_report as select name, events from rm_totals.totals")
    return store


async def test_somebodys_view_shows_the_new_generation(
    pool: asyncpg.Pool[asyncpg.Record], store: PostgresReadStore
) -> None:
    """The same columns, or more behind them: the view under it is replaced, and keeps its grants."""
    rights = "select relacl::text from pg_class where oid = 'rm_totals.totals'::regclass"
    await pool.execute("grant select on rm_totals.totals to public")
    before, granted = await pool.fetch("select * from my_report order by name"), await pool.fetchval(rights)
    await rebuild(FIRST, LOG, store)
    await rebuild(SECOND, LOG, store)
    for old in await store.generations("totals"):
        assert await store.drop(old) == (old.state is State.OLD)
    assert len(before) == 2
    assert await pool.fetch("select * from my_report order by name") == before
    assert await pool.fetchval("select count(last) from rm_totals.totals") == 2
    assert await pool.fetchval(rights) == granted


async def test_one_that_a_new_version_would_break_is_named_and_left_alone(
    pool: asyncpg.Pool[asyncpg.Record], store: PostgresReadStore
) -> None:
    """The old one answers on; once the view is gone the next rebuild goes through."""
    with pytest.raises(ProjectionError, match=r"view my_report depends on view rm_totals\.totals"):
        await rebuild(NARROW, LOG, store)
    assert await pool.fetchval("select count(events) from my_report") == 2
    live, failed = await store.generations("totals")
    assert (live.version, live.state, failed.state) == (1, State.LIVE, State.FAILED)
    await pool.execute("drop view my_report")
    await rebuild(NARROW, LOG, store)
    shown = await pool.fetch("select * from rm_totals.totals order by name")
    assert [dict(row) for row in shown] == [{"name": "all"}, {"name": "half"}]


async def test_a_generation_that_somebodys_view_reads_is_not_dropped(
    pool: asyncpg.Pool[asyncpg.Record], store: PostgresReadStore
) -> None:
    await pool.execute("create view mine as select count(*) from rm_totals_v1_g1.totals")
    await rebuild(raised(FIRST, 2), LOG, store)
    old, _ = await store.generations("totals")
    with pytest.raises(ProjectionError, match=r"view mine depends on table rm_totals_v1_g1\.totals"):
        await store.drop(old)
    assert await pool.fetchval("select * from mine") == 2
    assert old in await store.generations("totals")
    await pool.execute("drop view mine")
    assert await store.drop(old)
