"""From the log to opportunities: fold what is known, and ask the decider once for each batch of news.

History is folded without deciding, and so is a batch that came full, since more follows it. What is found is
appended under an id that follows from the pool states: found twice, it is one.
"""

from __future__ import annotations

from typing import Final

import structlog

from commands.aggregates import decisions
from commands.ports import Clock, EventLog
from domain.errors import ConcurrencyError, LogUnavailable
from domain.events import derived_id
from domain.strategies.arbitrage import Finding
from domain.strategies.outlook import MARKET_TOPICS, TRADING_TOPICS, Outlook
from domain.strategies.strategy import Strategy
from domain.trading.opportunity import Opportunity

BATCH: Final = 500
"""Events folded between two decisions at most."""

MARKET_WINDOW: Final = 20_000
"""Positions of market history read at the start; pools not seen in it are waited for."""

_log = structlog.get_logger(__name__)


class Planner:
    """Asks the decider of every running strategy. One for each log; run by `daybook run`.

    Args:
        log: read and appended to.
        clock: stamps the findings.
    """

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._outlook = Outlook()

    async def run(self) -> None:
        """Plan until cancelled."""
        head = await self._log.head()
        await self._catch_up(0, head, TRADING_TOPICS)
        await self._catch_up(max(0, head - MARKET_WINDOW), head, MARKET_TOPICS)
        topics = MARKET_TOPICS | TRADING_TOPICS
        async for batch in self._log.follow(head, topics=topics, limit=BATCH):
            for recorded in batch:
                self._outlook.fold(recorded)
            if len(batch) < BATCH:
                await self._plan()

    async def _catch_up(self, after: int, through: int, topics: frozenset[str]) -> None:
        while page := await self._log.read(after, BATCH, through=through, topics=topics):  # ends at the head
            for recorded in page:
                self._outlook.fold(recorded)
            after = page[-1].position

    async def _plan(self) -> None:
        for strategy in self._outlook.running():
            finding = self._outlook.find(strategy)
            if finding is not None:
                await self._record(strategy, finding)

    async def _record(self, strategy: Strategy, finding: Finding) -> None:
        trigger = self._outlook.trigger_of(finding)
        now = self._clock()
        opportunity = Opportunity.record(
            finding, strategy=strategy.id, wallet=strategy.wallet, seen_at=trigger.recorded_at, at=now
        )
        found = opportunity.found
        appends = decisions(opportunity, trigger.leads_to("planner"), now, found.slot)
        try:
            await self._log.append(appends, append_id=derived_id("planner", opportunity.id))
        except ConcurrencyError:
            _log.info("the opportunity is on record already", opportunity=opportunity.id)
        except (
            LogUnavailable
        ) as error:  # by the time the log is back it is stale; the next state is asked anew
            _log.warning("the log is away; an opportunity passes", error=str(error))
            return
        self._outlook.flights.fold(found)
