"""Which endpoint is asked next: weighted round robin or least latency, among those in the best standing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

from adapters.rpcpool.endpoint import Endpoint

Balancing = Literal["round_robin", "least_latency"]
Pick = Callable[[Sequence[Endpoint]], Endpoint]
"""Takes one of the candidates, of which there is at least one."""

_EXPLORE_S: Final = 0.001
"""What an endpoint that was never measured counts as: it is tried early, then known."""


def picker(balancing: Balancing) -> Pick:
    """The picker of that name."""
    return _round_robin if balancing == "round_robin" else _least_latency


def _round_robin(candidates: Sequence[Endpoint]) -> Endpoint:
    """Smooth weighted round robin, as nginx does it: a heavy endpoint's turns are spread, not bunched."""
    best = candidates[0]
    total = 0
    for one in candidates:
        one.turn += one.config.weight
        total += one.config.weight
        if one.turn > best.turn:
            best = one
    best.turn -= total
    return best


def _least_latency(candidates: Sequence[Endpoint]) -> Endpoint:
    """The shortest expected wait: smoothed latency times what is already under way there, by weight."""
    return min(
        candidates,
        key=lambda one: (one.health.latency_s or _EXPLORE_S) * (one.in_flight + 1) / one.config.weight,
    )
