"""JetStream beside the log: what nats-py publishes into it, and how fast our relay refills it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import nats
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS

WINDOW: Final = 64
ANSWER_S: Final = 20.0
"""For answers that take milliseconds: a benchmark that waits for ever says nothing."""

REFILL_S: Final = 60.0
"""The longest refill that is waited for."""


def publish(url: str, data: bytes) -> Callable[[float], Awaitable[float]]:
    """`publish_async` of one event's bytes without headers, 64 at once, each acknowledged."""

    async def case(seconds: float) -> float:
        client = await nats.connect(url)
        jetstream = client.jetstream()
        await jetstream.add_stream(StreamConfig(name="BASELINE", subjects=["baseline.>"]))
        done, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(
                    *[await jetstream.publish_async("baseline.pool", data) for _ in range(WINDOW)]
                )
            done += WINDOW
        await jetstream.delete_stream("BASELINE")
        await client.close()
        return done / passed

    return case


def refill(database_url: str, url: str, count: int) -> Callable[[float], Awaitable[float]]:
    """The streams are deleted; the relay brings all of the log's events back."""

    async def case(_seconds: float) -> float:
        client = await nats.connect(url)
        jetstream = client.jetstream()
        for stream in STREAMS.values():
            with contextlib.suppress(NotFoundError):
                await jetstream.delete_stream(stream.name)
        running = asyncio.create_task(Relay(database_url, url).run())
        begin = time.perf_counter()
        async with asyncio.timeout(REFILL_S):
            while await _held(client.jetstream()) < count:  # noqa: ASYNC110 - the count is in the server
                await asyncio.sleep(0.01)
        passed = time.perf_counter() - begin
        running.cancel()
        await asyncio.wait([running], timeout=ANSWER_S)
        if not running.done():
            raise SystemExit(f"the relay does not stop: {running.get_stack()}")
        await client.close()
        return count / passed

    return case


async def _held(jetstream: nats.js.JetStreamContext) -> int:
    try:
        return (await jetstream.stream_info("MARKET_EVENTS")).state.messages
    except NotFoundError:
        return 0
