"""A strategy's life: started with its parameters and limits, stopped, resumed. Stream `strategy-<name>`.

A configuration that influences a decision is an event: otherwise the decision could not be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.chain import Mint
from domain.events import AggregateEvent, CreatedEvent, event_type
from domain.money import Lamports


@dataclass(frozen=True, slots=True)
class ArbitrageParameters:
    """What the arbitrage planner may look for.

    Attributes:
        mint: the token a cycle starts and ends in.
        min_profit_lamports: least profit after every fee and the tip.
        max_input: largest input of one cycle, base units of `mint`.
        compute_unit_limit: of one transaction.
        compute_unit_price_micro_lamports: priority fee per compute unit.
        tip_lamports: paid inside the same transaction.
        max_quote_age_slots: an opportunity decided on a slot this far behind the newest is stale.
    """

    mint: Mint
    min_profit_lamports: Lamports
    max_input: int
    compute_unit_limit: int
    compute_unit_price_micro_lamports: int
    tip_lamports: Lamports
    max_quote_age_slots: int


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What the coordinator may allow.

    Attributes:
        max_order_input: largest input of one order, base units of the strategy's mint.
        max_open_orders: orders of the strategy not yet closed.
        max_loss_lamports: realised loss since the start, or since the last resumption, at which the strategy
            may trade no more.
    """

    max_order_input: int
    max_open_orders: int
    max_loss_lamports: Lamports


@event_type("strategy.started")
@dataclass(frozen=True, kw_only=True)
class StrategyStarted(CreatedEvent):
    """The user started a strategy for a wallet.

    Attributes:
        kind: the decider, e.g. `arbitrage`.
        wallet: the wallet's stream, e.g. `wallet-<address>`.
        parameters: what it may look for.
        limits: what it may be allowed.
    """

    kind: str
    wallet: str
    parameters: ArbitrageParameters
    limits: RiskLimits


@event_type("strategy.reconfigured")
@dataclass(frozen=True, kw_only=True)
class StrategyReconfigured(AggregateEvent):
    """The user changed what the strategy may do; decisions from here on follow these."""

    parameters: ArbitrageParameters
    limits: RiskLimits


@event_type("strategy.stopped")
@dataclass(frozen=True, kw_only=True)
class StrategyStopped(AggregateEvent):
    """The strategy takes no more opportunities; open orders run to their end.

    Attributes:
        reason: `user`, or the limit that tripped.
    """

    reason: str


@event_type("strategy.resumed")
@dataclass(frozen=True, kw_only=True)
class StrategyResumed(AggregateEvent):
    """A person let the stopped strategy take opportunities again; its losses are counted anew from here.

    Attributes:
        reason: why, in the person's words; `user` when none were given.
    """

    reason: str
