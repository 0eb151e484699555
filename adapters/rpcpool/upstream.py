"""One WebSocket to one endpoint: requests out, frames in, and an end when it falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from adapters.rpcpool.endpoint import Endpoint
from adapters.rpcpool.subscription import Subscription
from adapters.solana.jsonrpc import is_loopback

OPEN_TIMEOUT_S: Final = 5.0
"""Connecting takes one round trip or two."""
CONFIRM_S: Final = 5.0
"""A node confirms at once; one that has confirmed nothing for so long is not listening."""
PING_S: Final = 5.0
PONG_S: Final = 10.0
"""A dead connection is noticed after at most their sum."""
MAX_FRAME_BYTES: Final = 64 * 2**20
"""A full block with all its transactions, as JSON."""


class Params(msgspec.Struct):
    """Of a notification."""

    subscription: int
    result: msgspec.Raw = msgspec.Raw(b"null")


class Frame(msgspec.Struct):
    """What an endpoint sends: an answer (`id`) or a notification (`method`)."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")
    method: str | None = None
    params: Params | None = None


_FRAME: Final = msgspec.json.Decoder(Frame)


class Silent(Exception):
    """The endpoint keeps the connection open and says nothing."""


class Upstream:
    """An open connection.

    Args:
        silence_s: longest time without a frame once the endpoint tells of each slot.

    Attributes:
        heartbeat: the endpoint's id of our own slot subscription; None when it has none.
        by_node_id: subscriptions it serves.
    """

    def __init__(self, socket: ClientConnection, endpoint: Endpoint, silence_s: float) -> None:
        self.endpoint = endpoint
        self.heartbeat: int | None = None
        self.by_node_id: dict[int, Subscription] = {}
        self._socket = socket
        self._silence_s = silence_s
        self._ids = count(1)
        self._asked: dict[int, tuple[Subscription | None, float]] = {}
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._heard_at = self._answered_at = self._now()

    async def ask(self, subscription: Subscription | None) -> None:
        """Subscribe; None is our own heartbeat."""
        number = next(self._ids)
        self._asked[number] = (subscription, self._now())
        kind, params = ("slot", b"[]") if subscription is None else (subscription.kind, subscription.params)
        await self._send(number, f"{kind}Subscribe", params)

    async def give_up(self, subscription: Subscription) -> None:
        """End a subscription at the endpoint."""
        if subscription.node_id is not None:
            self.by_node_id.pop(subscription.node_id, None)
            await self._send(
                next(self._ids), f"{subscription.kind}Unsubscribe", b"[%d]" % subscription.node_id
            )

    def asked(self, number: int) -> tuple[bool, Subscription | None]:
        """Whether an answer's id is of a subscription asked for, and which."""
        found = self._asked.pop(number, None)
        self._answered_at = self._now()
        return (False, None) if found is None else (True, found[0])

    async def hear(self) -> Frame:
        """The next frame.

        Raises:
            Silent: a subscription was not confirmed in time, or no slot was told for too long.
            ValueError: a frame that is no JSON-RPC.
            ConnectionClosed: it ended.
        """
        ends = self._deadline()
        try:
            async with asyncio.timeout_at(ends):
                frame = await self._socket.recv(decode=False)
        except TimeoutError:
            raise Silent("it is connected and says nothing") from None
        self._heard_at = self._now()
        if not frame.isascii():
            frame.decode()  # its result is passed on unread: it must be text for the client too
        return _FRAME.decode(frame)

    def _deadline(self) -> float | None:
        """Of the confirmations, which may come by thousands, and of the silence: whichever comes first."""
        limits = []
        if self._asked:
            _, asked_at = next(iter(self._asked.values()))  # the oldest
            limits.append(max(asked_at, self._answered_at) + CONFIRM_S)
        if self.heartbeat is not None:
            limits.append(self._heard_at + self._silence_s)
        return min(limits, default=None)

    async def _send(self, number: int, method: str, params: bytes) -> None:
        request = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}' % (number, method.encode(), params)
        await self._socket.send(request, text=True)


@asynccontextmanager
async def upstream(endpoint: Endpoint, silence_s: float) -> AsyncIterator[Upstream]:
    """Connect to an endpoint's WebSocket for as long as the block lasts."""
    url = endpoint.config.ws_url or ""
    async with connect(
        url,
        additional_headers=dict(endpoint.config.headers),
        proxy=None if is_loopback(url) else True,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=PING_S,
        ping_timeout=PONG_S,
        close_timeout=1.0,  # nothing of worth is left to hear
        max_size=MAX_FRAME_BYTES,
        compression=None,  # notifications are small and latency matters
    ) as socket:
        endpoint.sessions += 1
        try:
            yield Upstream(socket, endpoint, silence_s)
        finally:
            endpoint.sessions -= 1
