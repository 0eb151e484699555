"""The one append path of a process: callers' appends coalesce into short transactions, in one global order.

A batch usually costs one round trip: one statement compares the head that the writer believes in, inserts and
commits. When something is not as believed (another process appended, an append id is known, a lease moved on)
nothing is written, and the batch is decided again on a survey of the log, taken while the head is locked.
Large batches are decided under that lock from the start, without a survey where the head is as believed.

Two lanes, each with a connection of its own, take turns: while one batch commits, the next is made ready and
sent. It follows on a head that is not there yet, so it waits for the first at the head's row, and writes
nothing when that one did not commit. docs/decisions/0004-one-ordered-log.md has the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from adapters.postgres.batch import Known, Plan, Request, Track, plan
from adapters.postgres.chaining import Chain, Link
from adapters.postgres.connections import explain
from adapters.postgres.lanes import Lane, watch
from adapters.postgres.rows import EncodedAppend
from adapters.postgres.session import COPY_FROM, LogSession
from adapters.postgres.waiting import Waiting
from commands.ports import Appended, Fence
from domain.errors import DaybookError, LogError, LogUnavailable

MAX_BATCH_EVENTS: Final = 2_000
"""A batch of this size commits in tens of milliseconds; more would make its callers wait without gain."""

MAX_BATCH_BYTES: Final = 8_000_000
"""So that eight events of the largest size still travel together, and memory stays small."""

QUEUE_LIMIT: Final = 4_096
"""Waiting appends; beyond it callers wait before they may queue (back-pressure)."""

LANES: Final = 2
"""One commits, one is made ready; more would only wait at the head's row."""

QUEUE_BYTES: Final = 64_000_000
"""Of their events, where they are large: more than a second of the fastest disk's work."""

SLOWEST_EVENTS_S: Final = 5_000
SLOWEST_BYTES_S: Final = 5_000_000
"""What the slowest disk we know takes in a second: an append is given so much more time than an empty one."""

SPLIT_FROM: Final = 24
"""Waiting appends that are taken in two halves, so that one is made ready while the other commits; fewer
commit sooner together than twice."""

MAX_KNOWN_STREAMS: Final = 100_000
"""Remembered stream versions, about 20 MB; beyond it the writer forgets them and asks again."""

EXTEND_EVERY: Final = 1_000_000
"""Positions between two looks at the partitions, which are made ten million positions ahead."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Back-off between attempts while the database is away: quick after a blip, gentle to a starting server."""

_CLOSED: Final = "the event log was closed before this append was answered: open it and retry with its id"
_log = structlog.get_logger(__name__)


class _Flight(NamedTuple):
    """A batch on its way that was planned on what was believed.

    Attributes:
        batch, made, chain, links: what is sent.
        after: set when the batch it follows on has been settled.
        settled: set when this one has.
        failures: of flights, before this one was planned.
    """

    batch: list[Request]
    made: Plan
    chain: Chain
    links: list[Link]
    after: asyncio.Event
    settled: asyncio.Event
    failures: int


class CoalescingWriter:
    """Drains waiting appends into batches. One for each process and log; run by `PostgresEventLog`.

    Args:
        database_url: the log's database.
        unavailable_after_s: how long an append is retried while the database is away.
        rung: told the new head after each batch.
    """

    def __init__(
        self, database_url: str, *, unavailable_after_s: float, rung: Callable[[int], object]
    ) -> None:
        self._patience_s = unavailable_after_s
        self._rung = rung
        self._waiting = Waiting(QUEUE_LIMIT, QUEUE_BYTES)
        self._lanes = [Lane(database_url) for _ in range(LANES)]
        self._trouble = ""  # of the last attempt, while none has come off since
        self._turn = asyncio.Lock()
        self._last = asyncio.Event()  # of the newest flight: whether it was settled
        self._last.set()
        self._known: Known | None = None
        self._committed = 0
        self._failures = 0
        self._contended = False
        self._extend_at = 0
        self._closed = False

    def append(
        self,
        appends: list[EncodedAppend],
        append_id: UUID,
        fence: Fence | None = None,
        track: Track | None = None,
    ) -> Awaitable[Appended]:
        """Queue an append; the answer is to be awaited.

        Raises:
            ConcurrencyError, FencedOut, AlreadyTracked: it was refused.
            LogUnavailable: the database stayed away, or the queue stayed full.
        """
        if self._closed:
            raise LogUnavailable(_CLOSED)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Appended] = loop.create_future()
        request = Request(appends, append_id, answer, loop.time() + self._patience_s, fence, track)
        request.deadline += request.count / SLOWEST_EVENTS_S + request.size / SLOWEST_BYTES_S
        return answer if self._waiting.offer(request) else self._when_there_is_room(request)

    async def _when_there_is_room(self, request: Request) -> Appended:
        try:
            async with asyncio.timeout_at(request.deadline):
                while not (self._closed or self._waiting.offer(request)):
                    await self._waiting.room()
        except TimeoutError as error:
            raise LogUnavailable(
                f"the append queue stayed full ({len(self._waiting)} waiting, {self._waiting.size} bytes) "
                f"for {self._patience_s} s: the database is slow or away; retry with the same append id"
            ) from error
        if self._closed:
            raise LogUnavailable(_CLOSED)
        return await request.answer

    async def run(self) -> None:
        """Write batch after batch, until closed and cancelled; then every waiting caller is told."""
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._run(lane))
                group.create_task(watch(self._waiting, self._lanes, self._patience_s, self._reason))
        finally:
            self.close()

    def close(self) -> None:
        """Take no append any more, and tell who waits; who is on his way is told when `run` is cancelled."""
        self._closed = True
        while self._waiting:
            self._waiting.take().resolve(LogUnavailable(_CLOSED))

    async def _run(self, lane: Lane) -> None:
        """Take a batch and send it; the other lane takes the next while this one commits."""
        try:
            while not self._closed:
                lane.batch = []
                await self._waiting.some()
                async with self._turn:
                    lane.batch = batch = self._next_batch()
                    if not batch:
                        continue
                    flight = await self._prepared(lane, batch)
                    if flight is None:
                        await self._last.wait()
                        await self._write(lane, batch)
                        continue
                    sending: Awaitable[bool] = self._send(lane, flight)
                    if self._waiting:  # it must be on its way before the next is made ready
                        sending = asyncio.ensure_future(sending)
                        await asyncio.sleep(0)
                await self._land(lane, flight, sending)
        finally:
            for request in lane.batch:
                request.resolve(LogUnavailable(_CLOSED))
            lane.lose()

    def _next_batch(self) -> list[Request]:
        """What waits, up to the limits: all of it, or half when much waits and nothing is on its way."""
        batch: list[Request] = []
        events = size = 0
        waiting = len(self._waiting)
        take = waiting // 2 if waiting >= SPLIT_FROM and self._last.is_set() else waiting
        while take and events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
            request = self._waiting.take()
            take -= 1
            if not request.answer.done():  # else its caller went away
                events, size = events + request.count, size + request.size
                batch.append(request)
        if self._waiting:  # the other lane's, now or when this batch is on its way
            self._waiting.wake()
        return batch

    async def _prepared(self, lane: Lane, batch: list[Request]) -> _Flight | None:
        """As `_ready`; none too when it cannot be, so that only who is to blame is refused."""
        try:
            return await self._ready(lane, batch)
        except Exception as error:  # noqa: BLE001 - an append no writer can take must not end the writer
            _log.info("a batch of appends cannot be made ready", reason=repr(error))
            return None

    async def _ready(self, lane: Lane, batch: list[Request]) -> _Flight | None:
        """Plan and chain a batch on what is believed of the log; none when that will not do."""
        known = self._known
        if known is None or lane.session is None or self._contended or known.position >= self._extend_at:
            return None
        made = plan(batch, known)
        if made.unsure or made.refused or made.count >= COPY_FROM:  # the refused may be there since long
            return None
        if made.fences or made.unseen:  # what is compared must be there, not on its way
            await self._last.wait()
            if self._known is not known:
                return None
        chain = Chain(made)
        links = chain.links(made.placed)
        _follow(known, made, chain)
        after, self._last = self._last, asyncio.Event()
        return _Flight(batch, made, chain, links, after, self._last, self._failures)

    async def _send(self, lane: Lane, flight: _Flight) -> bool:
        """Send a batch; false when it was not as believed, or nobody can tell."""
        made = flight.made
        if lane.session is None:
            return False
        try:
            return await lane.session.insert(made, flight.links, flight.chain.hash)
        except Exception as error:  # noqa: BLE001 - whatever it is, a survey will tell
            _log.info("a batch of appends is decided anew", reason=str(explain(error)))
            lane.lose()
            return False

    async def _land(self, lane: Lane, flight: _Flight, sending: Awaitable[bool]) -> None:
        """Settle a batch after the one it follows on; what was not as believed is decided anew."""
        written = await sending
        await flight.after.wait()
        if not written and flight.failures == self._failures:  # it overtook the batch it follows on
            written = await self._send(lane, flight)
        if written:
            self._settle(flight.made)
        else:
            self._failures += 1
            self._known = None
            await self._write(lane, flight.batch)
            if self._last is not flight.settled:  # what is behind it fails too, and comes before the next
                self._known = None
        flight.settled.set()

    async def _write(self, lane: Lane, batch: Sequence[Request]) -> None:
        """Write a batch with the head locked, however often that must be tried, and answer all its requests.

        Closed meanwhile, it leaves them: cancelling may have come to light as another error.
        """
        pause = FIRST_PAUSE_S
        while batch := [request for request in batch if not (self._closed or request.answer.done())]:
            try:
                async with lane.attempt():
                    await self._decide(lane, batch)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers are told
                lane.lose()
                self._known = None
                reason = explain(error)
                if not isinstance(reason, LogUnavailable):
                    await self._isolate(lane, batch, reason)
                    break
                self._trouble = f"{reason}; "
                _log.warning("the event log is away", reason=str(reason), appends=len(batch))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _reason(self) -> LogUnavailable:
        """What is told to whom no attempt has answered in time."""
        return LogUnavailable(
            f"{self._trouble}an append was not answered in time, so whether it is in the log is not known; "
            "the append may be retried with its append id"
        )

    async def _isolate(self, lane: Lane, batch: Sequence[Request], reason: Exception) -> None:
        """One of the batch is to blame: write each alone, so that only that one is refused."""
        if len(batch) > 1:
            for request in batch:
                await self._write(lane, [request])
        elif isinstance(reason, DaybookError):
            batch[0].resolve(reason)
        else:
            _log.error("an append was refused", error=repr(reason), append_id=batch[0].append_id.hex())
            batch[0].resolve(LogError(f"the log could not take the append: {reason!r}; nothing was written"))

    async def _decide(self, lane: Lane, batch: Sequence[Request]) -> None:
        """Write a batch that is decided with the head locked."""
        session = await lane.opened()
        if self._known is None or self._known.position >= self._extend_at:
            await self._extend(session)
        believed = self._known
        known, made, chain = await session.write(batch, None if self._contended else believed)
        self._contended = 0 < self._committed < known.position
        if believed is None or (believed.position, believed.hash) != (known.position, known.hash):
            self._known = believed = Known(known.position, known.hash, {})
        believed.versions.update(known.versions)
        _follow(believed, made, chain)
        self._settle(made)

    def _settle(self, made: Plan) -> None:
        """Answer everybody: it is committed."""
        self._committed = max(self._committed, made.position)
        self._trouble = ""
        for request, first, last in made.accepted:
            if not request.answer.done():
                request.answer.set_result(Appended(first, last))
        for request, (_, first, last) in made.twins:
            request.resolve(Appended(first, last, repeated=True))
        for request, result in made.repeated:
            request.resolve(result)
        for request, error in made.refused:
            request.resolve(error)
        if made.count:
            self._rung(made.position)

    async def _extend(self, session: LogSession) -> None:
        """Between batches, so that no append ever waits for a partition; it is far too early to fail one."""
        try:
            self._extend_at = await session.extend() + EXTEND_EVERY
        except asyncpg.PostgresError as error:
            if isinstance(explain(error), DaybookError):
                raise
            self._extend_at += EXTEND_EVERY
            _log.error("partitions could not be made ahead: make room for them", error=str(error))


def _follow(known: Known, made: Plan, chain: Chain) -> None:
    """Believe that a plan is in the log."""
    known.position, known.hash = made.position, chain.hash
    known.versions.update(made.versions)
    if len(known.versions) > MAX_KNOWN_STREAMS:
        known.versions.clear()
