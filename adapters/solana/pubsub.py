"""One WebSocket to a Solana node that heals itself: it reconnects, subscribes again, and says what it missed.

websockets is used directly: solana-py's client gives up the whole connection on one malformed notification
and queues every notification, where a slow reader here wants only the newest of each account.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Self

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from adapters.solana.jsonrpc import checked_url, is_loopback, where
from adapters.solana.watches import AccountWatch, SightLost, SignatureWatch
from commands.ports import Clock
from domain.chain import Address, Commitment, Signature
from domain.errors import ChainError, ChainUnavailable

OPEN_TIMEOUT_S: Final = 5.0
"""Connecting takes one round trip or two; after this the next attempt is due."""
CONFIRM_TIMEOUT_S: Final = 5.0
"""A node confirms a subscription at once, of thousands the next one; one that does not is not listening."""
PING_S: Final = 5.0
PONG_S: Final = 10.0
"""A dead connection is noticed after at most their sum; a busy machine answers within the second."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
"""Between attempts to connect: doubled from the first up to the longest, for a node may be down for hours."""
MAX_FRAME_BYTES: Final = 16 * 2**20
"""The largest account is 10 MiB, 13.4 in base64."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("solana.pubsub")


@dataclass(eq=False, slots=True)
class _Subscription:
    """What is wanted of the node, for as long as somebody wants it.

    Attributes:
        deliver: takes the `result` of each notification; KeyError, TypeError or ValueError when malformed.
        refuse: takes the node's refusal, or that the connection was lost.
        lasting: wanted over every connection; else it ends with the one it was asked on.
        node_id: the node's number for it on this connection.
        confirmed: set while the node has answered it on this connection.
    """

    kind: str
    params: list[Any]
    deliver: Callable[[Any], None]
    refuse: Callable[[ChainError], None]
    lasting: bool = True
    node_id: int | None = None
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)


class PubSub:
    """Subscriptions of one node over one connection; use as an async context manager.

    Args:
        url: `ws://` or `wss://` of the node.
        clock: for the times of lost sight.

    Attributes:
        malformed: messages that could not be read and were passed over.
        reconnects: times an open connection was lost.
    """

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = checked_url(url, ("ws", "wss"))
        self._clock = clock
        self._ids = count(1)
        self._wanted: dict[int, _Subscription] = {}
        self._by_node_id: dict[int, _Subscription] = {}
        self._watches: set[AccountWatch] = set()
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._wait_s = FIRST_WAIT_S
        self._last_heard = clock()
        self._blind_since: int | None = None
        self._reason = ""
        self._task: asyncio.Task[None] | None = None
        self.malformed = 0
        self.reconnects = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="solana-pubsub")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def connected(self, timeout_s: float = OPEN_TIMEOUT_S) -> None:
        """Wait until the connection stands.

        Raises:
            ChainUnavailable: it did not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):  # before Python 3.12 wait_for may swallow a cancellation
                await self._connected.wait()
        except TimeoutError as error:
            raise ChainUnavailable(
                f"connecting to {where(self._url)} did not succeed within {timeout_s} s "
                f"({self._reason or 'no answer'}): check that the node runs and the URL is right"
            ) from error

    async def round_trip(self, timeout_s: float = OPEN_TIMEOUT_S) -> None:
        """Wait until the node answers a ping: all it sent before that has arrived.

        Raises:
            ChainUnavailable: it did not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.connected(timeout_s)
                if self._socket is not None:
                    await (await self._socket.ping())
        except (TimeoutError, WebSocketException) as error:
            raise ChainUnavailable(
                f"{where(self._url)} did not answer a ping within {timeout_s} s ({type(error).__name__}): "
                "check that the node runs"
            ) from error

    @asynccontextmanager
    async def watch_accounts(
        self,
        addresses: Collection[Address],
        commitment: Commitment = Commitment.PROCESSED,
        *,
        lasting: bool = True,
    ) -> AsyncIterator[AccountWatch]:
        """Watch accounts until the block ends; entered when the node has answered all subscriptions.

        Args:
            addresses: the accounts.
            commitment: how sure a state must be.
            lasting: subscribe again after a lost connection; else the watch ends with the connection, and
                its `changes` raise ChainUnavailable: for who subscribes again when it is its turn.

        Raises:
            ChainUnavailable: it did not answer in time.
        """
        watch = AccountWatch()
        wanted = [_account_subscription(watch, address, commitment, lasting) for address in addresses]
        if lasting:
            self._watches.add(watch)
        try:
            await self._subscribe(wanted)
            yield watch
        finally:
            self._watches.discard(watch)
            await self._unsubscribe(wanted)

    async def signature_commitments(
        self, signature: Signature, *, timeout_s: float
    ) -> AsyncGenerator[Commitment, None]:
        """Give each commitment as the signature reaches it, until finalized, the time limit or a refusal.

        A hint that does not come is not an error: the caller asks for the status then.
        """
        watch = SignatureWatch()
        wanted = [self._signature_subscription(watch, signature, commitment) for commitment in Commitment]
        ends = asyncio.get_running_loop().time() + timeout_s
        try:
            await self._subscribe(wanted)
            while True:  # ends at finalized, a refusal or the time limit
                async with asyncio.timeout_at(ends):  # as in `connected`
                    reached = await watch.reached()
                for commitment in reached:
                    yield commitment
                if not reached or Commitment.FINALIZED in reached:
                    return
        except (TimeoutError, ChainUnavailable):
            return
        finally:
            await self._unsubscribe(wanted)

    def _signature_subscription(
        self, watch: SignatureWatch, signature: Signature, commitment: Commitment
    ) -> _Subscription:
        def deliver(_: object) -> None:
            watch.notice(commitment)
            self._forget([subscription])  # the node ends it by itself after its one notification

        subscription = _Subscription(
            "signature", [signature, {"commitment": commitment}], deliver, lambda _: watch.refuse()
        )
        return subscription

    async def _subscribe(self, wanted: Collection[_Subscription]) -> None:
        numbered = {next(self._ids): subscription for subscription in wanted}
        self._wanted.update(numbered)
        if self._socket is not None:
            await self._ask(self._socket, numbered)
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S) as limit:
                for subscription in wanted:
                    await subscription.confirmed.wait()
                    limit.reschedule(_in(CONFIRM_TIMEOUT_S))
        except TimeoutError as error:
            raise ChainUnavailable(
                f"subscribing at {where(self._url)} was not answered within {CONFIRM_TIMEOUT_S} s: "
                "check that the node runs and takes subscriptions"
            ) from error

    async def _unsubscribe(self, wanted: Collection[_Subscription]) -> None:
        held = [one for one in wanted if one.node_id in self._by_node_id]
        self._forget(wanted)
        if self._socket is None:
            return
        try:
            for one in held:
                await self._socket.send(_request(next(self._ids), f"{one.kind}Unsubscribe", [one.node_id]))
        except WebSocketException:
            return  # the node drops what a lost connection held

    def _forget(self, wanted: Collection[_Subscription]) -> None:
        gone = set(wanted)  # there may be tens of thousands
        self._wanted = {number: kept for number, kept in self._wanted.items() if kept not in gone}
        for subscription in gone:
            if subscription.node_id is not None:
                self._by_node_id.pop(subscription.node_id, None)

    async def _run(self) -> None:
        while True:  # until cancelled by __aexit__
            reason = "the node closed the connection"
            try:
                async with self._connection() as socket:
                    await self._serve(socket)
            except (OSError, WebSocketException) as error:
                reason = f"{type(error).__name__}: {error}"
            self._disconnected(reason)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def _connection(self) -> connect:
        return connect(
            self._url,
            proxy=None if is_loopback(self._url) else True,
            open_timeout=OPEN_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            close_timeout=1.0,  # nothing of worth is left to hear
            max_size=MAX_FRAME_BYTES,
            compression=None,  # notifications are small and latency matters
        )

    async def _serve(self, socket: ClientConnection) -> None:
        returning = dict(self._wanted)
        self._socket = socket
        self._connected.set()
        if not returning:
            self._blind_since = None  # nobody was looking
        await self._ask(socket, returning)
        unconfirmed = deque(returning.items())
        async with asyncio.timeout(CONFIRM_TIMEOUT_S if returning else None) as limit:
            async for frame in socket:
                self._last_heard = self._clock()
                self._take(frame)
                if limit.when() is None:
                    continue
                before = len(unconfirmed)
                if self._all_confirmed(unconfirmed):
                    limit.reschedule(None)
                    self._sight_returned()
                elif len(unconfirmed) < before:
                    limit.reschedule(_in(CONFIRM_TIMEOUT_S))

    async def _ask(self, socket: ClientConnection, numbered: dict[int, _Subscription]) -> None:
        try:
            for number, one in numbered.items():
                await socket.send(_request(number, f"{one.kind}Subscribe", one.params))
        except WebSocketException:
            return  # the reader sees the same and connects again

    def _all_confirmed(self, unconfirmed: deque[tuple[int, _Subscription]]) -> bool:
        """Whether all of these are, or are wanted no more; takes off the front those that are."""
        while unconfirmed:
            number, one = unconfirmed[0]
            if number in self._wanted and not one.confirmed.is_set():
                return False
            unconfirmed.popleft()
        return True

    def _disconnected(self, reason: str) -> None:
        self._reason = reason
        if self._connected.is_set():
            self.reconnects += 1
            _log.warning("connection lost, connecting again", node=where(self._url), reason=reason)
            if self._blind_since is None:  # a connection silent for longer would have missed its pings
                self._blind_since = max(self._last_heard, self._clock() - int((PING_S + PONG_S) * 1_000_000))
        self._socket = None
        self._connected.clear()
        self._by_node_id.clear()
        for subscription in self._wanted.values():
            subscription.confirmed.clear()
            subscription.node_id = None
        self._end([one for one in self._wanted.values() if not one.lasting])

    def _end(self, ended: Collection[_Subscription]) -> None:
        self._forget(ended)
        lost = ChainUnavailable(
            f"the connection to {where(self._url)} was lost ({self._reason}): subscribe again"
        )
        for subscription in ended:
            subscription.refuse(lost)
            subscription.confirmed.set()  # nothing more is to be waited for

    def _sight_returned(self) -> None:
        if self._blind_since is None:
            return  # the first connection: nothing was seen before it
        lost = SightLost(self._blind_since, self._clock(), self._reason)
        self._blind_since = None
        for watch in self._watches:
            watch.sight_lost(lost)

    def _take(self, frame: str | bytes) -> None:
        self._wait_s = FIRST_WAIT_S
        try:
            message = msgspec.json.decode(frame)
            if "method" in message:
                self._notify(message["params"])
            else:
                self._confirm(message)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            self.malformed += 1
            _log.warning("malformed message passed over", node=where(self._url), found=f"{error!r}")

    def _notify(self, params: dict[str, Any]) -> None:
        subscription = self._by_node_id.get(params["subscription"])
        if subscription is not None:  # else it was just given up
            subscription.deliver(params["result"])

    def _confirm(self, message: dict[str, Any]) -> None:
        subscription = self._wanted.get(message["id"])
        if subscription is None:
            return  # the answer to an unsubscription, or to a subscription just given up
        if "error" in message:
            error = message["error"]
            refusal = f"{subscription.kind}Subscribe was refused by {where(self._url)}: {error['message']}"
            subscription.refuse(ChainError(refusal, error.get("code")))
        else:
            subscription.node_id = int(message["result"])
            self._by_node_id[subscription.node_id] = subscription
        subscription.confirmed.set()


def _account_subscription(
    watch: AccountWatch, address: Address, commitment: Commitment, lasting: bool
) -> _Subscription:
    # The account's bytes are not asked for: they are read in one slot with those they belong to.
    config = {"encoding": "base64", "commitment": commitment, "dataSlice": {"offset": 0, "length": 0}}
    return _Subscription(
        "account", [address, config], lambda result: watch.notice(address, result), watch.refuse, lasting
    )


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _request(number: int, method: str, params: list[Any]) -> str:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).decode()
