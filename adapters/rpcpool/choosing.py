"""Chooses whom to ask: the best standing first, never against a limit, never twice the same in one round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from adapters.rpcpool.balancing import Pick
from adapters.rpcpool.endpoint import Endpoint

PATIENCE_S: Final = 0.25
"""A well-standing endpoint whose limit frees within this is waited for before a worse one is asked."""
FRONT_S: Final = 0.02
"""How long the list of the best is used before the ranks are looked at again: about a hundred calls."""
_WORST: Final = 3


class Chooser:
    """Chooses among all endpoints.

    Args:
        pick: the balancing among equals.
        clock: seconds, monotonic.
    """

    def __init__(self, endpoints: Sequence[Endpoint], pick: Pick, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._pick = pick
        self._clock = clock
        self._front: list[Endpoint] = []
        self._front_until = clock()

    def choose(self, tried: AbstractSet[str]) -> Endpoint | float | None:
        """An endpoint that may be asked now; or when (clock) one may; or None when all were tried."""
        now = self._clock()
        if not tried:
            chosen = self._quick(now)
            if chosen is not None:
                return chosen
        return self._thorough(tried, now)

    def forget(self) -> None:
        """Something changed: look at the ranks anew."""
        self._front_until = self._clock()

    def _quick(self, now: float) -> Endpoint | None:
        if now >= self._front_until:
            self._front = [one for one in self._endpoints if one.rank(now) == 0]
            self._front_until = now + FRONT_S
        if not self._front:
            return None
        chosen = self._pick(self._front)
        fit = chosen.free_at(now) <= now and chosen.breaker.admits(now)
        return chosen if fit else None

    def _thorough(self, tried: AbstractSet[str], now: float) -> Endpoint | float | None:
        ranked: dict[int, list[tuple[float, Endpoint]]] = {}
        for one in self._endpoints:
            if one.name not in tried:
                ranked.setdefault(one.rank(now), []).append((one.free_at(now), one))
        earliest: float | None = None
        for rank in range(_WORST + 1):
            found = ranked.get(rank)
            if not found:
                continue
            free = [one for at, one in found if at <= now]
            if free:
                return self._pick(free)
            soonest = min(at for at, _ in found)
            earliest = soonest if earliest is None else min(earliest, soonest)
            if soonest - now <= PATIENCE_S:
                return soonest
        return earliest
