"""`opportunities`: what was seen to be worth doing, and what became of it."""

from __future__ import annotations

from typing import Final, Self

import strawberry

from api.graphql import cursors
from api.graphql.common import After, First, Leg, MinPosition, PageInfo
from api.graphql.context import Info
from api.graphql.scalars import BigInt, Lamports, Time
from projections import opportunities as read_model
from projections.opportunities import OpportunityStatus

_CURSOR: Final = "opportunities"

strawberry.enum(
    OpportunityStatus, description="Where an opportunity stands: found, then declined or ordered."
)


@strawberry.type(description="A cycle that was worth more than it costs when it was seen.")
class Opportunity:
    """One opportunity."""

    id: strawberry.ID
    strategy: str
    wallet: str
    status: OpportunityStatus
    legs: list[Leg]
    cost_lamports: Lamports = strawberry.field(description="Fees and tip that the chain would take.")
    expected_profit_lamports: Lamports = strawberry.field(description="Output less input less costs.")
    slot: BigInt
    found_at: Time
    position: BigInt = strawberry.field(description="Of the event that found it.")
    decline_reason: str | None = strawberry.field(description="A short stable word, e.g. `stale`.")
    decline_detail: str | None
    order_id: strawberry.ID | None
    correlation_id: str

    @classmethod
    def of(cls, found: read_model.Opportunity) -> Self:
        """From the read model."""
        return cls(
            id=strawberry.ID(found.opportunity_id),
            strategy=found.strategy,
            wallet=found.wallet,
            status=found.status,
            legs=[Leg.of(leg) for leg in found.legs],
            cost_lamports=Lamports(found.cost_lamports),
            expected_profit_lamports=Lamports(found.expected_profit_lamports),
            slot=BigInt(found.slot),
            found_at=Time(found.found_at),
            position=BigInt(found.position),
            decline_reason=found.reason,
            decline_detail=found.found,
            order_id=None if found.order_id is None else strawberry.ID(found.order_id),
            correlation_id=found.correlation_id,
        )


@strawberry.type
class OpportunityEdge:
    """An opportunity and the cursor behind it."""

    cursor: str
    node: Opportunity


@strawberry.type(description="Opportunities, newest first.")
class OpportunityConnection:
    """A page of opportunities."""

    edges: list[OpportunityEdge]
    nodes: list[Opportunity]
    page_info: PageInfo
    as_of_position: BigInt = strawberry.field(description="The log position this answer reflects.")


async def opportunities(
    info: Info,
    status: OpportunityStatus | None = None,
    first: First = 50,
    after: After = None,
    min_position: MinPosition = None,
) -> OpportunityConnection:
    """The newest opportunities, one page at a time."""
    first = info.context.budget.spend(first)
    behind = None if after is None else cursors.decode(_CURSOR, after, 1)[0]
    await info.context.wait_for(read_model.NAME, min_position)
    page = await read_model.opportunities(
        info.context.services.reads, status=status, first=first, after=behind
    )
    edges = [
        OpportunityEdge(cursor=cursors.encode(_CURSOR, found.position), node=Opportunity.of(found))
        for found in page.items
    ]
    return OpportunityConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(has_next_page=page.has_more, end_cursor=edges[-1].cursor if edges else None),
        as_of_position=BigInt(page.position),
    )
