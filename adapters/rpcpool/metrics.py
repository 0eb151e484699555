"""The pool's figures for Prometheus: counted as they happen, gauges read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.rpcpool.endpoint import Endpoint
from adapters.rpcpool.outcome import Kind

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PoolMetrics:
    """All figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._calls = Counter(
            "daybook_rpc_calls",
            "Calls of clients, by what they got.",
            ("method", "outcome"),
            registry=registry,
        )
        self.seconds = Histogram(
            "daybook_rpc_call_seconds",
            "From a call's arrival in the pool to its answer.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._attempts = Counter(
            "daybook_rpc_attempts", "Calls to endpoints.", ("endpoint", "outcome"), registry=registry
        )
        self.retries = Counter("daybook_rpc_retries", "Reads asked elsewhere.", registry=registry)
        self.hedges = Counter("daybook_rpc_hedges", "Slow reads asked a second time.", registry=registry)
        self.hedged_answers = Counter(
            "daybook_rpc_hedged_answers", "Reads answered after a hedge.", registry=registry
        )
        self.cache_hits = Counter("daybook_rpc_cache_hits", "Answers from the cache.", registry=registry)
        self.gaps = Counter("daybook_rpc_gaps", "Subscriptions that lost sight.", registry=registry)
        self._call_children: dict[tuple[str, str], Counter] = {}
        self._attempt_children: dict[tuple[str, str], Counter] = {}

    def call(self, method: str, outcome: str, took_s: float) -> None:
        """Count a client's call; `method` is a known one, so that the labels stay few."""
        child = self._call_children.get((method, outcome))
        if child is None:
            child = self._call_children[method, outcome] = self._calls.labels(method, outcome)
        child.inc()
        self.seconds.observe(took_s)

    def attempt(self, endpoint: str, kind: Kind) -> None:
        """Count a call to an endpoint."""
        child = self._attempt_children.get((endpoint, kind.value))
        if child is None:
            child = self._attempt_children[endpoint, kind.value] = self._attempts.labels(endpoint, kind.value)
        child.inc()

    def watch(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        """Read these whenever the figures are asked for."""
        self.registry.register(_Read(gauges))


class _Read(Collector):
    def __init__(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()

    def describe(self) -> Iterable[Metric]:
        return ()


def endpoint_gauges(endpoints: Sequence[Endpoint], now: float) -> list[Metric]:
    """Where each endpoint stands."""
    states = GaugeMetricFamily("daybook_rpc_endpoint_up", "1 where it is asked first.", labels=("endpoint",))
    state = GaugeMetricFamily(
        "daybook_rpc_endpoint_state", "1 for the state it is in.", labels=("endpoint", "state")
    )
    slot = GaugeMetricFamily("daybook_rpc_endpoint_slot", "Its last report.", labels=("endpoint",))
    latency = GaugeMetricFamily(
        "daybook_rpc_endpoint_latency_seconds", "Smoothed, of answered calls.", labels=("endpoint",)
    )
    flying = GaugeMetricFamily("daybook_rpc_endpoint_in_flight", "Calls under way.", labels=("endpoint",))
    for one in endpoints:
        states.add_metric((one.name,), float(one.rank(now) == 0))
        state.add_metric((one.name, one.state(now)), 1)
        flying.add_metric((one.name,), one.in_flight)
        if one.health.slot is not None:
            slot.add_metric((one.name,), one.health.slot)
        if one.health.latency_s is not None:
            latency.add_metric((one.name,), one.health.latency_s)
    return [states, state, slot, latency, flying]
