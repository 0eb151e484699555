"""One Solana URL over many endpoints: what the doors are handed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from adapters.rpcpool import methods
from adapters.rpcpool.answering import answer_read, answer_sent
from adapters.rpcpool.attempts import Launcher
from adapters.rpcpool.balancing import Balancing, picker
from adapters.rpcpool.cache import AnswerCache, cache_key
from adapters.rpcpool.choosing import Chooser
from adapters.rpcpool.endpoint import EndpointConfig, named
from adapters.rpcpool.hedging import Hedging
from adapters.rpcpool.metrics import PoolMetrics, endpoint_gauges
from adapters.rpcpool.monitor import Monitor
from adapters.rpcpool.outcome import NO_ANSWER, Answer, failure, unknown_method
from adapters.rpcpool.reading import Reader
from adapters.rpcpool.sending import Sender
from adapters.rpcpool.session import Push, Session, SessionLimits
from adapters.rpcpool.transport import Transport
from domain.errors import SetupError

MAX_CALLS: Final = 4_096
"""Clients' calls under way: about forty for each of a hundred endpoints; more would only wait."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool behaves.

    Attributes:
        fanout: endpoints a transaction is sent to.
        hedge_percentile: see `Hedging`.
        timeout_s: the longest a client's call may take.
        health_every_s: between two looks at all endpoints.
        health_timeout_s: an endpoint that does not tell its slot by then is not well.
        max_lag_slots: how far an endpoint's slot may be from the majority's.
        cache_bytes: for answers that never change.
        extra_methods: a provider's own, passed to one endpoint, never repeated or kept.
        session: how subscriptions are kept.
    """

    balancing: Balancing = "round_robin"
    fanout: int = 3
    hedge_percentile: int | None = 95
    timeout_s: float = 30.0
    health_every_s: float = 30.0
    health_timeout_s: float = 5.0
    max_lag_slots: int = 50
    cache_bytes: int = 64 * 2**20
    extra_methods: frozenset[str] = frozenset()
    session: SessionLimits = field(default_factory=SessionLimits)


class RpcPool:
    """Serves calls and subscriptions from whatever endpoints live. Made by `open_pool`.

    Attributes:
        endpoints: all of them.
        monitor: keeps their health up to date while it runs.
        served: calls of clients that were answered.
    """

    def __init__(
        self,
        configs: Sequence[EndpointConfig],
        options: PoolOptions,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        if not configs:
            raise SetupError(
                "the RPC pool has no endpoints: name at least one in DAYBOOK_RPC_POOL__ENDPOINTS"
            )
        self._clock = clock
        self._wall_clock = wall_clock
        self._options = options
        self.endpoints = named(list(configs), clock())
        self._by_name = {one.name: one for one in self.endpoints}
        self.metrics = PoolMetrics()
        self.metrics.watch(self._gauges)
        self._transport = Transport(clock)
        chooser = Chooser(self.endpoints, picker(options.balancing), clock)
        self._launcher = Launcher(self._transport, chooser, self.metrics, clock)
        self._reader = Reader(
            self._launcher, Hedging(options.hedge_percentile), self.metrics, options.timeout_s
        )
        self._sender = Sender(self._launcher, options.fanout, options.timeout_s)
        self._cache = AnswerCache(options.cache_bytes)
        self.monitor = Monitor(
            self.endpoints,
            self._transport,
            chooser,
            every_s=options.health_every_s,
            timeout_s=options.health_timeout_s,
            max_lag_slots=options.max_lag_slots,
            wall_clock=wall_clock,
        )
        self._sessions = 0
        self._calls = 0
        self.served = 0

    @property
    def registry(self) -> CollectorRegistry:
        """The pool's figures."""
        return self.metrics.registry

    async def aclose(self) -> None:
        """End what still runs and close all connections."""
        await self._launcher.aclose()
        await self._transport.aclose()

    async def call(self, method: str, params: bytes) -> Answer:
        """Serve one call; `params` is JSON text of an array or object. What endpoints do never raises."""
        if method not in methods.KNOWN and method not in self._options.extra_methods:
            self.metrics.call("unknown", "refused", 0.0)
            return unknown_method()
        if self._calls >= MAX_CALLS:
            return failure(
                NO_ANSWER, f"{method} was not sent: {MAX_CALLS} calls are under way; ask again", 503
            )
        self._calls += 1
        began = self._clock()
        try:
            answer = await self._answer(method, params)
        finally:
            self._calls -= 1
        self.served += 1
        outcome = "result" if answer.error is None else "error" if answer.status == 200 else "unavailable"
        self.metrics.call(method, outcome, self._clock() - began)
        return answer

    async def _answer(self, method: str, params: bytes) -> Answer:
        if method == methods.SEND:
            return answer_sent(method, await self._sender.send(params))
        if method not in methods.READS:
            return answer_sent(method, await self._sender.once(method, params))
        key = cache_key(method, params, self.monitor.head)
        kept = None if key is None else self._cache.get(key)
        if kept is not None:
            self.metrics.cache_hits.inc()
            return Answer(result=kept)
        outcomes = await self._reader.read(method, params)
        answer = answer_read(method, outcomes)
        if key is not None and answer.result is not None and self._believed(outcomes[-1].endpoint):
            self._cache.put(key, answer.result)
        return answer

    def _believed(self, name: str) -> bool:
        return not self._by_name[name].health.doubtful

    @asynccontextmanager
    async def session(
        self, push: Push, on_gap: Callable[[str], None] | None = None
    ) -> AsyncIterator[Session]:
        """One client's subscriptions, ended with the block.

        Args:
            push: takes each message for the client; must not block.
            on_gap: called with the reason instead of gap notices, for a client that wants to be cut off then.
        """
        session = Session(
            self.endpoints,
            self._options.session,
            push,
            on_gap,
            self.metrics,
            clock=self._clock,
            wall_clock=self._wall_clock,
        )
        self._sessions += 1
        try:
            yield session
        finally:
            self._sessions -= 1
            await session.aclose()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether any endpoint is well, and where each stands; no URL, no key."""
        now = self._clock()
        found = {
            one.name: {
                "state": one.state(now),
                "slot": one.health.slot,
                "standing": one.health.standing.value,
                "latency_us": _us(one.health.latency_s),
                "error_percent": round(one.health.error_share * 100),
                "in_flight": one.in_flight,
                "circuit": one.breaker.state(now).value,
                "checked_at_s": None if one.health.checked_at is None else int(one.health.checked_at),
            }
            for one in self.endpoints
        }
        well = sum(one.rank(now) == 0 for one in self.endpoints)
        return well > 0, {"head_slot": self.monitor.head, "well": well, "endpoints": found}

    def _gauges(self) -> Iterable[Metric]:
        yield from endpoint_gauges(self.endpoints, self._clock())
        yield GaugeMetricFamily("daybook_rpc_cache_bytes", "Held by the cache.", value=self._cache.used_bytes)
        yield GaugeMetricFamily("daybook_rpc_sessions", "Clients with a WebSocket.", value=self._sessions)
        yield GaugeMetricFamily("daybook_rpc_calls_in_flight", "Calls of clients.", value=self._calls)


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1_000_000)


@asynccontextmanager
async def open_pool(
    configs: Sequence[EndpointConfig],
    options: PoolOptions | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator[RpcPool]:
    """The pool; serves at once. Run `pool.monitor.run()` beside it, which keeps the health up to date.

    Raises:
        SetupError: there are no endpoints, or a URL does not name a node.
    """
    pool = RpcPool(configs, options or PoolOptions(), clock=clock, wall_clock=wall_clock)
    try:
        yield pool
    finally:
        await pool.aclose()
