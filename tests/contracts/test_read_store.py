"""What every read store promises, in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from builders import History, landed_trade

from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.read_store import open_read_store
from domain.errors import (
    CheckpointMoved,
    InvalidInput,
    NotServedYet,
    ProjectionError,
    ProjectionPaused,
    ReadModelBehind,
    RebuildUnderWay,
)
from projections.ports import Column, Condition, LetterState, ReadStore, Row, Rows, State, Table
from projections.read_model import ReadModel, columns

THINGS = Table(
    "things",
    columns(owner="text", number="bigint", big="numeric", yes="boolean", notes="json", maybe="text?"),
    key=("owner", "number"),
    indexes=(("big", "number"),),
)
MODEL = ReadModel("contract", 1, (THINGS,), {}, halts_on_poison=True)
WIDER = replace(THINGS, columns=(*THINGS.columns, Column("extra", "text")))
OTHERS = Table("others", columns(name="text"), key=("name",))
SECOND = ReadModel("contract", 2, (WIDER, OTHERS), {}, halts_on_poison=True)


@pytest.fixture(params=["memory", "postgres"])
def where(request: pytest.FixtureRequest) -> str | None:
    """Nothing for memory, a fresh database for PostgreSQL."""
    return str(request.getfixturevalue("database")) if request.param == "postgres" else None


@pytest.fixture
async def store(where: str | None) -> AsyncIterator[ReadStore]:
    if where is None:
        yield MemoryReadStore()
    else:
        async with open_read_store(where, connections=4) as opened:
            yield opened


def thing(owner: str, number: int, **changes: Any) -> Row:  # noqa: ANN401 - any column
    row = {"owner": owner, "number": number, "big": number * 10**30, "yes": True, "notes": [], "maybe": None}
    return {**row, **changes}


def rows_of(*rows: Row) -> Rows:
    return Rows(changed={("things", (row["owner"], row["number"])): row for row in rows})


async def test_a_new_read_model_starts_at_nothing(store: ReadStore) -> None:
    assert await store.checkpoint("contract") == 0
    assert (await store.prepare(MODEL)).checkpoint == 0
    assert (await store.prepare(MODEL)).checkpoint == 0
    assert (await store.select(MODEL, "things")).rows == []


async def test_a_read_model_nobody_prepared_has_absorbed_nothing(store: ReadStore) -> None:
    found = await store.select(MODEL, "things")
    assert (found.rows, found.position) == ([], 0)


async def test_rows_come_back_as_they_went_in(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    row = thing("a", -(2**63), big=-(10**40), yes=False, notes={"n": [2**80, None, "é"]}, maybe="x")
    await store.commit(live, rows_of(row), 0, 7)
    assert (await store.fetch(live, [("things", ("a", -(2**63)))])).fetched == {
        ("things", ("a", -(2**63))): row
    }
    found = await store.select(MODEL, "things")
    assert (found.rows, found.position) == ([row], 7)
    assert await store.checkpoint("contract") == 7


async def test_a_row_is_written_whole_again(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1), thing("b", 1)), 0, 1)
    await store.commit(live, rows_of(thing("a", 1, maybe="now")), 1, 2)
    found = await store.select(MODEL, "things", order_by=[("owner", False)])
    assert found.rows == [thing("a", 1, maybe="now"), thing("b", 1)]


async def test_the_beginning_of_a_key_fetches_every_row_that_begins_so(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1), thing("a", 2), thing("b", 1), thing("b", 2)), 0, 1)
    found = await store.fetch(live, [("things", ("a",)), ("things", ("b", 2)), ("things", ("c", 9))])
    assert {key for _, key in found.fetched} == {("a", 1), ("a", 2), ("b", 2)}


async def test_a_checkpoint_moved_by_another_refuses_the_batch_whole(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1)), 0, 5)
    with pytest.raises(CheckpointMoved, match="another"):
        await store.commit(live, rows_of(thing("a", 2)), 0, 6)
    found = await store.select(MODEL, "things")
    assert (found.rows, found.position) == ([thing("a", 1)], 5)


async def test_of_two_runners_at_once_one_is_refused(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    batches = (rows_of(thing("a", number)) for number in range(4))
    done = await asyncio.gather(*(store.commit(live, rows, 0, 1) for rows in batches), return_exceptions=True)
    assert sum(isinstance(result, CheckpointMoved) for result in done) == 3
    assert len((await store.select(MODEL, "things")).rows) == 1


async def test_nothing_is_written_when_one_row_is_wrong(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    with pytest.raises((ProjectionError, asyncpg.NotNullViolationError)):
        await store.commit(live, rows_of(thing("a", 1), thing("a", 2, big=None)), 0, 1)
    found = await store.select(MODEL, "things")
    assert (found.rows, found.position) == ([], 0)


async def test_other_columns_under_the_same_version_are_refused(store: ReadStore) -> None:
    await store.prepare(MODEL)
    with pytest.raises(ProjectionError, match="raise its VERSION"):
        await store.prepare(ReadModel("contract", 1, (WIDER,), {}, halts_on_poison=True))
    live = await store.prepare(SECOND)
    assert (live.version, live.tables) == (1, (THINGS,))


async def reached(_position: int) -> None:
    """Nothing is left to fold."""


async def test_a_second_version_is_built_beside_the_live_one_and_swapped_in(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1)), 0, 9)
    async with store.beside(SECOND) as built:
        assert (built.version, built.number, built.state) == (2, 1, State.BUILDING)
        await store.commit(built, rows_of(thing("b", 1, extra="new")), 0, 9)
        assert await store.checkpoint("contract") == 9
        assert (await store.select(MODEL, "things")).rows == [thing("a", 1)]
        await store.swap(built, reached)
    assert (await store.select(SECOND, "things")).rows == [thing("b", 1, extra="new")]
    assert (await store.select(MODEL, "things")).rows == [thing("b", 1)]
    states = [(g.version, g.number, g.state) for g in await store.generations("contract")]
    assert states == [(1, 1, State.OLD), (2, 1, State.LIVE)]


async def test_what_the_old_version_lacks_is_answered_empty_until_the_swap(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1)), 0, 9)
    found = await store.select(SECOND, "things", order_by=[("owner", False)])
    assert found.rows == [thing("a", 1, extra=None)]
    assert (await store.select(SECOND, "things", where=[Condition("extra", "=", "x")])).rows == []
    with pytest.raises(NotServedYet, match="version 1"):
        await store.select(SECOND, "things", order_by=[("extra", False)])
    with pytest.raises(NotServedYet, match="version 1"):
        await store.select(SECOND, "others")


async def test_a_built_generation_reaches_the_live_one_before_the_swap(store: ReadStore) -> None:
    """Nobody goes back in time: the live one is held while the built one folds what it has more."""
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1)), 0, 9)
    async with store.beside(SECOND) as built:
        asked: list[int] = []

        async def reach(position: int) -> None:
            asked.append(position)
            await store.commit(built, rows_of(thing("b", 1, extra="new")), 0, position)

        await store.swap(built, reach)
    assert asked == [9]
    assert await store.checkpoint("contract") == 9


async def test_only_one_process_builds_and_a_crashed_build_is_gone_on_with(store: ReadStore) -> None:
    await store.prepare(MODEL)
    async with store.beside(SECOND) as built:
        await store.commit(built, rows_of(thing("b", 1, extra="new")), 0, 4)
        with pytest.raises(RebuildUnderWay, match="contract"):
            async with store.beside(SECOND):
                pass
    async with store.beside(SECOND) as again:
        assert (again.number, again.checkpoint) == (1, 4)
    async with store.beside(MODEL) as other:
        assert (other.version, other.number, other.checkpoint) == (1, 2, 0)
    assert [g.number for g in await store.generations("contract") if g.version == 2] == []


async def test_who_folds_into_a_swapped_out_generation_is_refused(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    async with store.beside(MODEL) as built:
        await store.swap(built, reached)
    with pytest.raises(CheckpointMoved):
        await store.commit(live, rows_of(thing("a", 1)), 0, 1)
    with pytest.raises(CheckpointMoved, match="dropped"):
        await store.swap(live, reached)


async def test_an_old_generation_is_dropped_and_the_live_one_never(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    assert not await store.drop(live)
    async with store.beside(MODEL) as built:
        await store.swap(built, reached)
    assert await store.drop(live)
    assert not await store.drop(live)
    assert (await store.select(MODEL, "things")).rows == []
    assert [g.number for g in await store.generations("contract")] == [2]


async def test_a_paused_read_model_takes_no_event_until_it_is_resumed(store: ReadStore) -> None:
    assert not await store.pause("contract", paused=True)
    live = await store.prepare(MODEL)
    assert await store.pause("contract", paused=True)
    with pytest.raises(ProjectionPaused, match="contract"):
        await store.commit(live, rows_of(thing("a", 1)), 0, 1)
    async with store.beside(MODEL) as built:
        await store.commit(built, rows_of(thing("b", 1)), 0, 1)
        await store.swap(built, reached)
    assert (await store.prepare(MODEL)).paused
    assert await store.pause("contract", paused=False)
    await store.commit(built, rows_of(thing("b", 2)), 1, 2)


async def test_a_snapshot_stands_still(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("b", 1), thing("a", 2), thing("a", 1)), 0, 1)
    async with store.snapshot(live) as snapshot:
        await store.commit(live, rows_of(thing("c", 1)), 1, 2)
        rows = [row async for page in snapshot.rows("things") for row in page]
    assert (rows, snapshot.checkpoint) == ([thing("a", 1), thing("a", 2), thing("b", 1)], 1)
    assert await store.count(live) == {"things": 4}


@pytest.mark.parametrize(
    ("column", "operator", "value", "numbers"),
    [
        ("number", "=", 2, [2]),
        ("number", "<", 2, [1]),
        ("number", "<=", 2, [1, 2]),
        ("big", ">", 2 * 10**30, [3]),
        ("big", ">=", 2 * 10**30, [2, 3]),
        ("number", "in", [1, 3, 9], [1, 3]),
        ("maybe", "=", "x", [3]),
        ("owner", "=", "'; drop table things; --", []),
    ],
)
async def test_conditions(
    store: ReadStore, column: str, operator: str, value: object, numbers: list[int]
) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, rows_of(thing("a", 1), thing("a", 2), thing("a", 3, maybe="x")), 0, 1)
    found = await store.select(
        MODEL, "things", where=[Condition(column, operator, value)], order_by=[("number", False)]
    )
    assert [row["number"] for row in found.rows] == numbers


@pytest.mark.parametrize("downwards", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_hold_every_row_once_and_in_order(store: ReadStore, downwards: bool, size: int) -> None:
    live = await store.prepare(MODEL)
    rows = [thing(owner, number, big=number // 2) for owner in "ab" for number in range(6)]
    await store.commit(live, rows_of(*rows), 0, 1)
    order = [("big", downwards), ("owner", not downwards), ("number", downwards)]
    seen: list[Row] = []
    after = None
    for _ in range(len(rows) + 1):
        page = (
            await store.select(
                MODEL,
                "things",
                where=[Condition("big", "<=", 1)],
                order_by=order,
                limit=size,
                after=after,
            )
        ).rows
        if not page:
            break
        seen += page
        after = {name: page[-1][name] for name, _ in order}
    expected = [row for row in rows if row["big"] <= 1]
    expected.sort(key=lambda row: row["number"], reverse=downwards)
    expected.sort(key=lambda row: row["owner"], reverse=not downwards)
    expected.sort(key=lambda row: row["big"], reverse=downwards)
    assert seen == expected


async def test_only_known_names_are_let_through(store: ReadStore) -> None:
    await store.prepare(MODEL)
    with pytest.raises(InvalidInput, match="no table"):
        await store.select(MODEL, "nothing")
    with pytest.raises(InvalidInput, match="no column"):
        await store.select(MODEL, "things", where=[Condition('number" or true --', "=", 1)])
    with pytest.raises(InvalidInput, match="no column"):
        await store.select(MODEL, "things", order_by=[("missing", True)])
    with pytest.raises(InvalidInput, match="may be empty"):
        await store.select(MODEL, "things", order_by=[("maybe", True)])
    with pytest.raises(InvalidInput, match="exactly the columns"):
        await store.select(MODEL, "things", order_by=[("number", True)], after={"big": 1})
    with pytest.raises(InvalidInput, match="operator"):
        Condition("number", "like", "%")


async def test_who_waits_for_a_position_is_woken_by_it(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    waiting = asyncio.create_task(store.wait_for("contract", 3, timeout_s=10))
    await store.commit(live, Rows(), 0, 2)
    await store.commit(live, Rows(), 2, 4)
    assert await waiting == 4


async def test_who_waits_too_long_is_told_where_it_stands(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    await store.commit(live, Rows(), 0, 2)
    with pytest.raises(ReadModelBehind, match="asked for position 3 and stands at 2") as behind:
        await store.wait_for("contract", 3, timeout_s=0.05)
    assert behind.value.checkpoint == 2


async def test_a_repeated_dead_letter_replaces_the_first(store: ReadStore) -> None:
    live = await store.prepare(MODEL)
    history = History()
    landed_trade(history, "one")
    await store.set_aside(live, history.events[0], "first", 3)
    await store.set_aside(live, history.events[0], "second", 3)
    await store.set_aside(live, history.events[1], "other", 3)
    first, other = await store.dead_letters("contract")
    assert (first.position, first.error, first.attempts) == (1, "second", 6)
    assert (first.topic, first.stream) == (history.events[0].topic, history.events[0].stream)
    assert (first.version, first.generation, first.state) == (1, 1, LetterState.WAITING)
    assert other.id > first.id
    assert await store.dead_letters("another") == []


async def test_people_decide_on_dead_letters(store: ReadStore) -> None:
    assert await store.dead_letters() == []
    assert not await store.retry_dead_letter(1)
    live = await store.prepare(MODEL)
    history = History()
    landed_trade(history, "one")
    for event in history.events[:3]:
        await store.set_aside(live, event, "cannot", 3)
    letters = await store.dead_letters()
    assert await store.retry_dead_letter(letters[0].id)
    assert await store.drop_dead_letter(letters[1].id, "seen twice")
    assert not await store.drop_dead_letter(10**9, "none")
    states = [letter.state.value for letter in await store.dead_letters()]
    assert states == ["retry", "dropped", "waiting"]
    assert [one.reason for one in await store.dead_letters()] == [None, "seen twice", None]
    (retried,) = await store.dead_letters(state=LetterState.RETRY)
    await store.settle(live, retried, rows_of(thing("a", 1)))
    assert [letter.position for letter in await store.dead_letters(limit=1)] == [2]
    assert (await store.select(MODEL, "things")).rows == [thing("a", 1)]
    await store.set_aside(live, history.events[1], "again", 3)
    assert [letter.position for letter in await store.dead_letters(state=LetterState.DROPPED)] == [2]
