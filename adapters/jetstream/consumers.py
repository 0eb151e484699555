"""A durable consumer of the delivered log: it keeps its own place, and loses no event it cannot handle.

JetStream delivers at least once, may come back empty after a power cut, and lets a message simply stop when
its deliveries run out. So the consumer remembers a position of the log, not of a stream: what is at or
below it was handled before, and whatever is missing above it is read from PostgreSQL before going on. The
server never stops delivering (no `max_deliver`); we count, and write a dead letter ourselves. Events are
decoded one by one, within the attempt: one that cannot be is tried and set aside like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from adapters.jetstream.headers import row_of
from adapters.jetstream.streams import AWAY, REQUEST_TIMEOUT_S, Stream, connected, root_of
from adapters.postgres.rows import StoredEvent
from commands.ports import Bookmarks
from domain.errors import CacheUnavailable, DaybookError, DecodeError, DeliveryError
from domain.events import RecordedEvent
from projections.ports import (
    DeadLetter,
    Generation,
    LetterState,
    Positioned,
    Rows,
    State,
)

ACK_WAIT_S: Final = 30.0
"""A message that nobody answered for comes again after this; handling takes milliseconds."""

MAX_DELIVERIES: Final = 5
"""Attempts at an event that a handler refuses or nobody can decode, before it becomes a dead letter."""

RETRY_S: Final = (0.1, 1.0, 5.0, 15.0)
"""Before the second attempt, the third and so on."""

BATCH: Final = 256
FETCH_S: Final = 1.0
"""A quiet stream is looked at this often; letters to be tried again, too."""

UNANSWERED: Final = 4 * BATCH
"""Messages under way: enough to keep busy, little to deliver again after a crash."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Back-off while NATS, PostgreSQL or what the handler writes to is away."""

_log = structlog.get_logger(__name__)


class Handler(Protocol):
    """What a consumer does with events; idempotent by position, for an event may come more than once."""

    async def handle(self, events: Sequence[RecordedEvent]) -> None:
        """Handle events in the order of their positions, all or none of them.

        Raises:
            CacheUnavailable: what it writes to is away; the events are held until it is back.
            Exception: anything else refuses the events; they are tried one by one, and again later.
        """
        ...


class Record(Protocol):
    """The log, undecoded: an event that cannot be decoded must not hide its neighbours."""

    async def read_rows(
        self, after: int = 0, limit: int = 500, *, through: int | None = None
    ) -> Sequence[StoredEvent]:
        """Up to `limit` rows with `after` < position (<= `through`), in position order."""
        ...


class Letters(Protocol):
    """Where events go that cannot be handled: the read store, which keeps those of the read models, too."""

    async def set_aside(self, generation: Generation, event: Positioned, error: str, attempts: int) -> None:
        """Write a dead letter; a repeated one counts its attempts on and waits again."""
        ...

    async def dead_letters(
        self, name: str | None = None, *, state: LetterState | None = None, limit: int = 1_000
    ) -> list[DeadLetter]:
        """Those of one consumer in one state, oldest first."""
        ...

    async def settle(self, generation: Generation, letter: DeadLetter, rows: Rows) -> None:
        """Remove a letter whose event was handled after all."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a consumer follows.

    Attributes:
        name: of the durable consumer, of its bookmark and of its dead letters.
        stream: the JetStream stream.
        max_deliveries: before an event becomes a dead letter.
        ack_wait_s: see `ACK_WAIT_S`.
    """

    name: str
    stream: Stream
    max_deliveries: int = MAX_DELIVERIES
    ack_wait_s: float = ACK_WAIT_S


class Item(NamedTuple):
    """An event, not yet decoded, and the message that brought it; none where it was read from the log."""

    row: StoredEvent
    message: Msg | None


Refused: TypeAlias = tuple[Item, Exception]
"""An event that cannot be decoded or that the handler refuses, and why."""


class Consumer:
    """Runs one subscription.

    Args:
        subscription: what it follows.
        handler: what it does with it.
        nats_url: a NATS server with JetStream.
        log: the record, for what a stream lacks.
        bookmarks: keep its position.
        letters: keep what cannot be handled.
    """

    def __init__(
        self,
        subscription: Subscription,
        handler: Handler,
        *,
        nats_url: str,
        log: Record,
        bookmarks: Bookmarks,
        letters: Letters,
    ) -> None:
        self._of = subscription
        self._handler = handler
        self._nats_url = nats_url
        self._log = log
        self._bookmarks = bookmarks
        self._letters = letters
        self._bookmark = f"consumer.{subscription.name}"
        self._reached = 0
        self._sequence: int | None = None
        self._open: set[int] = set()
        self._saved = 0
        self._look_at = 0.0
        self._kept_as = Generation(subscription.name, 1, 1, State.LIVE, 0, paused=False, tables=())

    @property
    def checkpoint(self) -> int:
        """The last position up to which every event was handled or set aside."""
        return min(self._open) - 1 if self._open else self._reached

    async def run(self) -> None:
        """Consume until cancelled; whatever is away is waited for."""
        pause = FIRST_PAUSE_S
        while True:
            before = self._reached
            try:
                await self._consume()
            except DaybookError as error:
                _log.warning(
                    "a consumer starts over", consumer=self._of.name, error=str(error), pause_s=pause
                )
            pause = FIRST_PAUSE_S if self._reached > before else min(2 * pause, LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _consume(self) -> None:
        self._reached = self._saved = await self._bookmarks.load(self._bookmark)
        self._sequence, self._open = None, set()
        lost = asyncio.Event()
        async with connected(self._nats_url, lost) as client:
            jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
            try:
                source = await self._bind(jetstream)
                while not lost.is_set():
                    await self._take(await self._fetch(jetstream, source))
                    await self._save()
                    await self._retry()
            except AWAY as error:
                raise DeliveryError(
                    f"consumer {self._of.name} lost stream {self._of.stream.name}: {error!r}"
                ) from error
        raise DeliveryError("the connection to NATS was lost")

    async def _bind(self, jetstream: JetStreamContext) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            durable_name=self._of.name,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._of.ack_wait_s,
            max_deliver=-1,
            max_ack_pending=UNANSWERED,
        )
        await jetstream.add_consumer(self._of.stream.name, config)
        return await jetstream.pull_subscribe_bind(durable=self._of.name, stream=self._of.stream.name)

    async def _fetch(
        self, jetstream: JetStreamContext, source: JetStreamContext.PullSubscription
    ) -> list[Msg]:
        try:
            return await source.fetch(BATCH, timeout=FETCH_S)
        except TimeoutError:  # the client raises its own and, in a hurry, the plain one
            # nothing came: or is the stream no longer the one that was bound?
            await jetstream.consumer_info(self._of.stream.name, self._of.name)
            return []

    async def _take(self, messages: Sequence[Msg]) -> None:
        """Handle messages in order, and before each what is missing between it and the one before."""
        items: list[Item] = []
        for row, message in await self._received(messages):
            place = message.metadata.sequence.stream
            if row.position in self._open:
                items.append(Item(row, message))
            elif row.position <= self._reached:
                await message.ack()
            else:
                if self._sequence is None or place != self._sequence + 1:
                    await self._handle(items)
                    items = []
                    await self._fill(row.position)
                items.append(Item(row, message))
                self._reached, self._sequence = row.position, place
        await self._handle(items)

    async def _received(self, messages: Sequence[Msg]) -> list[tuple[StoredEvent, Msg]]:
        """The rows that messages carry. A message of somebody else is no event of the log: it is ended."""
        received = []
        for message in messages:
            try:
                received.append((row_of(message), message))
            except DeliveryError as error:
                _log.error("foreign_message", consumer=self._of.name, error=str(error))
                await message.term()
        return received

    async def _fill(self, before: int) -> None:
        """Handle the events of the log below a position that no message brought.

        All rows are read, not those of the types we know: one of an unknown type is not to be passed over.
        """
        root = self._of.stream.root
        while missed := await self._log.read_rows(self._reached, BATCH, through=before - 1):
            await self._make_up([Item(row, None) for row in missed if root_of(row.topic) == root])
            self._reached = missed[-1].position
            await self._save()

    async def _make_up(self, items: Sequence[Item]) -> None:
        """Handle events that nobody delivers again: they are tried as often here, with the same pauses."""
        attempts = 1
        while refused := await self._sift(items):
            if attempts >= self._of.max_deliveries:
                for item, error in refused:
                    await self._set_aside(item.row, error, attempts)
                return
            await asyncio.sleep(_pause_s(attempts))
            items, attempts = [item for item, _ in refused], attempts + 1

    async def _handle(self, items: Sequence[Item]) -> None:
        """Handle what messages brought; those that are refused are delivered again, or set aside."""
        for item, error in await self._sift(items):
            await self._refused(item, error)

    async def _sift(self, items: Sequence[Item]) -> list[Refused]:
        """Handle what can be decoded; returns what cannot, or was refused, and why."""
        readable: list[tuple[Item, RecordedEvent]] = []
        refused: list[Refused] = []
        for item in items:
            try:
                readable.append((item, item.row.recorded()))
            except DecodeError as error:
                refused.append((item, error))
        return refused + await self._offer(readable)

    async def _offer(self, readable: Sequence[tuple[Item, RecordedEvent]]) -> list[Refused]:
        """All together; where that is refused, one by one: only the one to blame is returned."""
        if not readable:
            return []
        items = [item for item, _ in readable]
        error = await self._try(items, [event for _, event in readable])
        if error is None:
            await self._settled(items)
            return []
        if len(items) == 1:
            return [(items[0], error)]
        return [refused for one in readable for refused in await self._offer([one])]

    async def _try(self, items: Sequence[Item], events: Sequence[RecordedEvent]) -> Exception | None:
        """What the handler says against events. While what it writes to is away, their messages stay ours."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._handler.handle(events)
            except CacheUnavailable as error:
                _log.warning("a consumer waits", consumer=self._of.name, error=str(error), pause_s=pause)
            except Exception as error:  # noqa: BLE001 - whatever a handler raises, the event is not lost
                return error
            else:
                return None
            for _, message in items:
                if message is not None:
                    await message.in_progress()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _settled(self, items: Sequence[Item]) -> None:
        for row, message in items:
            self._open.discard(row.position)
            if message is not None:
                await message.ack()

    async def _refused(self, item: Item, error: Exception) -> None:
        """Have it delivered again later, or write a dead letter when its deliveries have run out."""
        row, message = item
        assert message is not None  # noqa: S101 - what was read from the log is made up for, not delivered
        attempts = message.metadata.num_delivered
        if attempts < self._of.max_deliveries:
            self._open.add(row.position)
            await message.nak(delay=_pause_s(attempts))
            return
        await self._set_aside(row, error, attempts)
        await self._settled([item])

    async def _set_aside(self, row: StoredEvent, error: Exception, attempts: int) -> None:
        words = f"{type(error).__name__}: {error}"
        await self._letters.set_aside(self._kept_as, row, words, attempts)
        _log.error("event_set_aside", consumer=self._of.name, position=row.position, error=words)

    async def _save(self) -> None:
        if self.checkpoint > self._saved:
            await self._bookmarks.save(self._bookmark, self.checkpoint)
            self._saved = self.checkpoint

    async def _retry(self) -> None:
        """Once a second: handle the events of letters that somebody wants tried again."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + FETCH_S
        for letter in await self._letters.dead_letters(self._of.name, state=LetterState.RETRY):
            for row in await self._log.read_rows(letter.position - 1, 1, through=letter.position):
                refused = await self._sift([Item(row, None)])
                if not refused:
                    await self._letters.settle(self._kept_as, letter, Rows())
                for _, error in refused:
                    await self._set_aside(row, error, 1)


def _pause_s(attempts: int) -> float:
    """Before the next attempt after so many."""
    return RETRY_S[min(attempts, len(RETRY_S)) - 1]
