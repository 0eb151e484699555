"""`trades` and `trade`: every order from intent to result, and why it was placed."""

from __future__ import annotations

from typing import Any, Final, Self
from uuid import UUID

import strawberry

from api.graphql import cursors
from api.graphql.common import After, First, Leg, MinPosition, PageInfo, big
from api.graphql.context import Info
from api.graphql.events import Event
from api.graphql.opportunities import Opportunity
from api.graphql.scalars import BigInt, Lamports, Time
from domain.errors import InvalidInput
from projections import opportunities, trade_history
from projections.stories import story
from projections.trade_history import TradeStatus

_CURSOR: Final = "trades"

strawberry.enum(
    TradeStatus,
    description="Where an order stands. LANDED, FAILED and ABANDONED are ends; EXPIRED may be signed again.",
)


@strawberry.input(description="Which trades; what is left out restricts nothing.")
class TradeFilter:
    """Which trades."""

    status: TradeStatus | None = None
    strategy: str | None = strawberry.field(default=None, description="The strategy's name.")
    wallet: str | None = strawberry.field(default=None, description="The wallet's address.")
    since: Time | None = strawberry.field(default=None, description="Placed at or after this moment.")
    until: Time | None = strawberry.field(default=None, description="Placed before this moment.")

    def to_query(self) -> trade_history.TradeFilter:
        """As the read model asks for it."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput("`since` is not before `until`: no trade can be in between")
        return trade_history.TradeFilter(self.status, self.strategy, self.wallet, self.since, self.until)


@strawberry.type(description="What one leg traded on chain, base units of its mints.")
class Fill:
    """What one leg traded."""

    leg: int
    pool: str
    mint_in: str
    mint_out: str
    amount_in: BigInt
    amount_out: BigInt

    @classmethod
    def of(cls, fill: trade_history.Fill) -> Self:
        """From the read model."""
        return cls(
            leg=fill.leg,
            pool=fill.pool,
            mint_in=fill.mint_in,
            mint_out=fill.mint_out,
            amount_in=BigInt(fill.amount_in),
            amount_out=BigInt(fill.amount_out),
        )


@strawberry.type(description="One order's whole life, both legs in one transaction.")
class Trade:
    """One order."""

    id: strawberry.ID
    opportunity_id: strawberry.ID
    strategy: str
    wallet: str
    status: TradeStatus
    legs: list[Leg] = strawberry.field(description="As intended.")
    fills: list[Fill] = strawberry.field(description="As traded.")
    attempts: int = strawberry.field(description="Transactions signed; a new one only after proven expiry.")
    sends: int = strawberry.field(description="Times the bytes went out.")
    signature: str | None = strawberry.field(description="Of the newest attempt: its id on chain.")
    slot: BigInt | None
    fee_lamports: Lamports | None
    tip_lamports: Lamports
    expected_profit_lamports: Lamports
    realised_profit_lamports: Lamports | None = strawberry.field(
        description="What the booked transaction changed in the wallet's lamports, fee and tip included."
    )
    placed_at: Time
    signed_at: Time | None
    submitted_at: Time | None
    observed_at: Time | None
    landed_at: Time | None
    closed_at: Time | None
    detect_to_land_us: BigInt | None = strawberry.field(
        description="Microseconds from the market event to the first sight of the transaction on chain."
    )
    error: str | None
    placed_position: BigInt
    updated_position: BigInt
    correlation_id: str

    @classmethod
    def of(cls, trade: trade_history.Trade) -> Self:
        """From the read model."""
        return cls(**_identity(trade), **_result(trade), **_times(trade))


def _identity(trade: trade_history.Trade) -> dict[str, Any]:
    return {
        "id": strawberry.ID(trade.order_id),
        "opportunity_id": strawberry.ID(trade.opportunity_id),
        "strategy": trade.strategy,
        "wallet": trade.wallet,
        "status": trade.status,
        "legs": [Leg.of(leg) for leg in trade.legs],
        "fills": [Fill.of(fill) for fill in trade.fills],
        "placed_position": trade.placed_position,
        "updated_position": trade.updated_position,
        "correlation_id": trade.correlation_id,
    }


def _result(trade: trade_history.Trade) -> dict[str, Any]:
    return {
        "attempts": trade.attempts,
        "sends": trade.sends,
        "signature": trade.signature,
        "slot": big(trade.slot),
        "fee_lamports": trade.fee_lamports,
        "tip_lamports": trade.tip_lamports,
        "expected_profit_lamports": trade.expected_profit_lamports,
        "realised_profit_lamports": trade.realised_profit_lamports,
        "error": trade.error,
    }


def _times(trade: trade_history.Trade) -> dict[str, Any]:
    return {
        "placed_at": trade.placed_at,
        "signed_at": trade.signed_at,
        "submitted_at": trade.submitted_at,
        "observed_at": trade.observed_at,
        "landed_at": trade.landed_at,
        "closed_at": trade.closed_at,
        "detect_to_land_us": big(trade.detect_to_land_us),
    }


@strawberry.type(description="Why a trade was placed.")
class TradeCause:
    """Why a trade was placed."""

    opportunity: Opportunity | None = strawberry.field(description="What it came from.")
    events: list[Event] = strawberry.field(
        description="Its whole story in log order, from the market event to the settled books."
    )


async def cause(root: strawberry.Parent[Trade], info: Info) -> TradeCause:
    """The causality walk: what the trade came from, and every event of its story."""
    services = info.context.services
    told, _ = await story(services.reads, services.log, UUID(root.correlation_id))
    found = await opportunities.opportunity(services.reads, root.opportunity_id)
    return TradeCause(
        opportunity=None if found is None else Opportunity.of(found),
        events=[Event.of(event) for event in told],
    )


@strawberry.type(description="One order's whole life, and why.")
class TradeDetails(Trade):
    """One order with its cause; only asked for one by one, since a story is read from the log."""

    as_of_position: BigInt = strawberry.field(description="The log position this answer reflects.")

    cause: TradeCause = strawberry.field(resolver=cause, description="Why it was placed.")


@strawberry.type
class TradeEdge:
    """A trade and the cursor behind it."""

    cursor: str
    node: Trade


@strawberry.type(description="Trades, newest first.")
class TradeConnection:
    """A page of trades."""

    edges: list[TradeEdge]
    nodes: list[Trade]
    page_info: PageInfo
    as_of_position: BigInt = strawberry.field(description="The log position this answer reflects.")


async def trades(
    info: Info,
    filter: TradeFilter | None = None,  # noqa: A002 - the argument's name in the schema
    first: First = 50,
    after: After = None,
    min_position: MinPosition = None,
) -> TradeConnection:
    """The newest trades that pass the filter, one page at a time."""
    first = info.context.budget.spend(first)
    behind = None if after is None else trade_history.TradeCursor(*cursors.decode(_CURSOR, after, 2))
    which = (filter or TradeFilter()).to_query()
    await info.context.wait_for(trade_history.NAME, min_position)
    page = await trade_history.trades(info.context.services.reads, which, first=first, after=behind)
    edges = [
        TradeEdge(
            cursor=cursors.encode(_CURSOR, trade.placed_at, trade.placed_position), node=Trade.of(trade)
        )
        for trade in page.items
    ]
    return TradeConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(has_next_page=page.has_more, end_cursor=edges[-1].cursor if edges else None),
        as_of_position=BigInt(page.position),
    )


async def trade(info: Info, id: strawberry.ID, min_position: MinPosition = None) -> TradeDetails | None:  # noqa: A002 - the argument's name in the schema
    """One trade by its order's id; none when no such order is known at `minPosition`."""
    order_id = _order_id(id)
    await info.context.wait_for(trade_history.NAME, min_position)
    found, position = await trade_history.trade(info.context.services.reads, order_id)
    if found is None:
        return None
    known = {**_identity(found), **_result(found), **_times(found)}
    return TradeDetails(**known, as_of_position=BigInt(position))


def _order_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidInput(
            f"`id` is {text[:80]!r}, which is no order's id: one looks like "
            "6f0d4c2e-5a53-5d0a-9f55-3d5f8e2a7b11"
        ) from None
