"""Starting, reconfiguring and stopping a strategy: a configuration that decides is an event."""

from __future__ import annotations

from typing import Final

from commands.aggregates import Aggregates, content_id, decisions, fold
from commands.ports import Clock, EventLog
from domain.errors import InvalidInput
from domain.events import Cause, derived_id
from domain.strategies.events import ArbitrageParameters, RiskLimits
from domain.strategies.strategy import Strategy, strategy_stream

ACTOR: Final = "operator"


class Strategies:
    """The commands on strategies.

    Args:
        log: appended to.
        aggregates: shared with the other services of the process.
        clock: stamps what is appended.
    """

    def __init__(self, log: EventLog, aggregates: Aggregates, clock: Clock) -> None:
        self._log = log
        self._aggregates = aggregates
        self._clock = clock

    async def start(
        self, name: str, *, wallet: str, parameters: ArbitrageParameters, limits: RiskLimits
    ) -> None:
        """Start a strategy for a wallet (its stream); one that runs is reconfigured where it differs.

        Raises:
            InvalidInput: figures that cannot be meant, a stopped strategy, or one of another wallet.
            ConcurrencyError: somebody else configured it at the same moment.
        """
        if await fold(self._log, strategy_stream(name)) is not None:
            await self._reconfigure(name, wallet, parameters, limits)
            return
        now = self._clock()
        strategy = Strategy.start(name, wallet=wallet, parameters=parameters, limits=limits, at=now)
        await self._record(strategy, "start", now)

    async def stop(self, name: str, reason: str = "user") -> None:
        """Take no more opportunities; open orders run to their end.

        Raises:
            InvalidInput: there is no such strategy.
            ConcurrencyError: somebody else configured it at the same moment.
        """
        async with self._aggregates.hold(Strategy, strategy_stream(name)) as strategy:
            now = self._clock()
            strategy.stop(reason, now)
            await self._record(strategy, "stop", now)

    async def _reconfigure(
        self, name: str, wallet: str, parameters: ArbitrageParameters, limits: RiskLimits
    ) -> None:
        async with self._aggregates.hold(Strategy, strategy_stream(name)) as strategy:
            if not strategy.is_running:
                raise InvalidInput(
                    f"strategy {name!r} was stopped ({strategy.stopped}) for good: start one of another name"
                )
            if strategy.wallet != wallet:
                raise InvalidInput(
                    f"strategy {name!r} trades for {strategy.wallet}, not for {wallet}: use another name"
                )
            now = self._clock()
            strategy.reconfigure(parameters, limits, now)
            await self._record(strategy, "reconfigure", now)

    async def _record(self, strategy: Strategy, deed: str, now: int) -> None:
        cause = Cause(derived_id("command", deed, strategy.id, strategy.version), None, ACTOR)
        for append in decisions(strategy, cause, now):
            await self._log.append([append], append_id=content_id(append))
