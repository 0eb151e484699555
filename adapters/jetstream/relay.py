"""Delivers the log to JetStream: in position order, each event once, from wherever each stream really stands.

PostgreSQL is the record and JetStream may lose its tail or everything. So on every connection the relay asks
each stream for its last message and goes on from there. Its own checkpoints only spare it a look at events
of long ago, and are believed only while the stream still is the one they speak of.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import nats.js.errors
import structlog
from nats.js.api import Header

from adapters.jetstream.headers import headers_of
from adapters.jetstream.publishing import MAX_BATCH, MAX_BATCH_BYTES, Ack, Message, Publisher
from adapters.jetstream.streams import (
    AWAY,
    REQUEST_TIMEOUT_S,
    STREAMS,
    Stream,
    connected,
    count_delivered,
    ensure_streams,
    subject_of,
)
from adapters.postgres.relay_source import Checkpoint, RelaySource
from adapters.postgres.rows import StoredEvent
from domain.errors import DaybookError, DeliveryError

WINDOW: Final = 2 * MAX_BATCH
"""Messages under way at once: while JetStream stores one batch the next is read and put together."""

PAGE: Final = MAX_BATCH
"""Rows of one read."""

POLL_S: Final = 1.0
"""How late the relay may be when a notification is lost."""

CHECKPOINT_EVERY_S: Final = 0.5
"""While the relay is busy; when it has caught up it writes its checkpoints at once."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
"""Back-off while NATS or PostgreSQL is away."""

MAX_OPENINGS: Final = 10_000
"""Remembered first events of opportunities, a few hundred bytes each."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Cursor:
    """Where one stream stands.

    Attributes:
        created: when JetStream created it.
        position: the log's position that it held when the relay connected.
        sequence: of the last message published to it.
        acknowledged: of the last message it acknowledged.
    """

    created: str
    position: int
    sequence: int
    acknowledged: int


@dataclass(slots=True)
class Sent:
    """Messages under way to one stream, together: all of them arrive, or none.

    Attributes:
        after: everything in the log up to this position was sent before them.
        cursor: of the stream.
        sequence: that the last of them must get.
        count: how many they are.
        ack: what JetStream says of them.
    """

    after: int
    cursor: Cursor
    sequence: int
    count: int
    ack: asyncio.Future[Ack]


class Relay:
    """The only publisher. Any number may run; one is active, the others stand by.

    Args:
        database_url: the log's database.
        nats_url: a NATS server with JetStream.
        replicas: copies of each stream.
        window: messages under way at once.
    """

    def __init__(self, database_url: str, nats_url: str, *, replicas: int = 1, window: int = WINDOW) -> None:
        self._database_url = database_url
        self._nats_url = nats_url
        self._replicas = replicas
        self._window = window
        self.active = False

    async def run(self) -> None:
        """Deliver until cancelled; whatever is away is waited for, and the log never waits for the relay."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._deliver()
            except DaybookError as error:
                _refuse_when_cancelled()
                _log.warning("the relay starts over", error=str(error), pause_s=pause)
            pause = FIRST_PAUSE_S if self.active else min(2 * pause, LONGEST_PAUSE_S)
            self.active = False
            await asyncio.sleep(pause)

    async def lag(self) -> int:
        """Positions of the log that JetStream is not yet known to hold.

        Raises:
            LogUnavailable: the database does not answer.
        """
        source = await RelaySource.open(self._database_url)
        try:
            return await source.lag(len(STREAMS))
        finally:
            source.close()

    async def delivered(self) -> int:
        """Messages that the four streams hold now.

        Raises:
            DeliveryError: NATS does not answer.
        """
        return await count_delivered(self._nats_url)

    async def _deliver(self) -> None:
        source = await RelaySource.open(self._database_url)
        try:
            await source.claim()
            lost = asyncio.Event()
            async with connected(self._nats_url, lost) as client:
                await ensure_streams(client.jetstream(timeout=REQUEST_TIMEOUT_S), self._replicas)
                delivery = Delivery(source, client, lost, self._window)
                await delivery.begin()
                self.active = True
                await delivery.run()
        finally:
            source.close()


class Delivery:
    """One stretch of delivery, from connecting until something is lost."""

    def __init__(self, source: RelaySource, client: Publisher, lost: asyncio.Event, window: int) -> None:
        self._source = source
        self._client = client
        self._jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self._lost = lost
        self._window = window
        self._batch = max(1, min(MAX_BATCH, window // 2))
        self._under_way = 0
        self._cursors: dict[str, Cursor] = {}
        self._sent: deque[Sent] = deque()
        self._read_to = 0
        self._saved_at = 0.0
        self._openings: dict[str, bytes] = {}

    async def begin(self) -> None:
        """Find out where each stream stands.

        Raises:
            DeliveryError: JetStream does not answer, or holds another log.
        """
        checkpoints = await self._source.checkpoints()
        for root, stream in STREAMS.items():
            self._cursors[root] = await self._locate(stream, checkpoints.get(stream.name))
        self._read_to = min(cursor.position for cursor in self._cursors.values())
        await self._save(self._read_to)
        _log.info("the relay delivers", after=self._read_to)

    async def _locate(self, stream: Stream, checkpoint: Checkpoint | None) -> Cursor:
        try:
            info = await self._jetstream.stream_info(stream.name)
            last = info.state.last_seq
            held = await self._held(stream, last) if last else 0
        except AWAY as error:
            raise DeliveryError(f"stream {stream.name} does not answer: {error!r}") from error
        created = info.created.isoformat() if info.created else ""
        believed = checkpoint is not None and checkpoint.created == created and last >= checkpoint.sequence
        position = max(held, checkpoint.position if checkpoint is not None and believed else 0)
        return Cursor(created, position, last, last)

    async def _held(self, stream: Stream, sequence: int) -> int:
        """The log position of a stream's last message; 0 when the message has outlived its age."""
        try:
            message = await self._jetstream.get_msg(stream.name, sequence)
        except nats.js.errors.NotFoundError:
            return 0
        headers = message.headers or {}
        position = int(headers.get("Daybook-Position", "0"))
        known = await self._source.event_id_at(position)
        if str(known) != headers.get(Header.MSG_ID.value):
            raise DeliveryError(
                f"stream {stream.name} ends with position {position} of another log: delete the stream, or "
                "give this log a NATS server or account of its own"
            )
        return position

    async def run(self) -> None:
        """Read, publish, take acknowledgements, until something is lost.

        Raises:
            DeliveryError: JetStream refused, or did not answer in time: what it holds must be asked again.
            LogUnavailable: the database is away, and with it the claim to be the only relay.
        """
        try:
            while True:
                _refuse_when_cancelled()
                ring = self._source.listen()
                page = await self._source.read(self._read_to, PAGE)
                await self._publish(page)
                if len(page) < PAGE:
                    await self._settle(0)
                    await self._save(self._read_to)
                    await self._source.wait(ring, POLL_S)
                    self._check_connected()
                elif asyncio.get_running_loop().time() - self._saved_at > CHECKPOINT_EVERY_S:
                    await self._save(self._sent[0].after if self._sent else self._read_to)
        except AWAY as error:
            raise DeliveryError(f"JetStream did not take position {self._read_to}: {error!r}") from error
        finally:
            for sent in self._sent:
                _forget(sent.ack)

    async def _publish(self, page: list[StoredEvent]) -> None:
        """Send a page: each stream's events in position order, in batches."""
        runs: dict[str, list[Message]] = {}
        for row in page:
            subject = subject_of(row.topic, row.stream, row.data, await self._opening(row))
            root = subject.partition(".")[0]
            if row.position > self._cursors[root].position:
                runs.setdefault(root, []).append(Message(subject, headers_of(row), row.data))
        for root, run in runs.items():
            for batch in _batches(run, self._batch):
                await self._send(root, batch)
        if page:
            self._read_to = page[-1].position

    async def _send(self, root: str, batch: list[Message]) -> None:
        await self._settle(self._window - len(batch))
        cursor, count = self._cursors[root], len(batch)
        ack = await self._client.publish_run(STREAMS[root].name, cursor.sequence, batch)
        cursor.sequence += count
        self._under_way += count
        self._sent.append(Sent(self._read_to, cursor, cursor.sequence, count, ack))

    async def _settle(self, at_most: int) -> None:
        """Take acknowledgements, oldest first, until at most so many messages are under way."""
        while self._under_way > at_most:
            sent = self._sent[0]
            ack = sent.ack.result() if sent.ack.done() else await self._in_time(sent.ack)
            if ack.seq != sent.sequence or ack.duplicate:
                raise DeliveryError(
                    f"events after position {sent.after} were acknowledged as sequence {ack.seq} of "
                    f"{ack.stream}, not {sent.sequence}: someone else publishes there; its subjects belong "
                    "to the relay alone"
                )
            sent.cursor.acknowledged = ack.seq
            self._under_way -= sent.count
            self._sent.popleft()

    async def _in_time(self, ack: asyncio.Future[Ack]) -> Ack:
        lost = asyncio.ensure_future(self._lost.wait())
        either: set[asyncio.Future[Any]] = {ack, lost}
        try:
            await asyncio.wait(either, timeout=REQUEST_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        self._check_connected()
        if not ack.done():
            raise DeliveryError(
                f"JetStream did not acknowledge within {REQUEST_TIMEOUT_S} s: look at its disk; a server "
                "that has met a full one takes messages again only after a restart"
            )
        return ack.result()

    def _check_connected(self) -> None:
        if self._lost.is_set():
            raise DeliveryError("the connection to NATS was lost: what it holds must be asked again")

    async def _save(self, position: int) -> None:
        """Write the checkpoints: everything up to `position` is acknowledged."""
        self._saved_at = asyncio.get_running_loop().time()
        await self._source.save(
            [
                Checkpoint(STREAMS[root].name, cursor.created, position, cursor.acknowledged)
                for root, cursor in self._cursors.items()
            ]
        )

    async def _opening(self, row: StoredEvent) -> bytes | None:
        """The first event of an opportunity's stream, which names its strategy; none for other streams."""
        if not row.topic.startswith("opportunity."):
            return None
        opening = row.data if row.version == 1 else self._openings.get(row.stream)
        if opening is None:
            opening = await self._source.opened_by(row.stream)
        if opening is not None:
            if len(self._openings) >= MAX_OPENINGS:
                self._openings.clear()
            self._openings[row.stream] = opening
        return opening


def _refuse_when_cancelled() -> None:
    """A cancellation that arrives while nats-py flushes is lost in there: look for it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _forget(ack: asyncio.Future[Ack]) -> None:
    """Whatever becomes of it, the streams are asked anew."""
    if not ack.cancel() and not ack.cancelled():
        ack.exception()  # looked at, so that asyncio does not report it as overlooked


def _batches(run: list[Message], at_most: int) -> Iterator[list[Message]]:
    """Cut a run so that no batch has too many messages or bytes."""
    batch: list[Message] = []
    size = 0
    for message in run:
        if batch and (len(batch) == at_most or size + len(message.data) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.data)
    if batch:
        yield batch
