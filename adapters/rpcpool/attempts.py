"""The attempts of one call: started side by side, finished in any order, none of them forgotten.

An attempt that lost the race runs on to its end: its endpoint's latency or hang becomes known, and its
connection stays open. It is bounded by its own time limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from adapters.rpcpool.choosing import Chooser
from adapters.rpcpool.endpoint import Endpoint
from adapters.rpcpool.metrics import PoolMetrics
from adapters.rpcpool.outcome import Kind, Outcome
from adapters.rpcpool.transport import Transport

ATTEMPT_S: Final = 5.0
"""A healthy endpoint answers an ordinary call in milliseconds; after this it hangs."""


class Launcher:
    """Starts attempts for all calls and keeps those that run on.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(
        self, transport: Transport, chooser: Chooser, metrics: PoolMetrics, clock: Callable[[], float]
    ) -> None:
        self._transport = transport
        self._metrics = metrics
        self._running: set[asyncio.Task[Outcome]] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.chooser = chooser
        self.clock = clock

    async def aclose(self) -> None:
        """End what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def start(
        self, endpoint: Endpoint, method: str, params: bytes, timeout_s: float
    ) -> asyncio.Task[Outcome]:
        """Ask an endpoint in a task of its own."""
        began = self._transport.begin(endpoint)
        task = asyncio.create_task(self._attempt(endpoint, began, method, params, timeout_s))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def pause(self, wait_s: float) -> None:
        """Wait until a limit may allow the next attempt: `wait_s` seconds, or until one that ends makes room.

        Who is woken in turn costs little; hundreds who looked again every few milliseconds would cost it all.
        """
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await asyncio.wait([room], timeout=wait_s)
        finally:
            room.cancel()

    def _wake_one(self) -> None:
        while self._waiting:  # those who have waited their time are passed over
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    async def _attempt(
        self, endpoint: Endpoint, began: float, method: str, params: bytes, timeout_s: float
    ) -> Outcome:
        outcome = await self._transport.call(endpoint, began, method, params, timeout_s)
        self._wake_one()
        self._metrics.attempt(endpoint.name, outcome.kind)
        if outcome.kind is not Kind.ANSWERED:
            self.chooser.forget()
        return outcome


class Attempts:
    """The attempts of one call.

    Attributes:
        tried: whom this round has asked.
        outcomes: what came back so far, all rounds.
    """

    def __init__(self, launcher: Launcher, method: str, params: bytes, timeout_s: float) -> None:
        self._launcher = launcher
        self._method = method
        self._params = params
        self._timeout_s = timeout_s
        self._ends = launcher.clock() + timeout_s
        self.tried: set[str] = set()
        self.pending: set[asyncio.Task[Outcome]] = set()
        self.outcomes: list[Outcome] = []

    @property
    def left_s(self) -> float:
        """Seconds until the call's time limit."""
        return self._ends - self._launcher.clock()

    def launch(self, attempt_s: float) -> float | None:
        """Ask one more endpoint; gives zero when it was asked.

        Otherwise the seconds to wait when a limit forbids it now, None when all were tried.
        """
        chosen = self._launcher.chooser.choose(self.tried)
        if isinstance(chosen, Endpoint):
            self.tried.add(chosen.name)
            limit_s = max(0.001, min(attempt_s, self.left_s))
            self.pending.add(self._launcher.start(chosen, self._method, self._params, limit_s))
            return 0.0
        return None if chosen is None else max(0.001, chosen - self._launcher.clock())

    async def pause(self, wait_s: float) -> None:
        """Wait as `launch` said; see `Launcher.pause`."""
        await self._launcher.pause(wait_s)

    def told(self) -> list[Outcome]:
        """What came of all of them when no more is waited for: who has not answered counts as lost."""
        silent = Outcome(Kind.LOST, "", found="no answer in time")
        return [*self.outcomes, *(silent for _ in self.pending)]

    def limited(self, wait_s: float) -> list[Outcome]:
        """What came of all of them when the limits allow no more in time."""
        found = "its limit is reached"
        return [*self.told(), Outcome(Kind.LIMITED, "", found=found, retry_after_s=wait_s)]

    async def ended(self, within_s: float | None) -> list[Outcome]:
        """The attempts that have ended since; empty when none does in time."""
        limit = self.left_s if within_s is None else min(within_s, self.left_s)
        done, self.pending = await asyncio.wait(
            self.pending, timeout=max(0.0, limit), return_when=asyncio.FIRST_COMPLETED
        )
        found = [task.result() for task in done]
        self.outcomes.extend(found)
        return found
