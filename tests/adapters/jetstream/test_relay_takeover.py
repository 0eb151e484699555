"""A relay that falls silent is replaced, and whoever comes back late stores nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from cable import Cable
from deliveries import assert_delivered_once, caught_up, fill, running
from logged import new_id, to
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats_server import NatsServer
from waiting import until

from adapters.jetstream import relay as relays
from adapters.jetstream import streams
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import connected, count_delivered
from adapters.postgres import relay_source
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.postgres.relay_source import RelaySource
from domain.errors import SetupError
from domain.market.events import MarketGap

PROCESS = Path(__file__).with_name("relay_process.py")
ANSWER_S = 20.0
SHORTEST_WINDOW_S = 0.1
"""JetStream takes no shorter one."""


class RelayProcess:
    """A relay in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def becomes(self, state: str) -> None:
        """Until it says that it is `active`, or on `standby`."""
        assert self._process.stdout is not None
        said = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        assert said.decode().strip() == state

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextlib.asynccontextmanager
async def relay_process(database: str, nats_url: str) -> AsyncIterator[RelayProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), database, nats_url, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield RelayProcess(process)
    finally:
        process.kill()
        await process.wait()


async def test_a_frozen_relay_is_replaced(
    server: NatsServer, log: PostgresEventLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its session, and so its lock: the standby ends that and delivers the rest."""
    monkeypatch.setattr(relay_source, "SILENT_S", 2.0)
    standby = Relay(database, server.url)
    async with relay_process(database, server.url) as frozen:
        await frozen.becomes("active")
        async with running(standby):
            await fill(log, 5_000)
            await until(standby.delivered)
            frozen.freeze()
            await until(lambda: standby.active, timeout_s=10.0)
            await fill(log, 50, "pool-2")
            await caught_up(standby)
            frozen.thaw()
            await frozen.becomes("standby")
            await fill(log, 50, "pool-3")
            await caught_up(standby)
            assert standby.active
        await frozen.becomes("active")
        await fill(log, 50, "pool-4")
        await caught_up(standby)
    await assert_delivered_once(server, log)


async def test_a_session_stuck_while_it_sends_to_a_frozen_relay_is_ended(
    log: PostgresEventLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has an answer to give that nobody takes: it is busy to PostgreSQL, and silent to us."""
    monkeypatch.setattr(relay_source, "SILENT_S", 0.5)
    monkeypatch.setattr(relay_source, "CLAIM_PAUSE_S", 0.1)
    await log.append([to("feed-ws", *[MarketGap("ws", 1, 2, 3, "x" * 900_000)] * 30)], append_id=new_id())
    frozen, standby = await RelaySource.open(database), await RelaySource.open(database)
    await frozen.claim()
    frozen._connection._transport.pause_reading()  # type: ignore[attr-defined] # as a stopped process does
    reading = asyncio.create_task(frozen.read(0, 30))
    try:
        await asyncio.wait_for(standby.claim(), ANSWER_S)
    finally:
        for source in (frozen, standby):
            source.close()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_silent_relay_of_another_login_is_named(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is not ours to end: somebody must be told."""
    await migrate(database)
    monkeypatch.setattr(relay_source, "SILENT_S", 0.1)
    monkeypatch.setattr(relay_source, "CLAIM_PAUSE_S", 0.05)
    owner = await asyncpg.connect(database)
    guest = f"guest_{new_id().hex}"
    await owner.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'guest' IN ROLE daybook_writer")
    frozen = await RelaySource.open(re.sub("//.*@", f"//{guest}:guest@", database))
    standby = await RelaySource.open(database)
    try:
        await frozen.claim()
        with pytest.raises(SetupError, match="as another role"):
            await asyncio.wait_for(standby.claim(), ANSWER_S)
    finally:
        for source in (frozen, standby):
            source.close()
        await owner.execute(f"DROP ROLE {guest}")
        await owner.close()


async def test_a_quiet_relay_is_not_replaced(
    server: NatsServer, log: PostgresEventLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has nothing to deliver, and still asks."""
    monkeypatch.setattr(relays, "POLL_S", 0.05)
    monkeypatch.setattr(relay_source, "SILENT_S", 0.5)
    monkeypatch.setattr(relay_source, "CLAIM_PAUSE_S", 0.05)
    active, standby = Relay(database, server.url), Relay(database, server.url)
    await fill(log, 1)
    async with running(active):
        await until(lambda: active.active)
        async with running(standby):
            await asyncio.sleep(1.5)  # three times the silence it may keep
            assert (active.active, standby.active) == (True, False)


async def test_an_outage_longer_than_the_dedup_window_stores_nothing_twice(
    server: NatsServer, log: PostgresEventLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, the answer lost, the ids forgotten: the relay asks what is there before it sends again.

    The control trusts its own memory and `Nats-Msg-Id`: after the window it stores every event a second time.
    """
    monkeypatch.setattr(streams, "DUPLICATE_WINDOW_S", SHORTEST_WINDOW_S)
    monkeypatch.setattr(relays, "REQUEST_TIMEOUT_S", 0.3)
    async with Cable(server.port) as cable, connected(server.url) as client:
        relay = Relay(database, f"nats://127.0.0.1:{cable.port}")
        control = await Control.begun(client.jetstream(), log)
        async with running(relay):
            await until(lambda: relay.active)
            cable.mute = True
            await fill(log, 200)
            await until(lambda: _holds(server, 200))
            await control.send()
            await until(lambda: not relay.active)
            await until(control.is_forgotten)
            cable.mute = False
            await caught_up(relay)
        await control.send()
        assert await control.stored() == 400
    await assert_delivered_once(server, log)


async def _holds(server: NatsServer, count: int) -> bool:
    return await count_delivered(server.url) == count


class Control:
    """What is usually built: it got no answer, so it sends the same ids again."""

    def __init__(self, jetstream: JetStreamContext, log: PostgresEventLog) -> None:
        self._jetstream, self._log = jetstream, log

    @classmethod
    async def begun(cls, jetstream: JetStreamContext, log: PostgresEventLog) -> Control:
        config = StreamConfig("NAIVE", subjects=["naive.*"], duplicate_window=SHORTEST_WINDOW_S)
        await jetstream.add_stream(config)
        return cls(jetstream, log)

    async def send(self) -> None:
        for row in await self._log.read_rows(0, 1_000):
            await self._publish("naive.event", str(row.event_id), row.data)
        await self._publish("naive.last", "last", b"")

    async def is_forgotten(self) -> bool:
        """Whether JetStream no longer knows what it was sent last."""
        return not await self._publish("naive.last", "last", b"")

    async def stored(self) -> int:
        info = await self._jetstream.stream_info("NAIVE", subjects_filter="naive.event")
        return (info.state.subjects or {})["naive.event"]

    async def _publish(self, subject: str, name: str, data: bytes) -> bool:
        """Whether it was taken for a copy."""
        ack = await self._jetstream.publish(subject, data, headers={"Nats-Msg-Id": name})
        return bool(ack.duplicate)
