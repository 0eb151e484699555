"""The runner's promises: every event counts once, however the log is cut and whenever it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

import pytest
from builders import History, landed_trade, random_history
from list_log import ListLog
from running import run_until_halted, running
from waiting import until

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.read_store import MemoryReadStore
from commands.ports import StreamAppend
from domain.errors import LogUnavailable, PoisonEvent, ProjectionError
from domain.events import ANY_VERSION, RecordedEvent, derived_id
from projections.ports import FoldEvent, Rows, Table
from projections.read_model import Keys, ReadModel, Step, columns
from projections.rebuild import rebuild
from projections.runner import ProjectionRunner, RunnerState

TABLE = Table("seen", columns(stream="text", events="bigint", last="bigint"), key=("stream",))
TOPICS = ("order.placed", "order.signed", "order.landed")


def keys(event: FoldEvent) -> Keys:
    return ((TABLE.name, (event.stream,)),)


def seen(rows: Rows, event: FoldEvent) -> None:
    old = rows.get(TABLE.name, (event.stream,))
    count = old["events"] if old else 0
    rows.put(
        TABLE.name, (event.stream,), {"stream": event.stream, "events": count + 1, "last": event.position}
    )


def model(fold: Callable[[Rows, FoldEvent], None] = seen, *, halts: bool = True) -> ReadModel:
    return ReadModel("runner", 1, (TABLE,), dict.fromkeys(TOPICS, Step(keys, fold)), halts_on_poison=halts)


def spoiled_by(*positions: int) -> Callable[[Rows, FoldEvent], None]:
    def fold(rows: Rows, event: FoldEvent) -> None:
        if event.position in positions:
            raise ProjectionError("spoiled")
        seen(rows, event)

    return fold


async def folded(store: MemoryReadStore) -> dict[str, int]:
    rows = (await store.select(model(), "seen", limit=10_000)).rows
    return {row["stream"]: row["events"] for row in rows}


def expected(events: Collection[RecordedEvent], without: Collection[int] = ()) -> dict[str, int]:
    counts: dict[str, int] = {}
    for event in events:
        if event.topic in TOPICS and event.position not in without:
            counts[event.stream] = counts.get(event.stream, 0) + 1
    return counts


@pytest.mark.parametrize("batch", [1, 7, 1_000])
async def test_catching_up_folds_each_event_once_and_moves_over_the_others(batch: int) -> None:
    store, log = MemoryReadStore(), ListLog(random_history(1, 20).events)
    runner = ProjectionRunner(model(), log, store, batch=batch)
    assert await runner.catch_up() == len(log.events)
    assert await runner.lag() == 0
    assert await folded(store) == expected(log.events)


async def test_a_new_runner_goes_on_where_the_old_one_stopped() -> None:
    store, log = MemoryReadStore(), ListLog(random_history(2, 10).events)
    await ProjectionRunner(model(), log, store).catch_up()
    log.grow(random_history(2, 20).events[len(log.events) :])
    assert await ProjectionRunner(model(), log, store).lag() == len(log.events)
    await ProjectionRunner(model(), log, store).catch_up()
    assert await folded(store) == expected(log.events)


async def test_following_absorbs_what_comes_and_its_lag_goes_to_nothing() -> None:
    store, events = MemoryReadStore(), random_history(3, 12).events
    log = ListLog(events[:20])
    runner = ProjectionRunner(model(), log, store, idle_s=0.01)
    running = asyncio.create_task(runner.run())
    await until(lambda: runner.status.checkpoint == 20)
    assert runner.status.state.value == "running"
    log.grow(events[20:])
    await until(lambda: runner.status.checkpoint == len(events))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert runner.status.state is RunnerState.STOPPED
    assert await folded(store) == expected(events)


async def test_market_events_alone_move_the_checkpoint_of_a_log_in_memory() -> None:
    log, history, store = MemoryEventLog(), History(), MemoryReadStore()
    runner = ProjectionRunner(model(), log, store, idle_s=0.01)
    running = asyncio.create_task(runner.run())
    for number in range(3):
        seen_pool = history.market()
        append = StreamAppend(
            seen_pool.stream, ANY_VERSION, [seen_pool.event], seen_pool.cause, seen_pool.recorded_at
        )
        await log.append([append], append_id=derived_id("append", number))
    await until(lambda: runner.status.checkpoint == 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_poison_halts_a_money_read_model_just_before_it() -> None:
    store, events = MemoryReadStore(), random_history(4, 15).events
    poison = next(e.position for e in events[30:] if e.topic in TOPICS)
    runner = ProjectionRunner(model(spoiled_by(poison)), ListLog(events), store, look_s=0.01)
    await run_until_halted(runner)
    assert runner.status.state is RunnerState.HALTED
    assert "spoiled" in (runner.status.error or "")
    assert f"position {poison}" in (runner.status.error or "")
    assert await store.checkpoint("runner") == poison - 1
    assert await folded(store) == expected(events[: poison - 1])
    (letter,) = await store.dead_letters()
    assert (letter.position, letter.attempts) == (poison, 3)


async def test_a_halted_read_model_goes_on_once_the_fold_is_mended() -> None:
    store, log = MemoryReadStore(), ListLog(random_history(4, 15).events)
    poison = next(e.position for e in log.events[30:] if e.topic in TOPICS)
    with pytest.raises(PoisonEvent):
        await ProjectionRunner(model(spoiled_by(poison)), log, store).catch_up()
    await ProjectionRunner(model(), log, store).catch_up()
    assert await folded(store) == expected(log.events)
    assert await store.dead_letters() == []


async def test_others_set_poison_aside_and_go_on() -> None:
    store, events = MemoryReadStore(), random_history(5, 30).events
    poison = {e.position for e in events if e.topic == "order.signed"}
    runner = ProjectionRunner(model(spoiled_by(*poison), halts=False), ListLog(events), store, batch=40)
    await runner.catch_up()
    assert await runner.lag() == 0
    assert await folded(store) == expected(events, without=poison)
    assert {letter.position for letter in await store.dead_letters()} == poison


async def test_a_letter_retried_or_dropped_lets_a_halted_read_model_go_on() -> None:
    """Retried with the same fold it halts again; dropped it goes on without the event, and so do rebuilds."""
    store, events = MemoryReadStore(), random_history(4, 15).events
    poison = next(e.position for e in events[30:] if e.topic in TOPICS)
    runner = ProjectionRunner(model(spoiled_by(poison)), ListLog(events), store, idle_s=0.01, look_s=0.01)
    async with running(runner):
        await until(lambda: runner.status.state is RunnerState.HALTED)
        (letter,) = await store.dead_letters()
        assert await store.retry_dead_letter(letter.id)

        async def tried_again() -> bool:
            return [(one.attempts, one.state.value) for one in await store.dead_letters()] == [(6, "waiting")]

        await until(tried_again)
        assert await store.drop_dead_letter(letter.id, "a test spoiled it")
        await until(lambda: runner.status.checkpoint == len(events))
        assert runner.status.state is RunnerState.RUNNING
    assert await folded(store) == expected(events, without={poison})
    await rebuild(model(spoiled_by(poison)), ListLog(events), store)
    assert await folded(store) == expected(events, without={poison})


async def test_a_letter_retried_is_folded_late_where_others_went_on() -> None:
    store, log = MemoryReadStore(), ListLog(random_history(5, 10).events)
    poison = next(e.position for e in log.events[5:] if e.topic in TOPICS)
    await ProjectionRunner(model(spoiled_by(poison), halts=False), log, store).catch_up()
    runner = ProjectionRunner(model(halts=False), log, store, idle_s=0.01, look_s=0.01)
    async with running(runner):
        (letter,) = await store.dead_letters()
        assert await store.retry_dead_letter(letter.id)

        async def settled() -> bool:
            return not await store.dead_letters()

        await until(settled)
    assert await folded(store) == expected(log.events)


async def test_a_paused_read_model_rests_until_it_is_resumed() -> None:
    store, events = MemoryReadStore(), random_history(3, 12).events
    log = ListLog(events[:20])
    runner = ProjectionRunner(model(), log, store, idle_s=0.01, look_s=0.01)
    async with running(runner):
        await until(lambda: runner.status.checkpoint == 20)
        await store.pause("runner", paused=True)
        log.grow(events[20:])
        await until(lambda: runner.status.state is RunnerState.PAUSED)
        assert await store.checkpoint("runner") == 20
        await store.pause("runner", paused=False)
        await until(lambda: runner.status.checkpoint == len(events))
    assert await folded(store) == expected(events)


async def test_a_fold_that_fails_once_is_tried_again() -> None:
    store, events, failures = MemoryReadStore(), random_history(6, 5).events, [1]

    def flaky(rows: Rows, event: FoldEvent) -> None:
        if failures and event.topic == "order.placed":
            failures.pop()
            raise ProjectionError("once")
        seen(rows, event)

    await ProjectionRunner(model(flaky), ListLog(events), store).catch_up()
    assert await folded(store) == expected(events)
    assert await store.dead_letters() == []


async def test_of_two_runners_each_event_still_counts_once() -> None:
    store, events = MemoryReadStore(), random_history(7, 25).events
    log = ListLog(events[:10])
    runners = [ProjectionRunner(model(), log, store, batch=3, idle_s=0.01) for _ in range(2)]
    running = [asyncio.create_task(runner.run()) for runner in runners]
    log.grow(events[10:])
    await until(lambda: max(runner.status.checkpoint for runner in runners) == len(events))
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await folded(store) == expected(events)


async def test_an_older_daybook_rests_where_a_newer_version_answers() -> None:
    store, log = MemoryReadStore(), ListLog(random_history(8, 5).events)
    newer = ReadModel("runner", 2, (TABLE,), model().steps, halts_on_poison=True)
    await ProjectionRunner(newer, log, store).catch_up()
    runner = ProjectionRunner(model(), log, store, look_s=0.01)
    async with running(runner):
        await until(lambda: runner.status.state is RunnerState.HALTED)
        assert "newer than this daybook's" in (runner.status.error or "")
        await rebuild(model(), log, store)
        await until(lambda: runner.status.state is RunnerState.RUNNING)


class _LogThatComesBack(ListLog):
    """Answers only from the third call on."""

    calls = 0

    async def head(self) -> int:
        self.calls += 1
        if self.calls < 3:
            raise LogUnavailable("away")
        return await super().head()

    async def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        for batch in [await self.read(after, limit, topics=topics)]:
            yield batch


async def test_a_log_that_is_away_is_waited_for_and_a_closed_one_ends_the_run() -> None:
    store, history = MemoryReadStore(), History()
    landed_trade(history, "one")
    runner = ProjectionRunner(model(), _LogThatComesBack(history.events), store)
    await runner.run()
    assert runner.status.state is RunnerState.STOPPED
    assert await folded(store) == expected(history.events)
