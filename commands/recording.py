"""From the market feed to the log: each changed pool state once, with a correlation id of its own.

The loop pulls at its own pace. While the log is away the buffer fills; when it is full, observations are
dropped and counted, and when the log is back a `market.gap` says so: a hole in the record is on record, and
so is the time nobody recorded. After a gap every pool's state is recorded again, changed or not, because
whoever folds the log trusts no state from before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import Final

import structlog

from commands.ports import Clock, EventLog, FeedGap, MarketFeed, StreamAppend
from commands.together import together
from domain.chain import Address
from domain.errors import LogUnavailable
from domain.events import ANY_VERSION, Cause, derived_id, timed_id
from domain.market.events import MarketGap, PoolUpdated
from domain.market.pools import same_state

BUFFER: Final = 10_000
"""Observations that may wait for the log: seconds of a busy market, some megabytes."""

BATCH: Final = 500
"""Observations appended at once: enough to share a commit, few enough to stay under 100 ms."""

RETRY_PAUSE_S: Final = 0.5
"""Between tries while the log is away; it comes back within a few seconds of a restart."""

LOOK_BACK: Final = 5_000
"""How far back the log is read at the start for the last market event: seconds of a busy market."""

NOT_RUNNING: Final = "the recorder was not running"

_log = structlog.get_logger(__name__)


class Recorder:
    """Records one feed. One for each feed; run by `daybook run`.

    Args:
        log: where to.
        feed: the scanner.
        clock: stamps each observation when it is taken.
        buffer: how many may wait.
    """

    def __init__(self, log: EventLog, feed: MarketFeed, clock: Clock, *, buffer: int = BUFFER) -> None:
        self._log = log
        self._feed = feed
        self._clock = clock
        self._buffer = _Buffer(buffer)
        self._newest: dict[Address, PoolUpdated] = {}

    async def run(self) -> None:
        """Record until the feed ends or the task is cancelled."""
        await self._own_up()
        async with together() as tasks:
            tasks.create_task(self._write())
            await self._pull()
            await self._buffer.close()

    async def _own_up(self) -> None:
        """Put on record that nobody watched since the last market event, if there ever was one."""
        head = await self._log.head()
        topics = {PoolUpdated.TOPIC, MarketGap.TOPIC}
        latest = await self._log.read(max(0, head - LOOK_BACK), LOOK_BACK, topics=topics)
        earlier = latest or await self._log.read(0, 1)
        if earlier:
            since, until = earlier[-1].recorded_at, self._clock()
            await self._buffer.put(self._gap(FeedGap(self._feed.name, 0, since, until, NOT_RUNNING)))

    async def _pull(self) -> None:
        async with aclosing(self._feed.observations()) as observations:  # type: ignore[type-var]  # scanners are async generators
            async for observation in observations:
                if isinstance(observation, FeedGap):
                    self._newest.clear()  # the feed shows every pool again
                    await self._buffer.put(self._gap(observation))
                elif self._is_news(observation):
                    self._newest[observation.pool] = observation
                    await self._buffer.put(self._sighting(observation))

    def _is_news(self, update: PoolUpdated) -> bool:
        known = self._newest.get(update.pool)
        if known is None:
            return True
        if update.slot < known.slot:
            return False  # a pool's recorded slots never go back
        return not same_state(known, update)

    def _sighting(self, update: PoolUpdated) -> StreamAppend:
        story = derived_id(
            "sighting", update.pool, update.slot, update.reserve_a, update.reserve_b, update.fees, update.open
        )
        cause = Cause(story, None, "recorder")
        stream = f"pool-{update.pool}"
        return StreamAppend(stream, ANY_VERSION, [update], cause, self._clock(), update.slot)

    def _gap(self, gap: FeedGap) -> StreamAppend:
        event = MarketGap(gap.feed, gap.dropped, gap.since, gap.until, gap.reason)
        cause = Cause(derived_id("gap", gap.feed, gap.since, gap.until), None, "recorder")
        return StreamAppend(f"feed-{gap.feed}", ANY_VERSION, [event], cause, self._clock())

    async def _write(self) -> None:
        while batch := await self._buffer.take(BATCH):  # ends when the feed has ended and all is written
            await self._append_surely(batch)
            lost = self._buffer.resume(self._feed.name, self._clock())
            if lost is not None:
                await self._append_surely([self._gap(lost)])
                await self._append_surely([self._sighting(state) for state in self._newest.values()])

    async def _append_surely(self, batch: list[StreamAppend]) -> None:
        """Append all, in order: the log commits them together, and knows what it has when tried again."""
        while True:  # ends when the log is back, or the service is stopped
            try:
                await asyncio.gather(*map(self._append, batch))
            except LogUnavailable as error:
                self._buffer.stall(self._clock())
                _log.warning("the log is away; sightings wait in memory", error=str(error))
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return

    async def _append(self, sighting: StreamAppend) -> None:
        append_id = timed_id(sighting.recorded_at, sighting.cause.correlation_id)
        await self._log.append([sighting], append_id=append_id)


class _Buffer:
    """What waits for the log: bounded; full, it makes the feed wait, or drops while the log is away."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiting: deque[StreamAppend] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._stalled_since: int | None = None
        self._dropped = 0

    async def put(self, append: StreamAppend) -> bool:
        """Queue it; false when it was dropped."""
        while len(self._waiting) >= self._bound:
            if self._stalled_since is not None:
                self._dropped += 1
                return False
            await self._change()
        self._waiting.append(append)
        self._changed.set()
        return True

    async def take(self, limit: int) -> list[StreamAppend]:
        """Whatever waits, at most `limit`; empty only when nothing will ever come again."""
        while not self._waiting and not self._closed:
            await self._change()
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self._changed.set()
        return taken

    async def close(self) -> None:
        """Nothing more is put."""
        self._closed = True
        self._changed.set()

    def stall(self, now: int) -> None:
        """The log is away."""
        if self._stalled_since is None:
            self._stalled_since = now
            self._changed.set()

    def resume(self, feed: str, now: int) -> FeedGap | None:
        """The log is back and nothing waits: what was dropped meanwhile, if anything."""
        if self._waiting:
            return None  # what waited is older than what was dropped: first write it down
        since, dropped = self._stalled_since, self._dropped
        self._stalled_since, self._dropped = None, 0
        if since is None or not dropped:
            return None
        return FeedGap(feed, dropped, since, now, "the event log was away and the buffer was full")

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
