"""What every event log promises, whoever implements it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged import AT, CAUSE, Kept, Log, new_id, order_landed, order_placed, pool_updated, to

from commands.ports import Appended, Fence
from domain.chain import Slot
from domain.errors import ConcurrencyError, FencedOut, InvalidInput
from domain.events import NEW_STREAM, Cause, RecordedEvent, event_id
from domain.market.events import MarketGap


async def test_an_event_is_read_back_as_it_was_appended(log: Log) -> None:
    """Envelope and facts survive the way through bytes."""
    story, led_by = uuid4(), uuid4()
    cause = Cause(story, led_by, "planner")
    event = pool_updated(2**64 - 1)
    appended = await log.append([to("pool-1", event, cause=cause, slot=Slot(7))], append_id=new_id())
    assert appended == Appended(1, 1)
    expected = RecordedEvent(
        1, "pool-1", 1, "market.pool_updated", 1, AT, story.bytes, led_by.bytes, "planner", Slot(7), event
    )
    assert await log.read() == [expected]
    assert (expected.event_id, expected.cause) == (event_id("pool-1", 1), cause)
    assert await log.read_stream("pool-1") == [expected]


async def test_an_aggregates_event_gets_stream_and_version_from_its_row(log: Log) -> None:
    """What the row holds is not stored twice, yet the event comes back whole."""
    events = [order_placed("order-1"), order_landed("order-1", 2)]
    await log.append([to("order-1", *events, expected=NEW_STREAM)], append_id=new_id())
    assert [record.event for record in await log.read_stream("order-1")] == events


async def test_positions_are_contiguous_in_the_order_of_the_answers(log: Log) -> None:
    """Fifty callers at once: every position is given once, and each caller's events stand together."""
    streams = [f"pool-{n}" for n in range(50)]
    results = await asyncio.gather(
        *(log.append([to(s, pool_updated(1), pool_updated(2))], append_id=new_id()) for s in streams)
    )
    assert sorted(r.first_position for r in results) == list(range(1, 101, 2))
    records = await log.read()
    assert [record.position for record in records] == list(range(1, 101))
    for stream, result in zip(streams, results, strict=True):
        mine = records[result.first_position - 1 : result.last_position]
        assert [(record.stream, record.version) for record in mine] == [(stream, 1), (stream, 2)]


async def test_only_the_conflicting_caller_is_refused(log: Log) -> None:
    """Of ten that expect the same version one wins; those of other streams do not notice."""
    rivals = [log.append([to("pool-hot", expected=NEW_STREAM)], append_id=new_id()) for _ in range(10)]
    others = [log.append([to(f"pool-{n}", expected=NEW_STREAM)], append_id=new_id()) for n in range(10)]
    results = await asyncio.gather(*rivals, *others, return_exceptions=True)
    assert [type(result) for result in results[10:]] == [Appended] * 10
    losers = [result for result in results[:10] if isinstance(result, ConcurrencyError)]
    assert len(losers) == 9
    assert (losers[0].stream, losers[0].expected, losers[0].actual) == ("pool-hot", 0, 1)
    assert await log.head() == 11


async def test_a_wrong_expectation_names_what_was_found(log: Log) -> None:
    """Too high and too low are both refused, and nothing is written."""
    await log.append([to("pool-1", pool_updated(1), pool_updated(2))], append_id=new_id())
    for expected in (0, 1, 3):
        with pytest.raises(ConcurrencyError, match=f"expected version {expected} but found 2"):
            await log.append([to("pool-1", expected=expected)], append_id=new_id())
    await log.append([to("pool-1", expected=2)], append_id=new_id())
    assert await log.head() == 3


async def test_several_streams_are_appended_together_or_not_at_all(log: Log) -> None:
    """One stale stream refuses the whole append."""
    await log.append([to("pool-1")], append_id=new_id())
    with pytest.raises(ConcurrencyError):
        await log.append([to("pool-2", expected=0), to("pool-1", expected=0)], append_id=new_id())
    assert await log.read_stream("pool-2") == []
    both = await log.append([to("pool-2", expected=0), to("pool-1", expected=1)], append_id=new_id())
    assert (both.first_position, both.last_position) == (2, 3)
    records = await log.read(after=1)
    assert [(record.stream, record.version) for record in records] == [("pool-2", 1), ("pool-1", 2)]


async def test_a_repeated_append_id_gets_the_first_result(log: Log) -> None:
    """A retry after a lost answer neither conflicts nor writes twice."""
    id_ = new_id()
    first = await log.append([to("pool-1", expected=0), to("pool-2", expected=0)], append_id=id_)
    await log.append([to("pool-1", expected=1)], append_id=new_id())
    again = await log.append([to("pool-1", expected=0), to("pool-2", expected=0)], append_id=id_)
    assert again == first._replace(repeated=True)
    assert await log.head() == 3


async def test_one_append_id_sent_twice_at_once_is_written_once(log: Log) -> None:
    """Also when both wait in the same batch."""
    id_ = new_id()
    results = await asyncio.gather(*(log.append([to("pool-1")], append_id=id_) for _ in range(5)))
    assert sorted(result.repeated for result in results) == [False, True, True, True, True]
    assert {(result.first_position, result.last_position) for result in results} == {(1, 1)}
    assert await log.head() == 1


async def test_a_refused_append_id_may_be_used_again(log: Log) -> None:
    """Nothing of a refused append is remembered."""
    await log.append([to("pool-1")], append_id=new_id())
    id_ = new_id()
    with pytest.raises(ConcurrencyError):
        await log.append([to("pool-1", expected=0)], append_id=id_)
    assert not (await log.append([to("pool-1", expected=1)], append_id=id_)).repeated


@pytest.mark.parametrize(
    "appends",
    [
        [],
        [to("pool-1"), to("pool-1")],
        [to("")],
        [to("x" * 201)],
        [to("pool-\x00")],
        [to(" pool-1")],
        [to("pool-1", cause=Cause(CAUSE.correlation_id, None, "a "))],
        [to("pool-1", cause=Cause(CAUSE.correlation_id, None, "a\nb"))],
        [to("pool-1", at=-1)],
        [to("pool-1", expected=-2)],
        [to("feed-1", MarketGap("f", 1, 2, 3, "x" * 1_000_001))],
        [to("order-1", order_placed("order-2"), expected=0)],
        [to("order-1", order_placed("order-1"), expected=1)],
        [to("order-1", order_placed("order-1"))],
    ],
    ids=[
        "empty",
        "twice",
        "no name",
        "long name",
        "nul",
        "blank before",
        "blank behind",
        "actor",
        "time",
        "version",
        "large",
        "stream",
        "place",
        "any",
    ],
)
async def test_nonsense_is_refused_and_leaves_no_trace(log: Log, appends: list[object]) -> None:
    """Each is the caller's mistake, told to the caller alone."""
    with pytest.raises(InvalidInput):
        await log.append(appends, append_id=new_id())  # type: ignore[arg-type] # parametrize loses the type
    assert await log.head() == 0


async def test_pages_filter_by_position_and_topic(log: Log) -> None:
    """`after` is exclusive, `through` inclusive, topics leave others out."""
    gap = MarketGap("ws", 1, 2, 3, "lost")
    await log.append([to("pool-1", pool_updated(1)), to("feed-ws", gap)], append_id=new_id())
    await log.append([to("order-1", order_placed("order-1"), expected=0)], append_id=new_id())
    await log.append([to("pool-1", pool_updated(2))], append_id=new_id())

    async def positions(*args: int, **kwargs: object) -> list[int]:
        return [record.position for record in await log.read(*args, **kwargs)]  # type: ignore[arg-type] # test shorthand

    assert await positions() == [1, 2, 3, 4]
    assert await positions(1, 2) == [2, 3]
    assert await positions(1, through=3) == [2, 3]
    assert await positions(topics={"market.pool_updated"}) == [1, 4]
    assert await positions(topics={"order.placed"}) == [3]
    assert await positions(topics={"market.gap", "order.placed"}, through=2) == [2]
    assert await positions(topics=()) == []
    assert [record.version for record in await log.read_stream("pool-1", 1)] == [2]
    assert await log.read_stream("pool-1", 0, 1) == (await log.read())[:1]


async def test_a_story_is_told_from_the_market_event_that_began_it(log: Log) -> None:
    """In log order; other stories, and market events that led to nothing, are left out."""
    mine, other, idle = Cause(new_id(), None, "a"), Cause(new_id(), None, "b"), Cause(new_id(), None, "c")
    for cause in (idle, mine, other):
        await log.append([to("pool-1", cause=cause)], append_id=new_id())
    for stream, cause in (("order-1", mine), ("order-2", other)):
        placed = to(stream, order_placed(stream), expected=0, cause=cause)
        await log.append([placed], append_id=new_id())
    await log.append([to("pool-1", cause=mine)], append_id=new_id())
    await log.append([to("order-1", order_landed("order-1", 2), expected=1, cause=mine)], append_id=new_id())
    assert [record.position for record in await log.read_story(mine.correlation_id)] == [2, 4, 7]
    assert [record.position for record in await log.read_story(mine.correlation_id, 2)] == [2, 4]
    assert await log.read_story(idle.correlation_id) == []
    assert await log.read_story(new_id()) == []


async def test_time_is_an_order_of_its_own(log: Log) -> None:
    """Clocks differ and stand still: every event of a time is found once, page by page."""
    times = [30, 10, 20, 20, 40, 20]
    for at in times:
        await log.append([to("pool-1", at=at)], append_id=new_id())
    assert [record.position for record in await log.read_between(10, 40)] == [2, 3, 4, 6, 1]
    assert await log.read_between(41, 99) == []
    seen: list[int] = []
    mark = (-1, 0)
    while page := await log.read_between(20, 41, 2, after=mark):
        seen += [record.position for record in page]
        mark = page[-1].recorded_at, page[-1].position
    assert seen == [3, 4, 6, 1, 5]


async def test_a_follower_sees_history_and_then_every_event_once(log: Log) -> None:
    """Under concurrent writers, with pages smaller than the batches: no gap, no double, in order."""
    await log.append([to("pool-0", *[pool_updated(n) for n in range(10)])], append_id=new_id())

    async def write(stream: str) -> None:
        for _ in range(20):
            await log.append([to(stream, pool_updated(1), pool_updated(2))], append_id=new_id())

    writers = asyncio.gather(*(write(f"pool-{n}") for n in range(1, 6)))
    seen: list[int] = []
    async with asyncio.timeout(20), contextlib.aclosing(_closable(log.follow(limit=7))) as batches:
        async for batch in batches:
            assert 0 < len(batch) <= 7
            seen += [record.position for record in batch]
            if len(seen) >= 210:
                break
    await writers
    assert seen == list(range(1, 211))


async def test_a_follower_of_some_topics_is_woken_by_them(log: Log) -> None:
    """Events it does not ask for neither reach nor stop it."""
    seen: list[str] = []

    async def follow() -> None:
        async for batch in log.follow(topics={"order.placed"}):
            seen.extend(record.stream for record in batch)
            if "order-2" in seen:
                return

    follower = asyncio.create_task(follow())
    await log.append([to("pool-1", *[pool_updated(n) for n in range(600)])], append_id=new_id())
    await log.append([to("order-1", order_placed("order-1"), expected=0)], append_id=new_id())
    await log.append([to("pool-1")], append_id=new_id())
    await log.append([to("order-2", order_placed("order-2"), expected=0)], append_id=new_id())
    await asyncio.wait_for(follower, 10)
    assert seen == ["order-1", "order-2"]


async def test_a_follower_that_goes_away_harms_nobody(log: Log) -> None:
    """Cancelled while it waits."""
    follower = asyncio.ensure_future(anext(log.follow()))
    await asyncio.sleep(0)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    await log.append([to("pool-1")], append_id=new_id())
    assert [record.position for record in await anext(log.follow())] == [1]


async def test_a_caller_that_goes_away_harms_nobody(log: Log) -> None:
    """Its append is written or not; the id tells, and all others are answered."""
    id_ = new_id()
    leaving = asyncio.create_task(log.append([to("pool-1")], append_id=id_))
    staying = [asyncio.create_task(log.append([to(f"pool-{n}")], append_id=new_id())) for n in range(2, 12)]
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, *staying, return_exceptions=True)
    assert all(not task.cancelled() and task.exception() is None for task in staying)
    await log.append([to("pool-1")], append_id=id_)
    assert len(await log.read_stream("pool-1")) == 1
    assert (await log.verify())[0] == 11


async def test_a_newer_lease_refuses_the_older_one(kept: Kept) -> None:
    """After the takeover the former holder cannot append; the new one can."""
    log, leases = kept.log, kept.leases
    old = await leases.take("executor", "first")
    await log.append([to("pool-1")], append_id=new_id(), fence=old)
    new = await leases.take("executor", "second")
    assert new == Fence("executor", old.epoch + 1)
    with pytest.raises(FencedOut, match="epoch 2 but this process holds epoch 1"):
        await log.append([to("pool-1")], append_id=new_id(), fence=old)
    with pytest.raises(FencedOut):
        await log.append([to("pool-1")], append_id=new_id(), fence=Fence("never taken", 1))
    await log.append([to("pool-1")], append_id=new_id(), fence=new)
    assert await log.head() == 2


async def test_a_fenced_caller_does_not_stop_its_batch(kept: Kept) -> None:
    """Old and new holder and a bystander at once: only the old holder is refused."""
    log, leases = kept.log, kept.leases
    old, new = await leases.take("executor", "a"), await leases.take("executor", "b")
    results = await asyncio.gather(
        log.append([to("pool-1")], append_id=new_id(), fence=old),
        log.append([to("pool-2")], append_id=new_id(), fence=new),
        log.append([to("pool-3")], append_id=new_id()),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [FencedOut, Appended, Appended]


async def test_a_bookmark_never_moves_backwards(kept: Kept) -> None:
    """The highest saved position counts."""
    bookmarks = kept.bookmarks
    assert await bookmarks.load("planner") == 0
    for position in (5, 3, 9, 9):
        await bookmarks.save("planner", position)
    assert await bookmarks.load("planner") == 9
    assert await bookmarks.load("other") == 0


async def test_the_chain_verifies_from_the_first_event_to_the_last(log: Log) -> None:
    """And its end is the same wherever the same events are recorded."""
    progress: list[tuple[int, int]] = []
    assert await log.verify() == (0, bytes(32))
    await log.append([to("pool-1", pool_updated(1), slot=Slot(3))], append_id=new_id())
    await log.append([to("order-1", order_placed("order-1"), expected=0)], append_id=new_id())
    count, last = await log.verify(lambda done, of: progress.append((done, of)))
    assert (count, last.hex()) == (2, "70d2b1ab197e025ae89d41b9fa1a2b7b5f518eb698dd93f090feca9639ac00f5")
    assert progress[-1] == (2, 2)


_texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
_whole = st.integers(0, 2**64 - 1)
_pools = st.builds(pool_updated, _whole, pool=_texts)
_gaps = st.builds(MarketGap, st.text(max_size=20), _whole, _whole, _whole, st.text(max_size=20))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.tuples(_texts, st.one_of(_pools, _gaps)), min_size=1, max_size=5))
async def test_whatever_is_appended_is_read_back_equal(log: Log, data: list[tuple[str, object]]) -> None:
    """Any text, any whole number of 64 bits, in any stream."""
    head = await log.head()
    for stream, event in data:
        await log.append([to(stream, event)], append_id=new_id())  # type: ignore[arg-type] # drawn events
    records = await log.read(head)
    assert [(record.stream, record.event) for record in records] == data


async def _closable(batches: AsyncIterator[list[RecordedEvent]]) -> AsyncGenerator[list[RecordedEvent], None]:
    """An async iterator that can be closed, whatever the log returned."""
    async for batch in batches:
        yield batch
