"""Reads: asked elsewhere after a failure, twice when slow, until somebody answers or the time is over."""

from __future__ import annotations

import asyncio
from typing import Final

from adapters.rpcpool import methods
from adapters.rpcpool.attempts import ATTEMPT_S, Attempts, Launcher
from adapters.rpcpool.hedging import LONGEST_S, Hedging
from adapters.rpcpool.metrics import PoolMetrics
from adapters.rpcpool.outcome import Kind, Outcome

AT_ONCE: Final = 3
"""Endpoints of one read under way at the same time."""
ROUNDS: Final = 4
FIRST_PAUSE_S: Final = 0.05
"""All endpoints are asked up to four times, with pauses that double: 0.35 s in all."""
SAME_LACK: Final = 5
"""When so many endpoints lack the same, it is not there: a skipped slot must not be asked of ninety-five."""


class Reader:
    """Serves reads."""

    def __init__(self, launcher: Launcher, hedging: Hedging, metrics: PoolMetrics, timeout_s: float) -> None:
        self._launcher = launcher
        self._hedging = hedging
        self._metrics = metrics
        self._timeout_s = timeout_s

    async def read(self, method: str, params: bytes) -> list[Outcome]:
        """Ask until an outcome is final; gives all of them, the final one last when there is one."""
        attempts = Attempts(self._launcher, method, params, self._timeout_s)
        self._hedging.called()
        began, rounds = self._launcher.clock(), 0
        while attempts.left_s > 0 and rounds < ROUNDS:  # bounded by the time limit and by the rounds
            wait_s = None if len(attempts.pending) >= AT_ONCE else attempts.launch(self._attempt_s(method))
            if attempts.pending:
                final = await self._first(attempts, method, began)
                if final:
                    return attempts.outcomes
            elif wait_s is None:
                rounds += 1
                attempts.tried.clear()
                await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** (rounds - 1), max(0.0, attempts.left_s)))
            elif wait_s > attempts.left_s:
                return attempts.limited(wait_s)
            else:
                await attempts.pause(wait_s)
        return attempts.told()

    async def _first(self, attempts: Attempts, method: str, began: float) -> bool:
        """Wait for the attempts; true when the call is decided, false when one more should be asked."""
        alone = len(attempts.pending) == 1
        while attempts.pending and attempts.left_s > 0:  # bounded by the time limit
            found = await attempts.ended(self._delay_s(attempts, method))
            for outcome in found:
                if outcome.final or _lacking(attempts.outcomes, outcome):
                    self._decided(attempts, outcome, method, began, alone=alone)
                    return True
            if found:
                self._metrics.retries.inc()
                return False
            if len(attempts.pending) < AT_ONCE and attempts.left_s > 0 and self._may_hedge(method, began):
                self._metrics.hedges.inc()
                return False
        return False

    def _may_hedge(self, method: str, began: float) -> bool:
        """Within the budget; beyond it only for a read that nobody has answered for long."""
        if method in methods.SLOW:
            return False
        return self._hedging.spend() or self._launcher.clock() - began >= LONGEST_S

    def _delay_s(self, attempts: Attempts, method: str) -> float | None:
        if method in methods.SLOW or len(attempts.pending) >= AT_ONCE:
            return None
        return self._hedging.delay_s(method)

    def _decided(
        self, attempts: Attempts, outcome: Outcome, method: str, began: float, *, alone: bool
    ) -> None:
        took_s = self._launcher.clock() - began
        if len(attempts.outcomes) == 1:
            self._hedging.answered(method, took_s)
            if not alone:
                self._metrics.hedged_answers.inc()
        # the final one is told last
        attempts.outcomes.remove(outcome)
        attempts.outcomes.append(outcome)

    def _attempt_s(self, method: str) -> float:
        return self._timeout_s if method in methods.SLOW else ATTEMPT_S


def _lacking(outcomes: list[Outcome], outcome: Outcome) -> bool:
    if outcome.kind is not Kind.LACKS:
        return False
    return sum(one.kind is Kind.LACKS and one.code == outcome.code for one in outcomes) >= SAME_LACK
