"""The opportunity: a finding on record, taken by an order or declined; and when it is too old to take."""

from __future__ import annotations

from typing import Final

from eventsourcing.domain import BaseAggregate

from domain.chain import Slot
from domain.errors import InvariantBroken
from domain.events import AggregateEvent, derived_id, to_datetime
from domain.market.events import PoolUpdated
from domain.refusal import Refusal
from domain.strategies.arbitrage import Finding
from domain.trading.events import OpportunityDeclined, OpportunityFound

LIFETIME_US: Final = 5_000_000
"""Five seconds from detection to landed is the worst we allow; a finding that old is not worth starting."""


def opportunity_stream(strategy: str, pools: tuple[PoolUpdated, ...]) -> str:
    """The stream of what `strategy` finds in these pool states: found twice, it is the same opportunity."""
    states = (f"{p.pool}@{p.slot}:{p.reserve_a}/{p.reserve_b}" for p in pools)
    return f"opportunity-{derived_id('opportunity', strategy, *states)}"


def staleness(
    found: OpportunityFound, *, age_us: int, newest_slot: Slot, max_age_slots: int
) -> Refusal | None:
    """Why a finding is too old to act on, by the clock or by slots; none when it is fresh."""
    if age_us > LIFETIME_US:
        return Refusal("stale", f"found {age_us} us ago, more than {LIFETIME_US} us")
    behind = newest_slot - found.slot
    if behind > max_age_slots:
        return Refusal(
            "stale", f"decided on slot {found.slot}, {behind} slots ago, more than {max_age_slots}"
        )
    return None


class Opportunity(BaseAggregate[str]):
    """A finding.

    Attributes:
        found: the facts.
        declined: why it was not taken; none while nobody said no.
    """

    TOPIC = "opportunity"
    Event = AggregateEvent
    Found = OpportunityFound
    Declined = OpportunityDeclined

    def __init__(self) -> None:
        self.found: OpportunityFound
        self.declined: str | None

    @classmethod
    def record(cls, finding: Finding, *, strategy: str, wallet: str, seen_at: int, at: int) -> Opportunity:
        """Put a finding on record; `seen_at` is when the newest state it rests on was recorded."""
        return cls._create(
            OpportunityFound,
            id=opportunity_stream(strategy, finding.pools),
            timestamp=to_datetime(at),
            strategy=strategy,
            wallet=wallet,
            legs=finding.legs,
            costs=finding.costs,
            expected_profit_lamports=finding.expected_profit_lamports,
            slot=max(pool.slot for pool in finding.pools),
            seen_at=seen_at,
        )

    def decline(self, refusal: Refusal, at: int) -> None:
        """Put on record that it will not be taken.

        Raises:
            InvariantBroken: it was declined before.
        """
        if self.declined is not None:
            raise InvariantBroken(f"{self.id} was declined before ({self.declined})")
        self.trigger_event(
            OpportunityDeclined, timestamp=to_datetime(at), reason=refusal.reason, found=refusal.found
        )

    def evolve(self, event: AggregateEvent) -> None:
        """Fold one event."""
        match event:
            case OpportunityFound():
                self.found, self.declined = event, None
            case OpportunityDeclined():
                self.declined = event.reason
            case _:
                pass  # an event type of a later release says nothing to this one
