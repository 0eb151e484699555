"""One client's subscriptions: served by one endpoint at a time, moved to another when that one is lost.

The client keeps its ids through every move, and a gap is always told: a notice when sight is lost, another
when it returns. Each client has a connection of its own to an endpoint, so that one who reads slowly holds up
nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import msgspec
import structlog
from websockets.exceptions import WebSocketException

from adapters.rpcpool.endpoint import Endpoint
from adapters.rpcpool.methods import SUBSCRIBE, UNSUBSCRIBE
from adapters.rpcpool.metrics import PoolMetrics
from adapters.rpcpool.outcome import NO_ANSWER, Answer, failure, unknown_method
from adapters.rpcpool.slots import Standing
from adapters.rpcpool.subscription import Subscription
from adapters.rpcpool.upstream import Frame, Silent, Upstream, upstream

Push = Callable[[bytes], None]

INVALID_PARAMS: Final = -32602
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
"""Between attempts when no endpoint serves: doubled from the first up to the longest."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("rpcpool.session")


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How subscriptions are kept.

    Attributes:
        subscriptions: of one client; a node's own bound for all its clients is a million.
        confirm_s: a client's request that no endpoint confirmed by then is refused.
        silence_s: an endpoint that tells of no slot for so long is left: on Solana a slot takes 0.4 s.
    """

    subscriptions: int = 10_000
    confirm_s: float = 15.0
    silence_s: float = 15.0


class Session:
    """One client. Made by `RpcPool.session`."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        limits: SessionLimits,
        push: Push,
        on_gap: Callable[[str], None] | None,
        metrics: PoolMetrics,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._endpoints = [one for one in endpoints if one.config.ws_url is not None]
        self._limits = limits
        self._push = push
        self._on_gap = on_gap
        self._metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._numbers = count(1)
        self._wanted: dict[int, Subscription] = {}
        self._needed = asyncio.Event()
        self._upstream: Upstream | None = None
        self._failed: set[str] = set()
        self._wait_s = FIRST_WAIT_S
        self._task: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """End all subscriptions."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, method: str, params: bytes, reply: Callable[[Answer], None]) -> None:
        """Serve a ...Subscribe; `reply` is called once, before the first notification is pushed."""
        kind = SUBSCRIBE.get(method)
        if kind is None:
            reply(unknown_method())
            return
        if not self._endpoints:
            reply(failure(NO_ANSWER, f"{method}: no endpoint of this proxy has a WebSocket address"))
            return
        if len(self._wanted) >= self._limits.subscriptions:
            most = self._limits.subscriptions
            reply(
                failure(
                    NO_ANSWER, f"{method}: this connection has {most} subscriptions, the most there may be"
                )
            )
            return
        subscription = Subscription(next(self._numbers), kind, params, reply)
        self._wanted[subscription.number] = subscription
        self._needed.set()
        asyncio.get_running_loop().call_later(self._limits.confirm_s, self._too_late, subscription)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="rpcpool-session")
            self._task.add_done_callback(self._ended)
        elif self._upstream is not None:
            await self._tell(self._upstream.ask(subscription))

    async def unsubscribe(self, method: str, params: bytes, reply: Callable[[Answer], None]) -> None:
        """Serve an ...Unsubscribe."""
        if method not in UNSUBSCRIBE:
            reply(unknown_method())
            return
        try:
            number = msgspec.json.decode(params, type=tuple[int])[0]
        except msgspec.DecodeError:
            number = 0
        subscription = self._wanted.get(number)
        if subscription is None:
            reply(failure(INVALID_PARAMS, "Invalid subscription id."))
            return
        self._forget(subscription)
        reply(Answer(result=b"true"))
        if self._upstream is not None:
            await self._tell(self._upstream.give_up(subscription))

    async def _tell(self, sending: Awaitable[None]) -> None:
        with contextlib.suppress(WebSocketException):  # the reader sees the same and moves on
            await sending

    def _forget(self, subscription: Subscription) -> None:
        self._wanted.pop(subscription.number, None)
        if not self._wanted:
            self._needed.clear()

    def _too_late(self, subscription: Subscription) -> None:
        if subscription.reply is not None:
            self._forget(subscription)
            within = f"within {self._limits.confirm_s:g} s"
            subscription.answer(
                failure(NO_ANSWER, f"no endpoint confirmed the subscription {within}; try again")
            )

    async def _run(self) -> None:
        while True:  # until the client goes
            await self._needed.wait()
            endpoint = self._choose()
            if endpoint is None:
                self._failed.clear()
                await asyncio.sleep(self._wait_s)
                self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)
                continue
            reason = await self._serve(endpoint)
            self._failed.add(endpoint.name)
            self._lost(endpoint, reason)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell the client when an error of our own ended the serving: it must not wait in silence."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        [last] = traceback.extract_tb(error.__traceback__)[-1:]
        _log.error("serving a client broke", error=type(error).__name__, at=f"{last.filename}:{last.lineno}")
        self._task = None
        reason = "the proxy failed: subscribe anew"
        if self._on_gap is not None:
            self._on_gap(reason)
        for subscription in list(self._wanted.values()):
            self._forget(subscription)
            if subscription.reply is not None:
                subscription.answer(failure(NO_ANSWER, reason))
            elif self._on_gap is None:
                self._push(subscription.gap("ended", reason, self._wall_clock()))

    def _choose(self) -> Endpoint | None:
        """The best standing, then the fewest clients; None when all have failed since the last pause."""
        now = self._clock()
        fit = [one for one in self._endpoints if one.name not in self._failed]
        return min(
            fit,
            key=lambda one: (
                not one.ws_breaker.admits(now),
                one.rank(now),
                one.sessions / one.config.weight,
            ),
            default=None,
        )

    async def _serve(self, endpoint: Endpoint) -> str:
        """Be served by an endpoint until that ends; gives the reason, without its URL."""
        now = self._clock()
        endpoint.ws_breaker.started(now)
        try:
            async with upstream(endpoint, self._limits.silence_s) as connection:
                endpoint.ws_breaker.succeeded()
                self._upstream = connection  # from now on who subscribes asks there himself
                async with _running(self._ask(connection, list(self._wanted.values()))):
                    return await self._converse(connection)
        except (OSError, WebSocketException, TimeoutError) as error:
            if self._upstream is None:
                endpoint.ws_breaker.failed(self._clock())
            return f"connection lost ({type(error).__name__})"
        except Silent as silent:
            return str(silent)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "it sent something that is no JSON-RPC"
        finally:
            self._upstream = None
            endpoint.ws_breaker.undecided()

    async def _ask(self, connection: Upstream, wanted: Sequence[Subscription]) -> None:
        """Subscribe for what is wanted while answers are read: thousands would fill the buffers."""
        with contextlib.suppress(WebSocketException):  # the reader sees the same and moves on
            await connection.ask(None)
            for subscription in wanted:
                if subscription.number in self._wanted:
                    await connection.ask(subscription)

    async def _converse(self, connection: Upstream) -> str:
        while True:  # until the connection ends, falls silent, or a better endpoint should take over
            frame = await connection.hear()
            reason = await self._take(connection, frame)
            if reason is None and self._should_move(connection.endpoint):
                reason = f"its slot is {connection.endpoint.health.standing.value}"
            if reason is not None:
                return reason

    def _should_move(self, endpoint: Endpoint) -> bool:
        """Whether what it tells is old or not to be believed, and somebody else is better."""
        if endpoint.health.standing is Standing.TRUSTED:
            return False
        now = self._clock()
        return any(one.rank(now) == 0 and one.name not in self._failed for one in self._endpoints)

    async def _take(self, connection: Upstream, frame: Frame) -> str | None:
        """Take a frame in; gives a reason to leave the endpoint, if it is one."""
        if frame.method is not None and frame.params is not None:
            self._notify(connection, frame.method, frame.params.subscription, bytes(frame.params.result))
            return None
        ours, subscription = connection.asked(frame.id or 0)
        if ours:
            return await self._answered(connection, subscription, frame)
        return None  # the answer to an unsubscription

    async def _answered(
        self, connection: Upstream, subscription: Subscription | None, frame: Frame
    ) -> str | None:
        number = _number(frame)
        if subscription is None:
            connection.heartbeat = number
            return None
        if number is None:
            return self._refused(connection, subscription, bytes(frame.error))
        subscription.node_id = number
        if subscription.number not in self._wanted:  # given up while it was asked for
            await connection.give_up(subscription)
            return None
        connection.by_node_id[number] = subscription
        self._confirmed(subscription)
        return None

    def _confirmed(self, subscription: Subscription) -> None:
        subscription.refused_by.clear()
        self._wait_s = FIRST_WAIT_S
        self._failed.clear()
        subscription.answer(Answer(result=b"%d" % subscription.number))
        if subscription.lost_at is not None:
            if self._on_gap is None:
                self._push(subscription.gap("restored", "", self._wall_clock()))
            subscription.lost_at = None

    def _refused(self, connection: Upstream, subscription: Subscription, error: bytes) -> str | None:
        """A new subscription's refusal is the client's; a moved one's is a reason to look further."""
        if subscription.reply is not None:
            self._forget(subscription)
            subscription.answer(Answer(error=error or b'{"code":-32603,"message":"refused"}'))
            return None
        subscription.refused_by.add(connection.endpoint.name)
        if self._may_take_over(subscription):
            return f"it refuses {subscription.kind}Subscribe"
        self._forget(subscription)
        self._push(subscription.gap("ended", "no endpoint takes it over", self._wall_clock()))
        return None

    def _may_take_over(self, subscription: Subscription) -> bool:
        """Whether somebody within reach has not refused it: else one would cost all others their sight."""
        now = self._clock()
        return any(
            one.name not in subscription.refused_by and one.ws_breaker.admits(now) for one in self._endpoints
        )

    def _notify(self, connection: Upstream, method: str, node_id: int, result: bytes) -> None:
        subscription = connection.by_node_id.get(node_id)
        if subscription is None:
            return  # our heartbeat, or just given up
        self._push(subscription.notification(method, result))
        if subscription.ends_with(result):
            connection.by_node_id.pop(node_id)
            self._forget(subscription)

    def _lost(self, endpoint: Endpoint, reason: str) -> None:
        """Tell of the gap, once for each subscription that was served or told before."""
        _log.warning("endpoint lost for subscriptions", endpoint=endpoint.name, reason=reason)
        served = [one for one in self._wanted.values() if one.reply is None]
        now = self._wall_clock()
        for subscription in served:
            subscription.node_id = None
            if subscription.lost_at is None:
                subscription.lost_at = now
                self._metrics.gaps.inc()
                if self._on_gap is None:
                    self._push(subscription.gap("lost", reason, now))
        if served and self._on_gap is not None:
            self._on_gap(reason)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do work beside the block, at most as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _number(frame: Frame) -> int | None:
    try:
        return msgspec.json.decode(frame.result, type=int)
    except msgspec.DecodeError:  # there is none: an error
        return None
