"""What was seen to be worth doing, and what became of it: declined with a reason, or ordered.

It counts and explains, but holds no money: an event that cannot be folded is set aside and the rest go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import to_builtins

from domain.trading.events import Costs, Leg, OpportunityDeclined, OpportunityFound, OrderPlaced
from projections.ports import Condition, FoldEvent, ReadStore, Row, Rows, Table
from projections.read_model import (
    Keys,
    Page,
    ReadModel,
    Step,
    columns,
    count,
    counters,
    known,
    name_of,
    page_of,
)

NAME: Final = "opportunities"
VERSION: Final = 1

OPPORTUNITIES: Final = "opportunities"
COUNTS: Final = "counts"

TABLES: Final = (
    Table(
        OPPORTUNITIES,
        columns(
            opportunity_id="text",
            strategy="text",
            wallet="text",
            status="text",
            legs="json",
            cost_lamports="numeric",
            expected_profit_lamports="numeric",
            slot="bigint",
            found_at="bigint",
            position="bigint",
            updated_position="bigint",
            reason="text?",
            found="text?",
            order_id="text?",
            correlation_id="text",
        ),
        key=("opportunity_id",),
        indexes=(("position",), ("status", "position")),
    ),
    counters(COUNTS),
)


class OpportunityStatus(StrEnum):
    """Where an opportunity stands."""

    FOUND = "found"
    DECLINED = "declined"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Opportunity:
    """One opportunity.

    Attributes:
        opportunity_id: its stream's name behind `opportunity-`.
        strategy: the strategy's name.
        wallet: the address it would trade for.
        status: found, declined or ordered.
        legs: the cycle, first to last.
        cost_lamports: fees and tip the chain would take.
        expected_profit_lamports: output less input less costs.
        slot: the newest slot it was decided on.
        found_at: microseconds since the epoch.
        position: of the event that found it.
        updated_position: of the last event that touched it.
        reason, found: why it was declined, in a word and in words.
        order_id: the order it became.
        correlation_id: of its story.
    """

    opportunity_id: str
    strategy: str
    wallet: str
    status: OpportunityStatus
    legs: tuple[Leg, ...]
    cost_lamports: int
    expected_profit_lamports: int
    slot: int
    found_at: int
    position: int
    updated_position: int
    reason: str | None
    found: str | None
    order_id: str | None
    correlation_id: str


async def opportunities(
    store: ReadStore, *, status: OpportunityStatus | None = None, first: int = 50, after: int | None = None
) -> Page[Opportunity]:
    """The newest `first` opportunities, those behind position `after` where it is given."""
    where = [Condition("status", "=", status.value)] if status is not None else []
    found = await store.select(
        READ_MODEL,
        OPPORTUNITIES,
        where=where,
        order_by=[("position", True)],
        limit=first + 1,
        after=None if after is None else {"position": after},
    )
    return page_of([_opportunity(row) for row in found.rows], first, found.position)


async def opportunity(store: ReadStore, opportunity_id: str) -> Opportunity | None:
    """One opportunity; none when the read model does not know it (yet)."""
    where = [Condition("opportunity_id", "=", opportunity_id)]
    found = await store.select(READ_MODEL, OPPORTUNITIES, where=where, limit=1)
    return _opportunity(found.rows[0]) if found.rows else None


async def opportunity_counts(store: ReadStore) -> dict[str, int]:
    """How many opportunities stand at each status."""
    found = await store.select(READ_MODEL, COUNTS, where=[Condition("kind", "=", "status")])
    return {row["name"]: row["value"] for row in found.rows}


def _opportunity(row: Row) -> Opportunity:
    typed = {
        "status": OpportunityStatus(row["status"]),
        "legs": tuple(Leg(**leg) for leg in row["legs"]),
    }
    return Opportunity(**{**row, **typed})


# --- the fold ------------------------------------------------------------------------------------


def _own_keys(event: FoldEvent) -> Keys:
    return ((OPPORTUNITIES, (name_of(event.stream),)), (COUNTS, ("status",)))


def _new_keys(_event: FoldEvent) -> Keys:
    return ((COUNTS, ("status",)),)


def _order_keys(event: FoldEvent) -> Keys:
    return ((OPPORTUNITIES, (name_of(event.event.opportunity),)), (COUNTS, ("status",)))


def _found(rows: Rows, event: FoldEvent) -> None:
    facts: OpportunityFound = event.event
    opportunity_id = name_of(event.stream)
    count(rows, COUNTS, ("status", OpportunityStatus.FOUND.value), 1)
    rows.put(
        OPPORTUNITIES,
        (opportunity_id,),
        {
            "opportunity_id": opportunity_id,
            "strategy": name_of(facts.strategy),
            "wallet": name_of(facts.wallet),
            "status": OpportunityStatus.FOUND.value,
            "legs": to_builtins(facts.legs),
            "cost_lamports": _total(facts.costs),
            "expected_profit_lamports": facts.expected_profit_lamports,
            "slot": facts.slot,
            "found_at": event.recorded_at,
            "position": event.position,
            "updated_position": event.position,
            "reason": None,
            "found": None,
            "order_id": None,
            "correlation_id": str(event.cause.correlation_id),
        },
    )


def _total(costs: Costs) -> int:
    """Summed here: a lean event carries the figures, not the methods of their class."""
    return costs.base_fee_lamports + costs.priority_fee_lamports + costs.tip_lamports


def _declined(rows: Rows, event: FoldEvent) -> None:
    facts: OpportunityDeclined = event.event
    change = {"reason": facts.reason, "found": facts.found}
    _become(rows, event, name_of(event.stream), OpportunityStatus.DECLINED, change)


def _ordered(rows: Rows, event: FoldEvent) -> None:
    facts: OrderPlaced = event.event
    change = {"order_id": name_of(event.stream)}
    _become(rows, event, name_of(facts.opportunity), OpportunityStatus.ORDERED, change)


def _become(
    rows: Rows, event: FoldEvent, opportunity_id: str, status: OpportunityStatus, change: Row
) -> None:
    row = known(rows, OPPORTUNITIES, (opportunity_id,), event)
    count(rows, COUNTS, ("status", row["status"]), -1)
    count(rows, COUNTS, ("status", status.value), 1)
    changed = {**row, **change, "status": status.value, "updated_position": event.position}
    rows.put(OPPORTUNITIES, (opportunity_id,), changed)


READ_MODEL: Final = ReadModel(
    NAME,
    VERSION,
    TABLES,
    {
        "opportunity.found": Step(
            _new_keys, _found, makes=lambda event: ((OPPORTUNITIES, (name_of(event.stream),)),)
        ),
        "opportunity.declined": Step(_own_keys, _declined),
        "order.placed": Step(_order_keys, _ordered),
    },
    halts_on_poison=False,
)
