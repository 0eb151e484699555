"""What changes the chain: transactions to several endpoints at once, everything else to one.

A transaction sent twice is executed once, for the chain knows its signature. So it goes to several endpoints,
and the first that takes it answers the client. A refusal is believed only when all that were asked refused:
one that was sent the transaction and did not answer may have passed it on, and then the client must not think
it refused.
"""

from __future__ import annotations

import asyncio
from typing import Final

from adapters.rpcpool.attempts import ATTEMPT_S, Attempts, Launcher
from adapters.rpcpool.methods import SEND
from adapters.rpcpool.outcome import Kind, Outcome
from adapters.rpcpool.reading import FIRST_PAUSE_S, ROUNDS

MORE_AFTER_S: Final = 1.0
"""When none of those asked has answered by then, more are asked."""
AFTER_REFUSAL_S: Final = 2.0
"""How long the others are waited for when one refused a transaction: most answer within milliseconds."""


class Sender:
    """Serves sendTransaction and what may be asked only once.

    Args:
        fanout: endpoints a transaction is sent to at the same time.
    """

    def __init__(self, launcher: Launcher, fanout: int, timeout_s: float) -> None:
        self._launcher = launcher
        self._fanout = fanout
        self._timeout_s = timeout_s

    async def send(self, params: bytes) -> list[Outcome]:
        """Send a transaction; the outcome that decides comes last."""
        attempts = Attempts(self._launcher, SEND, params, self._timeout_s)
        rounds = 0
        while attempts.left_s > 0 and rounds < ROUNDS:  # bounded by the time limit and by the rounds
            wait_s = self._launch_several(attempts)
            if attempts.pending:
                if await self._taken(attempts) or _refused(attempts.outcomes):
                    return _decided(attempts)
            elif wait_s is None:
                rounds += 1
                attempts.tried.clear()
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (rounds - 1))
            elif wait_s > attempts.left_s:
                return attempts.limited(wait_s)
            else:
                await attempts.pause(wait_s)
        return attempts.told()

    async def once(self, method: str, params: bytes) -> list[Outcome]:
        """Ask one endpoint; another only when the call certainly did not arrive."""
        attempts = Attempts(self._launcher, method, params, self._timeout_s)
        while attempts.left_s > 0:  # bounded by the time limit, and each endpoint is asked once
            wait_s = attempts.launch(self._timeout_s)
            if attempts.pending:
                found = await attempts.ended(None)
                if any(one.kind not in (Kind.UNSENT, Kind.LIMITED) for one in found):
                    return attempts.outcomes
            elif wait_s is None:
                break
            elif wait_s > attempts.left_s:
                return attempts.limited(wait_s)
            else:
                await attempts.pause(wait_s)
        return attempts.told()

    def _launch_several(self, attempts: Attempts) -> float | None:
        for _ in range(self._fanout):
            wait_s = attempts.launch(ATTEMPT_S)
            if wait_s != 0.0:
                return wait_s
        return 0.0

    async def _taken(self, attempts: Attempts) -> bool:
        """Whether one of those asked takes it; they are all heard, but not for long after a refusal."""
        patience_s = MORE_AFTER_S
        while attempts.pending and attempts.left_s > 0:  # bounded by the time limit
            found = await attempts.ended(patience_s)
            if any(one.good for one in found):
                return True
            if not found:
                return False
            if any(one.final for one in found):
                patience_s = AFTER_REFUSAL_S
        return False


def _refused(outcomes: list[Outcome]) -> bool:
    return any(one.final for one in outcomes)


def _decided(attempts: Attempts) -> list[Outcome]:
    """The outcomes, a good one last."""
    return sorted(attempts.told(), key=lambda one: one.good)
