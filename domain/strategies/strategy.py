"""The strategy: started for a wallet, with parameters and limits; reconfigured, stopped, resumed."""

from __future__ import annotations

from eventsourcing.domain import BaseAggregate

from domain.chain import WSOL
from domain.errors import InvalidInput, InvariantBroken
from domain.events import AggregateEvent, to_datetime
from domain.strategies.events import (
    ArbitrageParameters,
    RiskLimits,
    StrategyReconfigured,
    StrategyResumed,
    StrategyStarted,
    StrategyStopped,
)

ARBITRAGE = "arbitrage"


def strategy_stream(name: str) -> str:
    """The stream of a strategy."""
    return f"strategy-{name}"


class Strategy(BaseAggregate[str]):
    """What a user allows the planner to look for and the coordinator to take.

    Attributes:
        kind: the decider.
        wallet: the wallet's stream.
        parameters, limits: as last configured.
        stopped: why it was stopped; none while it runs.
    """

    TOPIC = "strategy"
    Event = AggregateEvent
    Started = StrategyStarted
    Reconfigured = StrategyReconfigured
    Stopped = StrategyStopped
    Resumed = StrategyResumed

    def __init__(self) -> None:
        self.kind: str
        self.wallet: str
        self.parameters: ArbitrageParameters
        self.limits: RiskLimits
        self.stopped: str | None

    @classmethod
    def start(
        cls, name: str, *, wallet: str, parameters: ArbitrageParameters, limits: RiskLimits, at: int
    ) -> Strategy:
        """Start an arbitrage strategy.

        Raises:
            InvalidInput: parameters or limits that cannot be meant.
        """
        _check(parameters, limits)
        return cls._create(
            StrategyStarted,
            id=strategy_stream(name),
            timestamp=to_datetime(at),
            kind=ARBITRAGE,
            wallet=wallet,
            parameters=parameters,
            limits=limits,
        )

    @property
    def is_running(self) -> bool:
        """Whether it takes opportunities."""
        return self.stopped is None

    def reconfigure(self, parameters: ArbitrageParameters, limits: RiskLimits, at: int) -> None:
        """Follow these parameters and limits from here on; nothing happens when they are the same.

        Raises:
            InvalidInput: parameters or limits that cannot be meant.
            InvariantBroken: the strategy is stopped.
        """
        if not self.is_running:
            raise InvariantBroken(
                f"{self.id} was stopped ({self.stopped}) and cannot be configured: resume it first"
            )
        _check(parameters, limits)
        if (parameters, limits) != (self.parameters, self.limits):
            self.trigger_event(
                StrategyReconfigured, timestamp=to_datetime(at), parameters=parameters, limits=limits
            )

    def stop(self, reason: str, at: int) -> None:
        """Take no more opportunities; nothing happens when it is stopped already."""
        if self.is_running:
            self.trigger_event(StrategyStopped, timestamp=to_datetime(at), reason=reason)

    def resume(self, reason: str, at: int) -> None:
        """Take opportunities again; nothing happens when it runs. Only a person decides this."""
        if not self.is_running:
            self.trigger_event(StrategyResumed, timestamp=to_datetime(at), reason=reason)

    def evolve(self, event: AggregateEvent) -> None:
        """Fold one event."""
        match event:
            case StrategyStarted():
                self.kind, self.wallet, self.stopped = event.kind, event.wallet, None
                self.parameters, self.limits = event.parameters, event.limits
            case StrategyReconfigured():
                self.parameters, self.limits = event.parameters, event.limits
            case StrategyStopped():
                self.stopped = event.reason
            case StrategyResumed():
                self.stopped = None
            case _:
                pass  # an event type of a later release says nothing to this one


def _check(parameters: ArbitrageParameters, limits: RiskLimits) -> None:
    if parameters.mint != WSOL:
        raise InvalidInput(
            f"a cycle in {parameters.mint} was asked for: profit is counted in lamports, so cycles start "
            f"and end in wrapped SOL ({WSOL})"
        )
    positive = {
        "max_input": parameters.max_input,
        "compute_unit_limit": parameters.compute_unit_limit,
        "max_order_input": limits.max_order_input,
        "max_open_orders": limits.max_open_orders,
    }
    not_negative = {
        "min_profit_lamports": parameters.min_profit_lamports,
        "compute_unit_price_micro_lamports": parameters.compute_unit_price_micro_lamports,
        "tip_lamports": parameters.tip_lamports,
        "max_quote_age_slots": parameters.max_quote_age_slots,
        "max_loss_lamports": limits.max_loss_lamports,
    }
    for least, figures in ((1, positive), (0, not_negative)):
        for name, figure in figures.items():
            if figure < least:
                raise InvalidInput(f"{name} is {figure}: it must be at least {least}")
