"""The one append path of a process: callers' appends coalesce into short transactions, in one global order.

A batch usually costs one round trip: one statement compares the head that the writer believes in, inserts and
commits. When something is not as believed (another process appended, an append id is known, a lease moved on)
nothing is written, and the batch is decided again on a survey of the log, taken while the head is locked.
docs/decisions/0004-one-ordered-log.md has the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from adapters.postgres.batch import Known, Plan, Request, Track, plan
from adapters.postgres.connections import explain
from adapters.postgres.rows import EncodedAppend
from adapters.postgres.session import LogSession
from commands.ports import Appended, Fence
from domain.errors import DaybookError, LogError, LogUnavailable
from domain.events import ANY_VERSION

MAX_BATCH_EVENTS: Final = 2_000
"""A batch of this size commits in tens of milliseconds; more would make its callers wait without gain."""

MAX_BATCH_BYTES: Final = 8_000_000
"""So that eight events of the largest size still travel together, and memory stays small."""

QUEUE_LIMIT: Final = 4_096
"""Waiting appends; beyond it callers wait before they may queue (back-pressure)."""

MAX_KNOWN_STREAMS: Final = 100_000
"""Remembered stream versions, about 20 MB; beyond it the writer forgets them and asks again."""

EXTEND_EVERY: Final = 1_000_000
"""Positions between two looks at the partitions, which are made ten million positions ahead."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Back-off between attempts while the database is away: quick after a blip, gentle to a starting server."""

_CLOSED: Final = "the event log was closed before this append was answered: open it and retry with its id"
_log = structlog.get_logger(__name__)


class CoalescingWriter:
    """Drains waiting appends into batches. One for each process and log; run by `PostgresEventLog`.

    Args:
        database_url: the log's database.
        unavailable_after_s: how long an append is retried while the database is away.
    """

    def __init__(self, database_url: str, *, unavailable_after_s: float) -> None:
        self._url = database_url
        self._patience_s = unavailable_after_s
        self._queue: asyncio.Queue[Request] = asyncio.Queue(QUEUE_LIMIT)
        self._session: LogSession | None = None
        self._known: Known | None = None
        self._contended = False
        self._extend_at = 0
        self._closed = False

    async def append(
        self,
        appends: list[EncodedAppend],
        append_id: UUID,
        fence: Fence | None = None,
        track: Track | None = None,
    ) -> Appended:
        """Queue an append and wait for its answer.

        Raises:
            ConcurrencyError, FencedOut, AlreadyTracked: it was refused.
            LogUnavailable: the database stayed away, or the queue stayed full.
        """
        if self._closed:
            raise LogUnavailable(_CLOSED)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        request = Request(appends, append_id, fence, loop.create_future(), deadline, track)
        if self._queue.full():
            await self._wait_for_room(request)
        else:
            self._queue.put_nowait(request)
        return await request.answer

    async def _wait_for_room(self, request: Request) -> None:
        try:
            async with asyncio.timeout_at(request.deadline):
                await self._queue.put(request)
        except TimeoutError as error:
            raise LogUnavailable(
                f"the append queue stayed full ({QUEUE_LIMIT} waiting) for {self._patience_s} s: the "
                "database is slow or away; retry with the same append id"
            ) from error
        if self._closed:
            raise LogUnavailable(_CLOSED)

    async def run(self) -> None:
        """Write batch after batch, until cancelled; then every waiting caller is told."""
        batch: list[Request] = []
        try:
            while True:
                batch = await self._next_batch()
                await self._write(batch)
        finally:
            self._closed = True
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            for request in batch:
                request.resolve(LogUnavailable(_CLOSED))
            self._lose_session()

    async def _next_batch(self) -> list[Request]:
        """Everything that waits, up to the limits; callers that went away are left out."""
        batch = [await self._queue.get()]
        events, size = batch[0].weight()
        while events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES and not self._queue.empty():
            request = self._queue.get_nowait()
            if not request.answer.done():
                more_events, more_size = request.weight()
                events, size = events + more_events, size + more_size
                batch.append(request)
        return batch

    async def _write(self, batch: Sequence[Request]) -> None:
        """Write a batch, however often that must be tried; every request of it is answered."""
        pause = FIRST_PAUSE_S
        while batch := [request for request in batch if not request.answer.done()]:
            try:
                await self._attempt(batch)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers are told
                self._lose_session()
                reason = explain(error)
                if not isinstance(reason, LogUnavailable):
                    await self._isolate(batch, reason)
                    break
                self._expire(batch, reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _expire(self, batch: Sequence[Request], reason: LogUnavailable) -> None:
        _log.warning(
            "the event log is away; the append is tried again", reason=str(reason), appends=len(batch)
        )
        now = asyncio.get_running_loop().time()
        for request in batch:
            if now >= request.deadline:
                request.resolve(reason)

    async def _isolate(self, batch: Sequence[Request], reason: Exception) -> None:
        """One of the batch is to blame: write each alone, so that only that one is refused."""
        if len(batch) > 1:
            for request in batch:
                await self._write([request])
        elif isinstance(reason, DaybookError):
            batch[0].resolve(reason)
        else:
            _log.error("an append was refused", error=repr(reason), append_id=str(batch[0].append_id))
            batch[0].resolve(LogError(f"the log could not take the append: {reason!r}; nothing was written"))

    async def _attempt(self, batch: Sequence[Request]) -> None:
        session = await self._opened()
        if self._known is not None and self._known.position >= self._extend_at:
            await self._extend(session)
        if self._known is not None and not self._contended and not _needs_survey(batch, self._known):
            made = plan(batch, self._known)
            if made.rows and await session.insert(made):
                self._settle(made)
                return
        known, made = await session.write_surveyed(batch)
        self._contended = self._known is not None and self._known.position != known.position
        if self._known is None or self._contended:
            self._known = Known(known.position, known.hash, {})
        self._known.versions.update(known.versions)
        self._settle(made)

    def _settle(self, made: Plan) -> None:
        """Remember what is committed, then answer everybody."""
        assert self._known is not None  # noqa: S101 - set by whoever wrote
        self._known.position, self._known.hash = made.head
        self._known.versions.update(made.versions)
        if len(self._known.versions) > MAX_KNOWN_STREAMS:
            self._known.versions.clear()
        for request, result in made.results:
            request.resolve(result)
        for request, error in made.refused:
            request.resolve(error)

    async def _extend(self, session: LogSession) -> None:
        """Between batches, so that no append ever waits for a partition; it is far too early to fail one."""
        try:
            self._extend_at = await session.extend() + EXTEND_EVERY
        except asyncpg.PostgresError as error:
            if isinstance(explain(error), DaybookError):
                raise
            self._extend_at += EXTEND_EVERY
            _log.error("partitions could not be made ahead: make room for them", error=str(error))

    async def _opened(self) -> LogSession:
        if self._session is None:
            self._session = await LogSession.open(self._url)
            await self._extend(self._session)
        return self._session

    def _lose_session(self) -> None:
        """After any error nothing that was believed is sure: the next attempt surveys on a new connection."""
        session, self._session, self._known = self._session, None, None
        if session is not None:
            session.terminate()


def _needs_survey(batch: Sequence[Request], known: Known) -> bool:
    """Whether a caller moves a follower, or takes any version of a stream whose version is not known."""
    for request in batch:
        if request.track is not None:
            return True
        for append in request.appends:
            if append.expected_version == ANY_VERSION and append.stream not in known.versions:
                return True
    return False
