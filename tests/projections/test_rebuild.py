"""A read model built anew: beside the one that answers, compared, swapped in; and nobody notices."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import asyncpg
import pytest
from builders import random_history
from list_log import ListLog
from running import running
from totals import FIRST, SECOND, TOPICS, TOTALS, count, keys, restless
from waiting import until

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from domain.errors import PoisonEvent, ProjectionError
from domain.events import RecordedEvent
from projections import trade_history
from projections.ports import FoldEvent, ReadStore, Rows, State
from projections.read_model import ReadModel, Step
from projections.rebuild import Phase, rebuild
from projections.runner import ProjectionRunner, RunnerState
from projections.verification import verify


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresReadStore]:
    async with open_read_store(database) as opened:
        yield opened


class Gate(ListLog):
    """A log that can be shut: whoever reads waits until it is opened."""

    def __init__(self, events: Collection[RecordedEvent]) -> None:
        super().__init__(list(events))
        self.open = asyncio.Event()
        self.open.set()

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        await self.open.wait()
        return await super().read(after, limit, through=through, topics=topics)


class Watcher:
    """A reader who asks again and again, and checks every answer."""

    def __init__(self, store: ReadStore, model: ReadModel, events: Collection[RecordedEvent]) -> None:
        self.reads = 0
        self.generations: set[str | None] = set()
        self._store, self._model = store, model
        self._wanted = [0]
        for event in events:
            self._wanted.append(self._wanted[-1] + (event.topic in TOPICS))

    async def watch(self, stop: asyncio.Event) -> None:
        """Until told to stop; any answer that is not whole raises."""
        position = 0
        while not stop.is_set():
            found = await self._store.select(self._model, "totals")
            assert found.position >= position, "a reader went back in time"
            position = found.position
            seen = [row["events"] for row in found.rows]
            wanted = self._wanted[position]
            assert seen == ([wanted, wanted] if wanted else []), (seen, position)
            self.generations.update(row.get("last") for row in found.rows)
            self.reads += 1


async def test_nobody_notices_rebuilds_while_the_log_grows(store: PostgresReadStore) -> None:
    """Readers poll through three rebuilds beside a live runner: each answer is whole, and none goes back."""
    events = random_history(31, 120).events
    log, stop, watcher = ListLog(events[:200]), asyncio.Event(), Watcher(store, FIRST, events)
    runner = ProjectionRunner(FIRST, log, store, batch=20, idle_s=0.01, look_s=0.01)
    async with running(runner), asyncio.TaskGroup() as group:
        await until(lambda: runner.status.checkpoint == 200)
        watching = [group.create_task(watcher.watch(stop)) for _ in range(2)]
        for end in (400, 600, len(events)):
            built = group.create_task(rebuild(FIRST, log, store, batch=20))
            while not built.done():
                log.grow(events[len(log.events) : min(len(log.events) + 7, end)])
                await asyncio.sleep(0)
            assert built.result().verified is not None
            log.grow(events[len(log.events) : end])
        await until(lambda: runner.status.checkpoint == len(events))
        stop.set()
        await asyncio.gather(*watching)
    assert watcher.reads > 20
    states = [(one.number, one.state) for one in await store.generations("totals")]
    assert states == [(1, State.OLD), (2, State.OLD), (3, State.OLD), (4, State.LIVE)]


async def test_a_new_version_is_built_in_the_background_while_the_old_one_answers(
    store: PostgresReadStore,
) -> None:
    events = random_history(32, 60).events
    log = Gate(events)
    await ProjectionRunner(FIRST, log, store).catch_up()
    stop, watcher = asyncio.Event(), Watcher(store, SECOND, events)
    log.open.clear()
    runner = ProjectionRunner(SECOND, log, store, batch=20, idle_s=0.01)
    async with running(runner), asyncio.TaskGroup() as group:
        watching = group.create_task(watcher.watch(stop))
        await until(lambda: runner.status.state is RunnerState.REBUILDING)
        await until(lambda: watcher.reads > 5)
        assert watcher.generations == {None}
        log.open.set()
        await until(lambda: runner.status.state is RunnerState.RUNNING)
        await until(lambda: len(watcher.generations) > 1)
        stop.set()
        await watching
    states = [(one.version, one.state) for one in await store.generations("totals")]
    assert states == [(1, State.OLD), (2, State.LIVE)]


async def test_all_may_be_rebuilt_at_once(store: PostgresReadStore) -> None:
    """Each holds connections for long; they take turns, so that none starves and readers find one free."""
    log = ListLog(random_history(37, 10).events)
    models = [replace_name(FIRST, f"totals_{number}") for number in range(8)]
    built = await asyncio.gather(*(rebuild(model, log, store) for model in models))
    assert all(one.verified is not None and one.generation.number == 2 for one in built)


def replace_name(model: ReadModel, name: str) -> ReadModel:
    """The same fold under another name."""
    return ReadModel(name, model.version, model.tables, model.steps, halts_on_poison=True)


async def test_a_rebuild_that_was_killed_is_gone_on_with(store: PostgresReadStore, database: str) -> None:
    """Kill -9 in the middle: the live one answers as before, and the next rebuild goes on from there."""
    model, events = trade_history.READ_MODEL, random_history(33, 40).events
    await ProjectionRunner(model, ListLog(events), store).catch_up()
    everything = trade_history.TradeFilter()
    before = await trade_history.trades(store, everything, first=500)
    script = str(Path(__file__).parent / "rebuilder.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, database, "33", "40")

    async def half_built() -> int:
        found = await store.generations(model.name)
        return max((one.checkpoint for one in found if one.state is State.BUILDING), default=0)

    try:
        await until(half_built)
    finally:
        process.kill()
        await process.wait()
    assert await trade_history.trades(store, everything, first=500) == before
    left = await half_built()
    assert 0 < left < len(events)
    reported: list[tuple[Phase, int]] = []
    await until(lambda: _free(database))
    built = await rebuild(
        model, ListLog(events), store, on_phase=lambda phase, at, _: reported.append((phase, at))
    )
    assert (built.generation.number, built.generation.checkpoint) == (2, left)
    assert {phase for phase, _ in reported} == {Phase.FOLD, Phase.VERIFY, Phase.SWAP}
    assert await trade_history.trades(store, everything, first=500) == before


async def _free(database: str) -> bool:
    """Whether the server has noticed that the killed process is gone, and let its lock go."""
    connection = await asyncpg.connect(database)
    try:
        held = await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'")
        return int(held) == 0
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("update {t} set tip_lamports = tip_lamports + 1 where order_id = '{id}'", "{id}"),
        ("delete from {t} where order_id = '{id}'", "{id}"),
        ("update {t} set order_id = 'a stranger' where order_id = '{id}'", "a stranger"),
    ],
)
async def test_a_row_changed_lost_or_added_is_found_and_named(
    store: PostgresReadStore, database: str, change: str, key: str
) -> None:
    model, log = trade_history.READ_MODEL, ListLog(random_history(34, 20).events)
    await ProjectionRunner(model, log, store).catch_up()
    (live,) = await store.generations(model.name)
    found = await verify(model, log, store, live)
    assert found.equal
    assert found.position == len(log.events)
    one = (await store.select(model, "trades", limit=1)).rows[0]["order_id"]
    connection = await asyncpg.connect(database)
    await connection.execute(change.format(t="rm_trade_history_v1_g1.trades", id=one))
    await connection.close()
    found = await verify(model, log, store, live)
    assert not found.equal
    (trades,) = (table for table in found.tables if not table.equal)
    assert trades.name == "trades"
    assert key.format(id=one) in trades.differing


async def test_what_differs_from_a_second_fold_is_never_swapped_in() -> None:
    """A fold that counts how often it was called is no function of the log; what it made can be looked at."""
    model = restless(1)
    store, log = MemoryReadStore(), ListLog(random_history(35, 10).events)
    await ProjectionRunner(model, log, store).catch_up()
    with pytest.raises(ProjectionError, match="differs from a second fold in totals"):
        await rebuild(model, log, store)
    live, failed = await store.generations("totals")
    assert (live.number, live.state) == (1, State.LIVE)
    assert (failed.number, failed.state) == (2, State.FAILED)
    assert "differs from a second fold" in (failed.failure or "")


async def test_poison_stops_a_rebuild_and_leaves_what_answers_alone() -> None:
    store, log = MemoryReadStore(), ListLog(random_history(36, 20).events)
    await ProjectionRunner(FIRST, log, store).catch_up()
    before = await store.select(FIRST, "totals")
    poison = [event.position for event in log.events if event.topic in TOPICS][10]

    def spoiled(rows: Rows, event: FoldEvent) -> None:
        if event.position == poison:
            raise ProjectionError("spoiled")
        count(rows, event)

    steps = dict.fromkeys(TOPICS, Step(keys, spoiled))
    worse = ReadModel("totals", 1, (TOTALS,), steps, halts_on_poison=True)
    with pytest.raises(PoisonEvent, match=f"position {poison}"):
        await rebuild(worse, log, store)
    assert await store.select(FIRST, "totals") == before
    built = await rebuild(FIRST, log, store)
    assert built.generation.checkpoint == poison - 1
    assert await store.dead_letters() == []
