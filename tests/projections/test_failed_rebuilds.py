"""A rebuild that fails halts its own read model, says why, and is begun anew once somebody mended it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from builders import random_history
from list_log import ListLog
from running import run_until_halted, running
from totals import FIRST, TOPICS, TOTALS, count, keys, raised, restless
from waiting import until

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from domain.errors import PoisonEvent, ProjectionError
from projections import verification
from projections.ports import FoldEvent, ReadStore, Rows, State
from projections.read_model import ReadModel, Step
from projections.rebuild import rebuild
from projections.runner import ProjectionRunner, RunnerState


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresReadStore]:
    async with open_read_store(database) as opened:
        yield opened


async def states(store: ReadStore) -> list[tuple[int, int, State]]:
    return [(one.version, one.number, one.state) for one in await store.generations("totals")]


async def test_a_new_version_that_fails_halts_its_runner_until_somebody_rebuilds(
    store: PostgresReadStore,
) -> None:
    """The old one answers meanwhile; the runner goes on with what a later rebuild swapped in."""
    log = ListLog(random_history(35, 10).events)
    await ProjectionRunner(FIRST, log, store).catch_up()
    before = await store.select(FIRST, "totals")
    runner = ProjectionRunner(restless(2), log, store, idle_s=0.01, look_s=0.01)
    async with running(runner):
        await until(lambda: runner.status.state is RunnerState.HALTED)
        assert "differs from a second fold" in (runner.status.error or "")
        assert f"answers, as of position {len(log.events)}, and takes no events" in (
            runner.status.error or ""
        )
        assert runner.status.checkpoint == len(log.events)
        assert await store.select(FIRST, "totals") == before
        assert await states(store) == [(1, 1, State.LIVE), (2, 1, State.FAILED)]
        built = await rebuild(raised(FIRST, 2), log, store)
        assert (built.generation.number, built.generation.checkpoint) == (1, 0)
        await until(lambda: runner.status.state is RunnerState.RUNNING)
    assert (await store.select(FIRST, "totals")).rows == before.rows
    assert await states(store) == [(1, 1, State.OLD), (2, 1, State.LIVE)]


async def test_what_other_code_of_the_same_version_left_is_built_once_more() -> None:
    """It folded half of the log differently and died: mended code finds that out, and starts at 0."""
    store, log = MemoryReadStore(), ListLog(random_history(36, 20).events)
    poison = [event.position for event in log.events if event.topic in TOPICS][10]

    def twice_then_dead(rows: Rows, event: FoldEvent) -> None:
        if event.position == poison:
            raise ProjectionError("dead")
        count(rows, event)
        count(rows, event)

    wrong = ReadModel("totals", 2, (TOTALS,), dict.fromkeys(TOPICS, Step(keys, twice_then_dead)), True)
    await ProjectionRunner(FIRST, log, store).catch_up()
    with pytest.raises(PoisonEvent):
        await rebuild(wrong, log, store)
    built = await rebuild(raised(FIRST, 2), log, store)
    assert built.verified is not None
    assert built.verified.equal
    assert built.generation.checkpoint == 0


async def test_one_too_large_to_be_verified_is_swapped_in_and_says_so(
    store: PostgresReadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better a new version nobody compared than none at all; by itself `verify` refuses."""
    log = ListLog(random_history(35, 10).events)
    await ProjectionRunner(FIRST, log, store).catch_up()
    monkeypatch.setattr(verification, "MAX_ROWS", 1)
    second = raised(FIRST, 2)
    assert await ProjectionRunner(second, log, store).catch_up() == len(log.events)
    built = await rebuild(second, log, store)
    assert built.verified is None
    assert "more than 1 rows" in (built.unverified or "")
    with pytest.raises(ProjectionError, match="none of its rows was compared"):
        await verification.verify(second, log, store, built.generation)
    monkeypatch.setattr(verification, "MAX_ROWS", 2)
    assert (await rebuild(second, log, store)).unverified is None


async def test_a_row_that_postgresql_refuses_halts_the_runner(store: PostgresReadStore) -> None:
    """Any mistake of a fold is its own read model's, not the whole process's."""

    def empty(rows: Rows, _event: FoldEvent) -> None:
        rows.put("totals", ("all",), {"name": "all", "events": None})

    model = ReadModel("totals", 1, (TOTALS,), dict.fromkeys(TOPICS, Step(keys, empty)), True)
    runner = ProjectionRunner(model, ListLog(random_history(35, 5).events), store, look_s=0.01)
    await run_until_halted(runner)
    assert "PostgreSQL refused (NotNullViolationError" in (runner.status.error or "")
