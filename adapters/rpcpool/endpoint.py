"""One endpoint: what the settings say of it, and everything the pool knows of it now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.rpcpool.breaker import Circuit, CircuitBreaker
from adapters.rpcpool.bucket import TokenBucket
from adapters.rpcpool.health import EndpointHealth
from adapters.rpcpool.slots import Standing
from adapters.solana.jsonrpc import checked_url, where
from domain.errors import SetupError

CONNECTIONS: Final = 100
"""Connections kept to one endpoint, and calls under way there."""
FULL_S: Final = 0.2
"""When a full endpoint is asked for a place again; who waits is woken when a call ends, mostly far sooner."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """How to reach an endpoint. URLs and headers carry keys: they are never shown.

    Attributes:
        url: `http://` or `https://`.
        ws_url: `ws://` or `wss://`; None for an endpoint that takes no subscriptions.
        weight: its share of the calls beside the others'.
        requests_per_second: the most it is sent; None for no limit of our own.
        headers: sent with each request.
        name: for people and metrics; empty takes the host.
    """

    url: str = field(repr=False)
    ws_url: str | None = field(default=None, repr=False)
    weight: int = 1
    requests_per_second: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""


class Endpoint:
    """An endpoint as the pool sees it.

    Attributes:
        turn: the balance of weighted round robin.
        in_flight: calls under way.
        ws_breaker: of its WebSocket.
        sessions: clients whose subscriptions it serves.
    """

    def __init__(self, config: EndpointConfig, name: str, now: float) -> None:
        self.config = config
        self.name = name
        self.bucket = TokenBucket(config.requests_per_second, now)
        self.breaker = CircuitBreaker()
        self.health = EndpointHealth()
        self.turn = 0
        self.in_flight = 0
        self.ws_breaker = CircuitBreaker()
        self.sessions = 0

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"

    def rank(self, now: float) -> int:
        """How willingly it is asked: 0 first, 3 last; an open breaker comes after failing ones."""
        if self.health.doubtful:
            return 3
        state = self.breaker.state(now)
        if state is Circuit.CLOSED:
            return self.health.rank
        trial = state is Circuit.HALF_OPEN and self.breaker.admits(now) and self.health.checked is not False
        return 0 if trial else 2

    def free_at(self, now: float) -> float:
        """When its limits allow the next call; `now` or earlier means at once."""
        if self.in_flight >= CONNECTIONS:
            return now + FULL_S
        return self.bucket.ready_at(now)

    def state(self, now: float) -> str:
        """One word for people: ok, lagging, failing, lying, open or half_open."""
        circuit = self.breaker.state(now)
        if self.health.doubtful:
            return "lying"
        if circuit is not Circuit.CLOSED:
            return circuit.value
        if self.health.rank == 0:
            return "ok"
        return "lagging" if self.health.standing is Standing.LAGGING else "failing"


def named(configs: list[EndpointConfig], now: float) -> list[Endpoint]:
    """The endpoints with names of their own: the given ones, else hosts, numbered where two are the same.

    Raises:
        SetupError: a URL does not name a node.
    """
    made: dict[str, Endpoint] = {}
    for place, config in enumerate(configs, 1):
        _check(place, config)
        base = name = config.name or where(config.url).split("://", 1)[1]
        number = 1
        while name in made:
            number += 1
            name = f"{base}#{number}"
        made[name] = Endpoint(config, name, now)
    return list(made.values())


def _check(place: int, config: EndpointConfig) -> None:
    """Refuse a URL that names no node, without showing it."""
    for part, url, schemes in (
        ("url", config.url, ("http", "https")),
        ("ws_url", config.ws_url, ("ws", "wss")),
    ):
        try:
            if url is not None:
                checked_url(url, schemes)
        except SetupError:
            wanted = " or ".join(f"{scheme}://HOST" for scheme in schemes)
            raise SetupError(
                f"endpoint {place} of DAYBOOK_RPC_POOL__ENDPOINTS: its {part} is not {wanted}: correct it"
            ) from None
