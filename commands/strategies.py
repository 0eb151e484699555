"""Starting, reconfiguring, stopping and resuming a strategy: a configuration that decides is an event."""

from __future__ import annotations

from typing import Final

from commands.aggregates import Aggregates, content_id, decisions, fold
from commands.ports import Clock, EventLog
from domain.events import Cause, derived_id
from domain.refusal import Refusal
from domain.strategies.events import ArbitrageParameters, RiskLimits, StrategyStarted
from domain.strategies.strategy import Strategy, strategy_stream

ACTOR: Final = "operator"

STOPPED: Final = "strategy_stopped"
FOREIGN: Final = "strategy_of_another_wallet"

MOST: Final = 1_000
"""Strategies listed at once; people run a handful."""


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
    ) -> Refusal | None:
        """Start a strategy for a wallet (its stream); one that runs is reconfigured where it differs.

        A stopped one stays stopped: only `resume`, which a person asks for, lets it trade again.

        Returns:
            Why it does not trade: it was stopped, or it is another wallet's; none when it does.

        Raises:
            InvalidInput: figures that cannot be meant.
            ConcurrencyError: somebody else configured it at the same moment.
        """
        if await fold(self._log, strategy_stream(name)) is not None:
            return await self._reconfigure(name, wallet, parameters, limits)
        now = self._clock()
        strategy = Strategy.start(name, wallet=wallet, parameters=parameters, limits=limits, at=now)
        await self._record(strategy, "start", now)
        return None

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

    async def resume(self, name: str, reason: str = "user") -> bool:
        """Let a stopped strategy take opportunities again, its losses counted anew; false when it runs.

        Raises:
            InvalidInput: there is no such strategy.
            ConcurrencyError: somebody else configured it at the same moment.
        """
        async with self._aggregates.hold(Strategy, strategy_stream(name)) as strategy:
            was_stopped, now = not strategy.is_running, self._clock()
            strategy.resume(reason, now)
            await self._record(strategy, "resume", now)
        return was_stopped

    async def every(self) -> list[Strategy]:
        """All strategies, in the order they were first started (at most `MOST`)."""
        started = await self._log.read(0, MOST, topics={StrategyStarted.TOPIC})
        found = [await fold(self._log, recorded.stream) for recorded in started]
        return [strategy for strategy in found if isinstance(strategy, Strategy)]

    async def _reconfigure(
        self, name: str, wallet: str, parameters: ArbitrageParameters, limits: RiskLimits
    ) -> Refusal | None:
        async with self._aggregates.hold(Strategy, strategy_stream(name)) as strategy:
            if not strategy.is_running:
                return Refusal(STOPPED, f"strategy {name!r} was stopped: {strategy.stopped}")
            if strategy.wallet != wallet:
                return Refusal(FOREIGN, f"strategy {name!r} trades for {strategy.wallet}, not for {wallet}")
            now = self._clock()
            strategy.reconfigure(parameters, limits, now)
            await self._record(strategy, "reconfigure", now)
        return None

    async def _record(self, strategy: Strategy, deed: str, now: int) -> None:
        cause = Cause(derived_id("command", deed, strategy.id, strategy.version), None, ACTOR)
        for append in decisions(strategy, cause, now):
            await self._log.append([append], append_id=content_id(append))
