"""What a planner knows: pools, strategies, wallets and trades under way, all folded from the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from domain.chain import Address
from domain.events import AggregateEvent, RecordedEvent
from domain.market.events import MarketGap, PoolUpdated
from domain.market.pools import PoolBook
from domain.strategies.arbitrage import Finding, decide
from domain.strategies.flights import Flights
from domain.strategies.strategy import Strategy
from domain.wallets.wallet import Wallet

_Aggregate = TypeVar("_Aggregate", Strategy, Wallet)

MARKET_TOPICS: Final = frozenset({"market.pool_updated", "market.gap"})

TRADING_TOPICS: Final = frozenset(
    {
        "strategy.started",
        "strategy.reconfigured",
        "strategy.stopped",
        "strategy.resumed",
        "wallet.opened",
        "wallet.transferred",
        "wallet.funds_reserved",
        "wallet.funds_released",
        "wallet.discrepancy_found",
        "wallet.discrepancy_resolved",
        "opportunity.found",
        "opportunity.declined",
        "order.placed",
        "order.submitted",
        "order.observed",
        "order.rolled_back",
        "order.landed",
        "order.failed",
        "order.abandoned",
    }
)
"""Everything but the market that a plan depends on."""


class Outlook:
    """The state a planner decides on; the same log gives the same outlook."""

    def __init__(self) -> None:
        self.book = PoolBook()
        self.flights = Flights()
        self._strategies: dict[str, Strategy] = {}
        self._wallets: dict[str, Wallet] = {}
        self._sightings: dict[Address, RecordedEvent] = {}
        self._decided: dict[tuple[str, ...], tuple[PoolUpdated, ...]] = {}

    def fold(self, recorded: RecordedEvent) -> None:
        """Take one event in. Streams of strategies and wallets must be given from their first event on."""
        event = recorded.event
        if isinstance(event, PoolUpdated):
            if self.book.fold(event):
                self._sightings[event.pool] = recorded
        elif isinstance(event, MarketGap):
            self.book.lose_sight()
        elif recorded.topic.startswith("strategy."):
            _evolve(self._strategies, event)
        elif recorded.topic.startswith("wallet."):
            _evolve(self._wallets, event)
        else:
            self.flights.fold(event)

    def running(self) -> Iterator[Strategy]:
        """Strategies that take opportunities, in the order they were started."""
        return (strategy for strategy in self._strategies.values() if strategy.is_running)

    def find(self, strategy: Strategy) -> Finding | None:
        """What the strategy should do now; the same pool states are decided once."""
        wallet = self._wallets.get(strategy.wallet)
        if wallet is None or wallet.halted() is not None:
            return None
        parameters = strategy.parameters
        busy = self.flights.blocked_pools(self.book, parameters.max_quote_age_slots)
        finding = decide(parameters, self.book, wallet.available(parameters.mint), busy)
        if finding is None:
            return None
        key = (strategy.id, *(pool.pool for pool in finding.pools))
        if self._decided.get(key) == finding.pools:
            return None
        self._decided[key] = finding.pools
        return finding

    def trigger_of(self, finding: Finding) -> RecordedEvent:
        """The newest market event among those a finding rests on: its cause."""
        return max((self._sightings[pool.pool] for pool in finding.pools), key=lambda seen: seen.position)


def _evolve(aggregates: dict[str, _Aggregate], event: AggregateEvent) -> None:
    stream = event.originator_id
    changed = event.mutate(aggregates.get(stream))
    if changed is not None:
        aggregates[stream] = changed
