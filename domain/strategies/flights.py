"""Opportunities under way: which pools must not be used again before the former trade shows in them.

Two orders on one pool state cannot both get its profit; the second would only pay a fee. So a pool that an
open opportunity uses is left alone until that trade was seen in slot S and the pool was read at S or later,
or until the opportunity came to nothing. This is thrift, not safety: the legs' least outputs guard the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain.chain import Address, Slot
from domain.market.pools import PoolBook
from domain.trading.events import (
    OpportunityDeclined,
    OpportunityFound,
    OrderAbandoned,
    OrderFailed,
    OrderLanded,
    OrderObserved,
    OrderPlaced,
    OrderRolledBack,
    OrderSubmitted,
)
from domain.trading.order import REFUSED


@dataclass(slots=True)
class _Flight:
    pools: tuple[Address, ...]
    found_slot: Slot
    seen_slot: Slot | None = None


class Flights:
    """Open opportunities and the pools they use, folded from the log."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}
        self._opportunity_of: dict[str, str] = {}

    def fold(self, event: Any) -> None:  # noqa: ANN401 - any event of the log; most say nothing here
        """Take one event in; the same event twice is harmless."""
        match event:
            case OpportunityFound():
                pools = tuple(leg.pool for leg in event.legs)
                self._flights.setdefault(event.originator_id, _Flight(pools, event.slot))
            case OrderPlaced():
                self._opportunity_of[event.originator_id] = event.opportunity
            case OpportunityDeclined():
                self._flights.pop(event.originator_id, None)
            case OrderSubmitted() if event.answer.startswith(REFUSED):
                self._end(event.originator_id)
            case OrderObserved() if event.error is None:
                self._seen(event.originator_id, event.slot)
            case OrderRolledBack():
                self._seen(event.originator_id, None)
            case OrderLanded():
                self._seen(event.originator_id, event.slot)
                self._opportunity_of.pop(event.originator_id, None)
            case OrderObserved() | OrderFailed() | OrderAbandoned():
                self._end(event.originator_id)
            case _:
                pass  # says nothing of what is under way

    def blocked_pools(self, book: PoolBook, max_age_slots: int) -> frozenset[Address]:
        """Pools to leave alone; flights older than `max_age_slots` no longer count and are dropped."""
        over = [name for name, flight in self._flights.items() if _is_over(flight, book, max_age_slots)]
        for name in over:
            del self._flights[name]
        return frozenset(pool for flight in self._flights.values() for pool in flight.pools)

    def _seen(self, order: str, slot: Slot | None) -> None:
        flight = self._flights.get(self._opportunity_of.get(order, ""))
        if flight is not None:
            flight.seen_slot = slot

    def _end(self, order: str) -> None:
        opportunity = self._opportunity_of.pop(order, None)
        self._flights.pop(opportunity or "", None)


def _is_over(flight: _Flight, book: PoolBook, max_age_slots: int) -> bool:
    if book.newest_slot - flight.found_slot > max_age_slots:
        return True
    if flight.seen_slot is None:
        return False
    states = [book.get(pool) for pool in flight.pools]
    return all(state is not None and state.slot >= flight.seen_slot for state in states)
