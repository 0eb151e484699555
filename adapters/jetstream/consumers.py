"""A durable consumer of the delivered log: it keeps its own place, and loses no event it cannot handle.

JetStream delivers at least once, may come back empty after a power cut, and lets a message simply stop when
its deliveries run out. So the consumer remembers a position of the log, not of a stream: what is at or
below it was handled before, and whatever is missing above it is read from PostgreSQL before going on. The
server never stops delivering (no `max_deliver`); we count, and write a dead letter ourselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias
from uuid import UUID

import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, Header

from adapters.jetstream.streams import AWAY, REQUEST_TIMEOUT_S, Stream, connected
from adapters.postgres.rows import StoredEvent
from commands.ports import Bookmarks
from domain.errors import CacheUnavailable, DaybookError, DeliveryError
from domain.events import RecordedEvent
from projections.ports import (
    DeadLetter,
    EventReader,
    FoldEvent,
    Generation,
    LetterState,
    Rows,
    State,
)

ACK_WAIT_S: Final = 30.0
"""A message that nobody answered for comes again after this; handling takes milliseconds."""

MAX_DELIVERIES: Final = 5
"""Deliveries of an event that a handler refuses, before it becomes a dead letter."""

RETRY_S: Final = (0.1, 1.0, 5.0, 15.0)
"""Before the second delivery, the third and so on."""

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


class Letters(Protocol):
    """Where events go that cannot be handled: the read store, which keeps those of the read models, too."""

    async def set_aside(self, generation: Generation, event: FoldEvent, error: str, attempts: int) -> None:
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
        topics: all event types of that stream.
        max_deliveries: before an event becomes a dead letter.
        ack_wait_s: see `ACK_WAIT_S`.
    """

    name: str
    stream: Stream
    topics: Collection[str]
    max_deliveries: int = MAX_DELIVERIES
    ack_wait_s: float = ACK_WAIT_S


Item: TypeAlias = tuple[RecordedEvent, Msg | None]
"""An event and the message that brought it; none where it was read from the log."""


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
        log: EventReader,
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
        for message in messages:
            event, place = _recorded(message), message.metadata.sequence.stream
            if event.position in self._open:
                items.append((event, message))
            elif event.position <= self._reached:
                await message.ack()
            else:
                if self._sequence is None or place != self._sequence + 1:
                    await self._handle(items)
                    items = []
                    await self._fill(event.position)
                items.append((event, message))
                self._reached, self._sequence = event.position, place
        await self._handle(items)

    async def _fill(self, before: int) -> None:
        """Handle the events of the log below a position that no message brought."""
        while missed := await self._log.read(
            self._reached, BATCH, through=before - 1, topics=self._of.topics
        ):
            await self._handle([(event, None) for event in missed])
            self._reached = missed[-1].position
            await self._save()

    async def _handle(self, items: Sequence[Item]) -> None:
        """All together; where that is refused, one by one: only the one to blame waits or is set aside."""
        if not items:
            return
        error = await self._try(items)
        if error is None:
            await self._settled(items)
        elif len(items) == 1:
            await self._refused(*items[0], error)
        else:
            for item in items:
                await self._handle([item])

    async def _try(self, items: Sequence[Item]) -> Exception | None:
        """What the handler says against events. While what it writes to is away, their messages stay ours."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._handler.handle([event for event, _ in items])
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
        for event, message in items:
            self._open.discard(event.position)
            if message is not None:
                await message.ack()

    async def _refused(self, event: RecordedEvent, message: Msg | None, error: Exception) -> None:
        """Deliver it again later, or write a dead letter when its deliveries have run out."""
        attempts = self._of.max_deliveries if message is None else message.metadata.num_delivered
        if message is not None and attempts < self._of.max_deliveries:
            self._open.add(event.position)
            await message.nak(delay=RETRY_S[min(attempts, len(RETRY_S)) - 1])
            return
        await self._set_aside(event, error, attempts)
        await self._settled([(event, message)])

    async def _set_aside(self, event: RecordedEvent, error: Exception, attempts: int) -> None:
        words = f"{type(error).__name__}: {error}"
        await self._letters.set_aside(self._kept_as, event, words, attempts)
        _log.error("event_set_aside", consumer=self._of.name, position=event.position, error=words)

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
            for event in await self._log.read(letter.position - 1, 1, through=letter.position):
                error = await self._try([(event, None)])
                if error is None:
                    await self._letters.settle(self._kept_as, letter, Rows())
                else:
                    await self._set_aside(event, error, 1)


def _recorded(message: Msg) -> RecordedEvent:
    """The event a message carries, from its bytes and its headers.

    Raises:
        DecodeError: the relay did not write it.
    """
    headers = message.headers or {}
    causation, slot = headers.get("Daybook-Causation-Id"), headers.get("Daybook-Slot")
    try:
        row = StoredEvent(
            int(headers["Daybook-Position"]),
            headers["Daybook-Stream"],
            int(headers["Daybook-Version"]),
            headers["Daybook-Type"],
            int(headers["Daybook-Schema-Version"]),
            int(headers["Daybook-Recorded-At"]),
            UUID(headers[Header.MSG_ID.value]),
            None if causation is None else UUID(causation),
            UUID(headers["Daybook-Correlation-Id"]),
            headers["Daybook-Actor"],
            None if slot is None else int(slot),
            message.data,
            b"",
        )
    except (KeyError, ValueError) as error:
        raise DeliveryError(
            f"message {message.metadata.sequence.stream} of stream {message.metadata.stream} is not "
            f"one of the relay's: {error!r}; its subjects belong to the relay alone"
        ) from error
    return row.recorded()
