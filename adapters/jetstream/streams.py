"""The four streams on JetStream and the one subject of every event. docs/reference/streams.md shows them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from adapters.jetstream.publishing import Publisher
from domain.errors import DecodeError, DeliveryError

CONNECT_TIMEOUT_S: Final = 2.0
"""A NATS server answers in milliseconds; the relay tries again soon enough."""

REQUEST_TIMEOUT_S: Final = 5.0
"""An acknowledgement takes milliseconds, one that waits for the disk tens of them."""

MAX_MESSAGE_BYTES: Final = 1024 * 1024
DUPLICATE_WINDOW_S: Final = 120.0
"""Only a second net: the relay compares positions before it publishes anything again."""

_DAY_S: Final = 86_400.0

AWAY: Final = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
"""What nats-py raises when the server is away or refuses."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its name, the first token of its subjects, how long it keeps a message."""

    name: str
    root: str
    max_age_s: float


STREAMS: Final = {
    stream.root: stream
    for stream in (
        Stream("MARKET_EVENTS", "market", 7 * _DAY_S),
        Stream("TRADE_OPPORTUNITIES", "trade", _DAY_S),
        Stream("EXECUTION_ORDERS", "execution", 30 * _DAY_S),
        Stream("SYSTEM_METRICS", "system", 7 * _DAY_S),
    )
}
"""By the first token of their subjects; every subject belongs to exactly one."""

_ROOTS: Final = {
    "market": "market",
    "opportunity": "trade",
    "strategy": "trade",
    "order": "execution",
    "wallet": "execution",
}


class _PoolOf(msgspec.Struct):
    protocol: str


class _StrategyOf(msgspec.Struct):
    strategy: str


_pool_of: Final = msgspec.json.Decoder(_PoolOf).decode
_strategy_of: Final = msgspec.json.Decoder(_StrategyOf).decode


def root_of(topic: str) -> str:
    """The first token of the subject of an event type, known to us or not: it names the stream."""
    return _ROOTS.get(topic.partition(".")[0], "system")


def subject_of(topic: str, stream: str, data: bytes, opened_by: bytes | None = None) -> str:
    """The subject of an event.

    Args:
        topic: its type.
        stream: its stream in the log; the part after the first `-` names the thing.
        data: its bytes; looked into only where the subject needs a field of them.
        opened_by: the bytes of its stream's first event, for an opportunity's later events.

    Raises:
        DecodeError: the field that the subject needs is not there.
    """
    kind = topic.partition(".")[0]
    name = _token(stream.partition("-")[2] or stream)
    try:
        if topic == "market.pool_updated":
            return f"market.events.{_token(_pool_of(data).protocol)}.{name}"
        if kind == "market":
            return f"market.{_token(topic.partition('.')[2])}s.{name}"
        if kind == "opportunity":
            strategy = _strategy_of(data if opened_by is None else opened_by).strategy
            return f"trade.opportunities.{_token(strategy.removeprefix('strategy-'))}"
    except msgspec.MsgspecError as error:
        raise DecodeError(f"event {topic!r} of stream {stream!r} has no subject: {error}") from error
    if kind == "strategy":
        return f"trade.strategies.{name}"
    if kind in {"order", "wallet"}:
        return f"execution.{kind}s.{name}"
    return f"system.events.{_token(kind)}.{name}"


def _token(text: str) -> str:
    """One token of a subject: no dots, wildcards or blanks."""
    return "".join("_" if char in ".*> \t" else char for char in text) or "_"


@contextlib.asynccontextmanager
async def connected(nats_url: str, lost: asyncio.Event | None = None) -> AsyncIterator[Publisher]:
    """A connection that closes when it is lost: what was under way is then unknown and is looked up anew.

    Args:
        nats_url: of the server.
        lost: set when the connection has closed.

    Raises:
        DeliveryError: no server answers, or it refuses.
    """
    closed = lost or asyncio.Event()

    async def on_close() -> None:
        closed.set()

    options: dict[str, Any] = {
        "allow_reconnect": False,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "max_reconnect_attempts": 1,  # 0 would try to connect for ever
        "reconnect_time_wait": 0.1,
        "error_cb": _ignore,
        "closed_cb": on_close,
    }
    client = Publisher()
    try:
        await client.connect(nats_url, **options)
    except AWAY as error:
        raise DeliveryError(
            f"no NATS server answers at {_shown(nats_url)}: {error!r}; check that it runs"
        ) from error
    try:
        yield client
    finally:
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.close()


async def _ignore(_error: Exception) -> None:
    """Whatever goes wrong is raised where it matters; the client's default prints it."""


def _shown(nats_url: str) -> str:
    """The URL without its password."""
    return nats_url.rpartition("@")[2]


async def ensure_streams(jetstream: JetStreamContext, replicas: int = 1) -> None:
    """Create what is missing and bring the rest to today's configuration.

    Args:
        jetstream: of a connection.
        replicas: copies of each stream; 1 on one server, 3 in production.

    Raises:
        DeliveryError: JetStream is off or refuses.
    """
    for stream in STREAMS.values():
        config = _config(stream, replicas)
        try:
            await _ensure(jetstream, stream.name, config)
        except AWAY as error:
            raise DeliveryError(
                f"stream {stream.name} could not be set up: {error!r}; check that JetStream is on, that no "
                f"other stream takes {stream.root}.> and that {replicas} servers can hold its copies"
            ) from error


async def _ensure(jetstream: JetStreamContext, name: str, config: StreamConfig) -> None:
    try:
        found = (await jetstream.stream_info(name)).config
    except nats.js.errors.NotFoundError:
        found = (await jetstream.add_stream(config)).config
    wanted = {"subjects", "max_age", "max_msg_size", "num_replicas", "duplicate_window", "allow_atomic"}
    if any(getattr(found, key) != getattr(config, key) for key in wanted):
        found = (await jetstream.update_stream(config)).config
    if not found.allow_atomic:
        raise DeliveryError(f"stream {name} cannot take batches: daybook needs nats-server 2.12 or newer")


def _config(stream: Stream, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=[f"{stream.root}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=stream.max_age_s,
        max_msg_size=MAX_MESSAGE_BYTES,
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW_S,
        allow_direct=True,
        allow_atomic=True,
    )


async def count_delivered(nats_url: str) -> int:
    """Messages that the four streams hold now: all that were delivered, less what outlived its age.

    Raises:
        DeliveryError: NATS does not answer, or the streams were never set up.
    """
    async with connected(nats_url) as client:
        jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        try:
            infos = [await jetstream.stream_info(stream.name) for stream in STREAMS.values()]
        except AWAY as error:
            raise DeliveryError(
                f"the streams could not be counted: {error!r}; start the relay first"
            ) from error
    return sum(info.state.messages for info in infos)
