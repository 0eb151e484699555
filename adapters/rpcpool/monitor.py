"""Asks every endpoint for its slot, every 30 s and at once at the start, and judges them together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from adapters.rpcpool.choosing import Chooser
from adapters.rpcpool.endpoint import Endpoint
from adapters.rpcpool.outcome import Kind, Outcome
from adapters.rpcpool.slots import Verdict, judge
from adapters.rpcpool.transport import Transport

_PARAMS: Final = b'[{"commitment":"processed"}]'

_log: structlog.stdlib.BoundLogger = structlog.get_logger("rpcpool")


class Monitor:
    """Keeps the endpoints' health up to date.

    Args:
        every_s: between two rounds.
        timeout_s: the longest an endpoint may take: getSlot costs a node nothing.
        max_lag_slots: how far an endpoint may be from the majority.
        wall_clock: seconds since the epoch, for people.

    Attributes:
        head: the majority's newest slot as of the last round; None before, or without a majority.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        transport: Transport,
        chooser: Chooser,
        *,
        every_s: float,
        timeout_s: float,
        max_lag_slots: int,
        wall_clock: Callable[[], float],
    ) -> None:
        self._endpoints = endpoints
        self._transport = transport
        self._chooser = chooser
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._max_lag_slots = max_lag_slots
        self._wall_clock = wall_clock
        self._judged_at = transport.now()
        self.head: int | None = None

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._every_s)

    async def check(self) -> Verdict:
        """Ask all endpoints at once and take the verdict in."""
        outcomes = await asyncio.gather(*(self._ask(one) for one in self._endpoints))
        before = {one.name: one.health.slot for one in self._endpoints if one.health.slot is not None}
        reports: dict[str, int] = {}
        for endpoint, outcome in zip(self._endpoints, outcomes, strict=True):
            slot = _slot(outcome)
            self._note(endpoint, outcome, slot)
            if slot is not None:
                reports[endpoint.name] = slot
        now = self._transport.now()
        verdict = judge(reports, before, self._max_lag_slots, now - self._judged_at)
        self._judged_at = now
        self.head = verdict.head
        for endpoint in self._endpoints:
            if endpoint.name in reports:
                self._judge(endpoint, reports[endpoint.name], verdict)
        self._chooser.forget()
        return verdict

    async def _ask(self, endpoint: Endpoint) -> Outcome | None:
        """Ask one, in its turn when its limit is busy; one that asked to be left alone keeps its standing."""
        wait_s = endpoint.bucket.ready_at(self._transport.now()) - self._transport.now()
        if wait_s > self._timeout_s:
            return None
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        began = self._transport.begin(endpoint)
        return await self._transport.call(endpoint, began, "getSlot", _PARAMS, self._timeout_s)

    def _note(self, endpoint: Endpoint, outcome: Outcome | None, slot: int | None) -> None:
        if outcome is None or outcome.kind is Kind.LIMITED:
            return
        health = endpoint.health
        ok = slot is not None
        if ok:
            health.recovered() if health.checked is False else health.age()
        if not ok and health.checked is not False:
            _log.warning("endpoint is not well", endpoint=endpoint.name, found=outcome.found or outcome.code)
        health.checked = ok
        health.checked_at = self._wall_clock()

    def _judge(self, endpoint: Endpoint, slot: int, verdict: Verdict) -> None:
        standing = verdict.standings[endpoint.name]
        if standing is not endpoint.health.standing:
            _log.warning("endpoint's slot", endpoint=endpoint.name, standing=standing, slot=slot)
        endpoint.health.slot = slot
        endpoint.health.stand(standing)


def _slot(outcome: Outcome | None) -> int | None:
    if outcome is None or outcome.result is None:
        return None
    try:
        slot = msgspec.json.decode(outcome.result, type=int)
    except msgspec.DecodeError:
        return None
    return slot if 0 <= slot < 2**63 else None
