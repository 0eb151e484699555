"""Relays and consumers that run while a block does, and what JetStream holds of the log afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
from logged import new_id, pool_updated, to
from nats.js.errors import NotFoundError
from nats_server import NatsServer

from adapters.jetstream.consumers import Consumer
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS
from adapters.postgres.event_log import PostgresEventLog
from domain.errors import DeliveryError


@contextlib.asynccontextmanager
async def running(*services: Relay | Consumer) -> AsyncIterator[None]:
    """They run, and are gone at the end as by a kill: nothing is said goodbye to."""
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fill(log: PostgresEventLog, count: int, stream: str = "pool-1") -> None:
    await log.append([to(stream, *[pool_updated(n) for n in range(count)])], append_id=new_id())


async def caught_up(relay: Relay) -> None:
    async with asyncio.timeout(30):
        while await relay.lag():  # noqa: ASYNC110 - the lag is in the database
            await asyncio.sleep(0.01)


async def holds(relay: Relay, count: int) -> None:
    """Until the streams hold so many messages, also while they are not there yet."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(DeliveryError):
                if await relay.delivered() == count:
                    return
            await asyncio.sleep(0.02)


async def held(server: NatsServer) -> dict[str, list[tuple[int, str]]]:
    """Position and message id of everything each stream holds, in its order."""
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    found: dict[str, list[tuple[int, str]]] = {}
    for stream in STREAMS.values():
        state = (await jetstream.stream_info(stream.name)).state
        found[stream.name] = []
        for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
            with contextlib.suppress(NotFoundError):
                headers = (await jetstream.get_msg(stream.name, sequence)).headers or {}
                found[stream.name].append((int(headers["Daybook-Position"]), headers["Nats-Msg-Id"]))
    await client.close()
    return found


async def in_log(log: PostgresEventLog) -> list[tuple[int, str]]:
    rows = await log.read_rows(0, 100_000)
    return [(row.position, str(row.event_id)) for row in rows]


async def assert_delivered_once(server: NatsServer, log: PostgresEventLog) -> None:
    """Each stream in position order, all of them together exactly the log."""
    streams = await held(server)
    for messages in streams.values():
        assert messages == sorted(messages)
    together = [message for messages in streams.values() for message in messages]
    assert sorted(together) == await in_log(log)
