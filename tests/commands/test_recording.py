"""The recorder: each changed state once, slots that never go back, and holes that are on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count
from uuid import UUID

from given import POOL_A, POOL_B, pool
from waiting import until

from adapters.memory.event_log import MemoryEventLog
from commands.ports import Appended, FeedGap, Fence, StreamAppend
from commands.recording import Recorder
from domain.errors import LogUnavailable
from domain.market.events import PoolUpdated


class ListFeed:
    """A feed of what is in a list; ends with it."""

    name = "list"

    def __init__(self, *seen: PoolUpdated | FeedGap) -> None:
        self._seen = seen

    async def observations(self) -> AsyncIterator[PoolUpdated | FeedGap]:
        for observation in self._seen:
            yield observation
            await asyncio.sleep(0)


class AbsentLog(MemoryEventLog):
    """A log that is away until it is told to be back."""

    def __init__(self) -> None:
        super().__init__()
        self.back = asyncio.Event()

    async def append(
        self, appends: Sequence[StreamAppend], *, append_id: UUID, fence: Fence | None = None
    ) -> Appended:
        if not self.back.is_set():
            raise LogUnavailable("away")
        return await super().append(appends, append_id=append_id, fence=fence)


TICKS = count(1)


def _clock() -> int:
    return next(TICKS)


async def _record(log: MemoryEventLog, *seen: PoolUpdated | FeedGap, buffer: int = 100) -> None:
    await asyncio.wait_for(Recorder(log, ListFeed(*seen), _clock, buffer=buffer).run(), timeout=10)


async def _slots(log: MemoryEventLog) -> list[int]:
    return [r.event.slot for r in await log.read(topics={"market.pool_updated"})]


async def test_only_changes_are_recorded() -> None:
    """The same state again is no news; another pool's is, and so is a change."""
    log = MemoryEventLog()
    await _record(log, pool(slot=1), pool(slot=2), pool(POOL_B, slot=2), pool(slot=3, sol=7))
    assert [(r.stream, r.event.slot) for r in await log.read()] == [
        (f"pool-{POOL_A}", 1),
        (f"pool-{POOL_B}", 2),
        (f"pool-{POOL_A}", 3),
    ]


async def test_slots_never_go_back() -> None:
    """A late reading from a node that lags changes nothing."""
    log = MemoryEventLog()
    await _record(log, pool(slot=5), pool(slot=4, sol=7), pool(slot=6, sol=8))
    assert await _slots(log) == [5, 6]


async def test_every_sighting_begins_a_story_of_its_own() -> None:
    """The correlation id follows from what was seen; nothing caused it."""
    one, other = MemoryEventLog(), MemoryEventLog()
    for log in (one, other):
        await _record(log, pool(slot=1), pool(slot=2, sol=7))
    stories = [r.cause.correlation_id for r in await one.read()]
    assert len(set(stories)) == 2
    assert stories == [r.cause.correlation_id for r in await other.read()]
    assert {r.cause.causation_id for r in await one.read()} == {None}
    assert [r.slot for r in await one.read()] == [1, 2]


async def test_a_restart_owns_up_that_nobody_watched_and_records_every_state_again() -> None:
    log = MemoryEventLog()
    await _record(log, pool(slot=1))
    await _record(log, pool(slot=1), pool(slot=2, sol=7))
    assert await _slots(log) == [1, 1, 2]
    assert [r.topic for r in await log.read()][1] == "market.gap"


async def test_the_feed_says_where_it_was_blind() -> None:
    log = MemoryEventLog()
    await _record(log, pool(slot=1), FeedGap("list", 3, 10, 20, "connection lost"))
    gap = (await log.read())[-1]
    assert (gap.stream, gap.event.dropped, gap.event.reason) == ("feed-list", 3, "connection lost")


async def test_after_a_gap_an_unchanged_state_is_recorded_again() -> None:
    """Whoever folds the log trusts no state from before the gap."""
    log = MemoryEventLog()
    await _record(log, pool(slot=1), FeedGap("list", 3, 10, 20, "connection lost"), pool(slot=2))
    assert await _slots(log) == [1, 2]


async def test_what_a_full_buffer_dropped_is_on_record() -> None:
    """The log is away while 20 states are seen and 4 may wait: the newest are dropped, counted and told."""
    log = AbsentLog()
    feed = ListFeed(*(pool(slot=n, sol=n) for n in range(1, 21)))
    recorder = Recorder(log, feed, _clock, buffer=4)
    recording = asyncio.create_task(recorder.run())
    await until(lambda: recorder._buffer._dropped)
    log.back.set()
    await asyncio.wait_for(recording, timeout=10)
    events = await log.read()
    (gap,) = (r.event for r in events if r.topic == "market.gap")
    assert gap.dropped == 20 - (len(events) - 2) > 0
    assert events[-1].event.slot == 20  # the newest state stands behind the gap, though it was dropped
    assert gap.reason == "the event log was away and the buffer was full"
    assert await _slots(log) == sorted(await _slots(log))
