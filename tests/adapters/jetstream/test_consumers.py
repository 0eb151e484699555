"""A consumer handles every event of the log, whatever JetStream repeats, loses or gives up on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from deliveries import running
from logged import AT, CAUSE, new_id, order_landed, order_placed, pool_updated, to
from nats_server import NatsServer
from waiting import until

from adapters.jetstream import consumers
from adapters.jetstream.consumers import Consumer, Subscription
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS, connected
from adapters.postgres.bookmarks import PostgresBookmarks
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import PostgresReadStore, open_read_store
from adapters.postgres.rows import EncodedAppend
from domain.errors import CacheUnavailable
from domain.events import ANY_VERSION, EVENT_TYPES, RecordedEvent
from domain.market.events import MarketGap, PoolUpdated
from projections import pnl
from projections.ports import LetterState

TOPICS = (PoolUpdated.TOPIC, MarketGap.TOPIC)

GAP = b'{"feed":"ws","dropped":1,"since":2,"until":3,"reason":"lost"}'


class Remembers:
    """A handler that keeps what it was given, refuses some positions, and may be told its target is away."""

    def __init__(self) -> None:
        self.handled: list[RecordedEvent] = []
        self.refuses: set[int] = set()
        self.refused = 0
        self.away = False

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.handled]

    async def handle(self, events: Sequence[RecordedEvent]) -> None:
        if self.away:
            raise CacheUnavailable("away")
        if spoiled := self.refuses & {event.position for event in events}:
            self.refused += len(events) == 1
            raise ValueError(f"cannot handle {min(spoiled)}")
        self.handled += events


class Scene:
    """A log, a relay, and one consumer that can be started again."""

    def __init__(
        self, database: str, server: NatsServer, log: PostgresEventLog, reads: PostgresReadStore
    ) -> None:
        self.database, self.server, self.log, self.reads = database, server, log, reads
        self.relay = Relay(database, server.url)
        self.handler = Remembers()

    def consumer(self, max_deliveries: int = 3, ack_wait_s: float = 30.0) -> Consumer:
        subscription = Subscription("seen", STREAMS["market"], max_deliveries, ack_wait_s)
        bookmarks = PostgresBookmarks(self.log.pool)
        return Consumer(
            subscription, self.handler, nats_url=self.server.url, log=self.log, bookmarks=bookmarks,
            letters=self.reads,
        )  # fmt: skip

    async def fill(self, count: int, stream: str = "pool-1") -> None:
        """Market events with an order between them, which the market stream does not carry."""
        head = await self.log.head()
        await self.log.append([to(stream, *[pool_updated(n) for n in range(count)])], append_id=new_id())
        order = f"order-{head}"
        events = [order_placed(order), order_landed(order, 2)]
        await self.log.append([to(order, *events, expected=0)], append_id=new_id())

    async def bytes_of(self, topic: str, data: bytes) -> int:
        """The position of an event that came as bytes."""
        append = EncodedAppend("feed-x", ANY_VERSION, [(topic, 1, data)], CAUSE, AT, None)
        return (await self.log.append_rows([append], append_id=new_id())).first_position

    async def market(self) -> list[RecordedEvent]:
        return await self.log.read(0, 10_000, topics=TOPICS)


@pytest.fixture
async def scene(database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    await migrate(database)
    server = NatsServer(tmp_path)
    await server.start()
    async with await PostgresEventLog.open(database) as log, open_read_store(database) as reads:
        await reads.prepare(pnl.READ_MODEL)
        yield Scene(database, server, log, reads)
    server.stop()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RETRY_S", (0.05,))
    monkeypatch.setattr(consumers, "FETCH_S", 0.1)


async def test_every_event_arrives_whole_in_order_and_once(scene: Scene) -> None:
    async with running(scene.relay, consumer := scene.consumer()):
        await scene.fill(600)
        await scene.fill(20)
        await until(lambda: len(scene.handler.handled) >= 620)
        await until(lambda: consumer.checkpoint == 622)
    assert scene.handler.handled == await scene.market()


async def test_started_again_it_goes_on_where_it_was(scene: Scene) -> None:
    for round_ in range(1, 4):
        async with running(scene.relay, scene.consumer()):
            await scene.fill(50)
            await until(lambda: len(scene.handler.handled) == round_ * 50)  # noqa: B023 - awaited at once
            await until(lambda: _bookmark_reached(scene))
    assert scene.handler.handled == await scene.market()


async def _bookmark_reached(scene: Scene) -> bool:
    market = await scene.market()
    return await PostgresBookmarks(scene.log.pool).load("consumer.seen") == market[-1].position


async def test_a_stream_wiped_and_refilled_repeats_nothing(scene: Scene) -> None:
    """The durable consumer is gone with the stream; the position in PostgreSQL is not."""
    async with running(scene.relay, scene.consumer()):
        await scene.fill(100)
        await until(lambda: _bookmark_reached(scene))
        scene.server.stop()
        scene.server.wipe()
        await scene.fill(30)
        await scene.server.start()
        await until(lambda: len(scene.handler.handled) >= 130)
    assert scene.handler.handled == await scene.market()


async def test_what_a_stream_lacks_is_read_from_the_log(scene: Scene) -> None:
    """Messages deleted before the consumer came: the gap is noticed and filled before going on."""
    async with running(scene.relay):
        await scene.fill(100)
        await until(lambda: _delivered(scene, 102))
        async with connected(scene.server.url) as client:
            for sequence in (*range(1, 11), *range(40, 60)):
                await client.jetstream().delete_msg("MARKET_EVENTS", sequence)
        async with running(scene.consumer()):
            await until(lambda: len(scene.handler.handled) >= 100)
    assert scene.handler.handled == await scene.market()


async def _delivered(scene: Scene, count: int) -> bool:
    return await scene.relay.lag() == 0 and await scene.relay.delivered() >= count


async def test_poison_becomes_a_dead_letter_and_the_others_pass(scene: Scene) -> None:
    """JetStream would let it stop silently; tried again by hand it is handled, and the letter is gone."""
    scene.handler.refuses = {5}
    async with running(scene.relay, consumer := scene.consumer(max_deliveries=3)):
        await scene.fill(20)
        await until(lambda: consumer.checkpoint == 20)
        (letter,) = await scene.reads.dead_letters("seen")
        assert (letter.position, letter.topic, letter.attempts) == (5, PoolUpdated.TOPIC, 3)
        assert letter.error == "ValueError: cannot handle 5"
        assert scene.handler.refused == 3
        assert sorted(scene.handler.positions) == [n for n in range(1, 21) if n != 5]
        await scene.reads.retry_dead_letter(letter.id)
        await until(lambda: scene.handler.refused == 4)  # no luck yet: it waits again
        await until(lambda: _waits(scene))
        scene.handler.refuses = set()
        await scene.reads.retry_dead_letter(letter.id)
        await until(lambda: 5 in scene.handler.positions)
        await until(lambda: _no_letters(scene))


async def _waits(scene: Scene) -> bool:
    return bool(await scene.reads.dead_letters("seen", state=LetterState.WAITING))


async def _no_letters(scene: Scene) -> bool:
    return not await scene.reads.dead_letters("seen")


async def test_what_cannot_be_decoded_becomes_a_dead_letter(scene: Scene) -> None:
    """A type that this version does not know, bytes that do not fit theirs: their neighbours pass at once."""
    async with running(scene.relay, consumer := scene.consumer(max_deliveries=3)):
        await scene.fill(3)
        unknown = await scene.bytes_of("market.weather", GAP)
        spoiled = await scene.bytes_of(PoolUpdated.TOPIC, b'{"protocol":"raydium_cpmm"}')
        await scene.fill(3, "pool-2")
        await until(lambda: consumer.checkpoint == 10)
        letters = await scene.reads.dead_letters("seen")
    assert sorted(scene.handler.positions) == [1, 2, 3, 8, 9, 10]
    assert [(one.position, one.topic, one.stream, one.attempts) for one in letters] == [
        (unknown, "market.weather", "feed-x", 3),
        (spoiled, PoolUpdated.TOPIC, "feed-x", 3),
    ]
    assert letters[0].error.startswith("DecodeError: event 'market.weather'")


async def test_once_its_type_is_known_such_a_letter_is_handled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again too early it waits again; with the newer daybook it is an event like any other."""
    async with running(scene.relay, scene.consumer(max_deliveries=2)):
        position = await scene.bytes_of("market.weather", GAP)
        await until(lambda: _waits(scene))
        (letter,) = await scene.reads.dead_letters("seen")
        await scene.reads.retry_dead_letter(letter.id)
        await until(lambda: _tried(scene, 3))
        monkeypatch.setitem(EVENT_TYPES, "market.weather", MarketGap)
        await scene.reads.retry_dead_letter(letter.id)
        await until(lambda: _no_letters(scene))
    assert [(one.position, one.event) for one in scene.handler.handled] == [
        (position, MarketGap("ws", 1, 2, 3, "lost"))
    ]


async def _tried(scene: Scene, attempts: int) -> bool:
    return [one.attempts for one in await scene.reads.dead_letters("seen")] == [attempts]


async def test_a_strangers_message_is_passed_by(scene: Scene) -> None:
    """It is no event of the log: no letter, and it does not come again."""
    async with running(scene.relay):
        await scene.fill(3)
        await until(lambda: _delivered(scene, 5))
    async with connected(scene.server.url) as client:
        jetstream = client.jetstream()
        for headers in (None, {"Daybook-Position": "4", "Nats-Msg-Id": "mine"}):
            await jetstream.publish("market.events.x.y", b"{}", headers=headers)
        async with running(consumer := scene.consumer()):
            await until(lambda: consumer.checkpoint == 3)
            await until(lambda: _all_answered(scene))
            for sequence in (4, 5):  # the relay would not go on behind them
                await jetstream.delete_msg("MARKET_EVENTS", sequence)
            async with running(scene.relay):
                await scene.fill(3, "pool-2")
                await until(lambda: consumer.checkpoint == 8)
    assert scene.handler.handled == await scene.market()
    assert await scene.reads.dead_letters("seen") == []


async def _all_answered(scene: Scene) -> bool:
    async with connected(scene.server.url) as client:
        info = await client.jetstream().consumer_info("MARKET_EVENTS", "seen")
    return (info.num_pending, info.num_ack_pending) == (0, 0)


async def _only_in_the_log(scene: Scene, count: int) -> None:
    """What was appended so far was delivered, and its messages are gone, up to a last one that tells so."""
    async with running(scene.relay):
        await until(lambda: _delivered(scene, count))
        async with connected(scene.server.url) as client:
            await client.jetstream().purge_stream("MARKET_EVENTS")
        await scene.fill(1, "pool-last")
        await until(lambda: _delivered(scene, 1))


async def test_poison_in_a_gap_becomes_a_dead_letter_too(scene: Scene) -> None:
    """Nothing delivers such an event again: it is tried as often all the same."""
    scene.handler.refuses = {3}
    await scene.fill(10)
    unknown = await scene.bytes_of("market.weather", GAP)
    await _only_in_the_log(scene, 13)
    async with running(scene.relay, consumer := scene.consumer(max_deliveries=3)):
        await until(lambda: consumer.checkpoint == 14)
    assert scene.handler.refused == 3
    letters = await scene.reads.dead_letters("seen")
    assert {(one.position, one.attempts) for one in letters} == {(3, 3), (unknown, 3)}
    assert sorted(scene.handler.positions) == [1, 2, *range(4, 11), 14]


async def test_a_passing_fault_in_a_gap_leaves_no_letter(scene: Scene) -> None:
    """There is a pause between two attempts, in which it may pass."""
    scene.handler.refuses = {3}
    await scene.fill(10)
    await _only_in_the_log(scene, 12)
    async with running(scene.relay, consumer := scene.consumer(max_deliveries=100)):
        await until(lambda: scene.handler.refused == 2)
        scene.handler.refuses = set()
        await until(lambda: consumer.checkpoint == 13)
    assert await scene.reads.dead_letters("seen") == []
    assert sorted(scene.handler.positions) == [*range(1, 11), 13]


async def test_a_killed_consumers_poison_is_not_forgotten(scene: Scene) -> None:
    """Gone between two deliveries: the next process counts on, and loses neither it nor its neighbours."""
    scene.handler.refuses = {5}
    async with running(scene.relay):
        await scene.fill(20)
        async with running(scene.consumer(max_deliveries=4)):
            await until(lambda: scene.handler.refused == 1)
        async with running(consumer := scene.consumer(max_deliveries=4)):
            await until(lambda: _waits(scene))
            await scene.fill(1)
            await until(lambda: consumer.checkpoint == 23)
    assert [letter.position for letter in await scene.reads.dead_letters("seen")] == [5]
    assert set(scene.handler.positions) == {*range(1, 21), 23} - {5}


async def test_an_outage_of_the_target_is_no_poison(scene: Scene) -> None:
    """Events are held, however long it takes, and none becomes a letter."""
    scene.handler.away = True
    async with running(scene.relay, scene.consumer(max_deliveries=1, ack_wait_s=1.0)):
        await scene.fill(20)
        await asyncio.sleep(1.5)  # longer than the wait for an answer, after which it would come again
        scene.handler.away = False
        await until(lambda: len(scene.handler.handled) >= 20)
        await until(lambda: _bookmark_reached(scene))
    assert scene.handler.handled == await scene.market()
    assert await scene.reads.dead_letters("seen") == []
