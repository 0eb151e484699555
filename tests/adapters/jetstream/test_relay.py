"""The relay: every event of the log on JetStream once and in order, whatever is killed or wiped."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import asyncpg
import nats
import pytest
from deliveries import assert_delivered_once, caught_up, fill, holds, running
from logged import new_id, order_landed, order_placed, to
from nats_server import NatsServer
from waiting import until

from adapters.jetstream.publishing import Publisher
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import connected, ensure_streams
from adapters.postgres.event_log import PostgresEventLog
from domain.errors import DeliveryError
from domain.market.events import MarketGap


async def test_every_event_reaches_its_stream_in_order(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """Markets and orders part; position, ids and the bytes themselves arrive."""
    relay = Relay(database, server.url, window=16)
    async with running(relay):
        await fill(log, 700)
        gap = MarketGap("ws", 1, 2, 3, "lost")
        await log.append(
            [to("feed-ws", gap), to("order-1", order_placed("order-1"), expected=0)], append_id=new_id()
        )
        await caught_up(relay)
        assert await relay.delivered() == 702
    await assert_delivered_once(server, log)
    client = await nats.connect(server.url)
    message = await client.jetstream().get_last_msg("EXECUTION_ORDERS", "execution.orders.1")
    await client.close()
    row = (await log.read_rows(701))[0]
    assert message.data == row.data
    assert message.headers is not None
    assert message.headers["Daybook-Type"] == "order.placed"
    assert message.headers["Daybook-Correlation-Id"] == str(row.correlation_id)


async def test_a_killed_server_is_waited_for(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """Kill -9 of NATS under load: the log does not notice, and nothing is missing or double afterwards."""
    relay = Relay(database, server.url, window=64)
    async with running(relay):
        for round_ in range(2):
            await fill(log, 300, f"pool-{round_}")
            server.stop()
            await fill(log, 300, f"pool-away-{round_}")
            await server.start()
        await caught_up(relay)
    await assert_delivered_once(server, log)


async def test_a_wiped_jetstream_is_refilled(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """It comes back empty; the log fills it again although the relay had delivered everything."""
    relay = Relay(database, server.url)
    async with running(relay):
        await fill(log, 500)
        await caught_up(relay)
        server.stop()
        server.wipe()
        await server.start()
        await holds(relay, 500)
    await assert_delivered_once(server, log)


async def test_a_stream_that_lost_its_tail_is_refilled(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """As after a power cut: an older copy of the store, same streams, fewer messages."""
    relay = Relay(database, server.url)
    async with running(relay):
        await fill(log, 100)
        await caught_up(relay)
    server.stop()
    store, copy = server.folder / "store", server.folder / "copy"
    store.rename(copy)
    shutil.copytree(copy, store)
    await server.start()
    async with running(relay):
        await fill(log, 100, "pool-2")
        await caught_up(relay)
        server.stop()
        server.wipe()
        copy.rename(store)
        await server.start()
        await until(lambda: relay.active)
        await fill(log, 1, "pool-3")
        await holds(relay, 201)
    await assert_delivered_once(server, log)


async def test_a_relay_killed_in_mid_window_leaves_nothing_double(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """Its messages under way may have arrived or not: the next one asks the streams, not its memory."""
    await fill(log, 2_000)
    for _ in range(4):
        relay = Relay(database, server.url, window=32)
        async with running(relay):
            await until(lambda relay=relay: relay.active)  # type: ignore[misc] # a default binds the variable
            await asyncio.sleep(0.01)
    async with running(last := Relay(database, server.url)):
        await caught_up(last)
    await assert_delivered_once(server, log)


async def test_of_two_relays_one_is_active(server: NatsServer, log: PostgresEventLog, database: str) -> None:
    """The second stands by, and takes over when the first is gone."""
    first, second = Relay(database, server.url), Relay(database, server.url)
    async with running(second):
        async with running(first):
            await until(lambda: first.active or second.active)
            await fill(log, 50)
            await caught_up(first)
            assert first.active != second.active
            active, standby = (first, second) if first.active else (second, first)
            if active is second:
                return
        await until(lambda: standby.active)
        await fill(log, 50, "pool-2")
        await caught_up(second)
    await assert_delivered_once(server, log)


async def test_a_relay_that_lost_its_claim_stops_publishing(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """Its database connection is cut: it starts over, and delivers on."""
    relay = Relay(database, server.url)
    async with running(relay):
        await fill(log, 50)
        await caught_up(relay)
        owner = await asyncpg.connect(database)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
            "pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = "
            "current_database())"
        )
        await owner.close()
        await fill(log, 50, "pool-2")
        await caught_up(relay)
    await assert_delivered_once(server, log)


async def test_a_cancellation_that_the_client_swallows_still_ends_the_relay(
    server: NatsServer, log: PostgresEventLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py takes a cancellation that arrives while it flushes for done: the relay looks for it."""
    flush, flushing = Publisher._flush_pending, asyncio.Event()

    async def swallowing(client: Publisher, *, force_flush: bool = False) -> None:
        flushing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
        await flush(client, force_flush)

    monkeypatch.setattr(Publisher, "_flush_pending", swallowing)
    await fill(log, 5)
    running_ = asyncio.create_task(Relay(database, server.url).run())
    await flushing.wait()
    running_.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(running_, return_exceptions=True)
    assert running_.cancelled()


async def test_a_large_run_goes_in_batches_that_the_server_takes(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """More messages and bytes than one atomic batch may hold, on two streams at once."""
    big = MarketGap("ws", 1, 2, 3, "x" * 400_000)
    await log.append([to("feed-ws", *[big] * 15)], append_id=new_id())
    await fill(log, 2_500)
    orders = [order_placed("order-1"), order_landed("order-1", 2)]
    await log.append([to("order-1", *orders, expected=0)], append_id=new_id())
    async with running(relay := Relay(database, server.url)):
        await caught_up(relay)
        assert await relay.delivered() == 2_517
    async with connected(server.url) as client:
        state = (await client.jetstream().stream_info("MARKET_EVENTS")).state
        last = await client.jetstream().get_msg("MARKET_EVENTS", state.last_seq)
    assert (last.headers or {})["Daybook-Position"] == "2515"


async def test_a_stranger_in_the_stream_is_noticed(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """A message that the relay did not send ends the stream: it refuses to go on behind it."""
    async with connected(server.url) as client:
        await ensure_streams(client.jetstream())
        await client.jetstream().publish("market.events.x.y", b"{}")
        relay = Relay(database, server.url)
        await fill(log, 1)
        with pytest.raises(DeliveryError, match="of another log"):
            await asyncio.wait_for(relay._deliver(), 10)


async def test_streams_are_brought_to_todays_shape(server: NatsServer) -> None:
    """Made once, changed where they differ, left alone where they do not."""
    async with connected(server.url) as client:
        jetstream = client.jetstream()
        await ensure_streams(jetstream)
        config = (await jetstream.stream_info("EXECUTION_ORDERS")).config
        assert (config.subjects, config.max_age, config.num_replicas) == (["execution.>"], 30 * 86_400, 1)
        assert config.max_msg_size == 1024 * 1024
        config.max_age = 5.0
        config.duplicate_window = 5.0
        await jetstream.update_stream(config)
        await ensure_streams(jetstream)
        assert (await jetstream.stream_info("EXECUTION_ORDERS")).config.max_age == 30 * 86_400
        with pytest.raises(DeliveryError, match="copies"):
            await ensure_streams(jetstream, replicas=3)


async def test_no_server_is_said_without_the_password() -> None:
    """The sentence names the address, not the secret."""
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:9") as caught:
        async with connected("nats://me:secret@127.0.0.1:9"):
            pass
    assert "secret" not in str(caught.value)


async def test_an_order_and_its_later_events_share_a_subject(
    server: NatsServer, log: PostgresEventLog, database: str
) -> None:
    """So that a consumer can follow one order."""
    events = [order_placed("order-7"), order_landed("order-7", 2)]
    await log.append([to("order-7", *events, expected=0)], append_id=new_id())
    async with running(relay := Relay(database, server.url)):
        await caught_up(relay)
    async with connected(server.url) as client:
        info = await client.jetstream().stream_info("EXECUTION_ORDERS", subjects_filter=">")
        assert info.state.subjects == {"execution.orders.7": 2}
