"""`pnl`: realised profit and loss by strategy, wallet and day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

import strawberry

from api.graphql.common import MinPosition
from api.graphql.context import Info
from api.graphql.scalars import BigInt, Lamports
from domain.errors import InvalidInput
from projections import pnl as read_model
from projections.pnl import Grouping

strawberry.enum(
    Grouping, name="PnlGrouping", description="One line for each UTC day, or for the whole range."
)


@strawberry.type(description="Base units of a mint that trades left behind, e.g. a few of USDC.")
class Residual:
    """What trades left behind of one mint."""

    mint: str
    amount: BigInt


@strawberry.type(description="Profit and loss of a group of orders.")
class PnlResult:
    """Profit and loss of a group of orders."""

    strategy: str | None = strawberry.field(description="None in the sum over several.")
    wallet: str | None = strawberry.field(description="None in the sum over several.")
    day: date | None = strawberry.field(description="The UTC day; none in a sum over several.")
    landed: int
    failed: int = strawberry.field(description="Refused by a program on chain; each costs its fee.")
    wins: int = strawberry.field(description="Landed orders that left the wallet richer.")
    gross_lamports: Lamports = strawberry.field(description="Before fee and tip.")
    fee_lamports: Lamports
    tip_lamports: Lamports
    realised_lamports: Lamports = strawberry.field(description="Gross less fee less tip.")
    residuals: list[Residual]

    @classmethod
    def of(cls, result: read_model.Result) -> Self:
        """From the read model."""
        return cls(
            strategy=result.strategy or None,
            wallet=result.wallet or None,
            day=date.fromisoformat(result.day) if result.day else None,
            landed=result.landed,
            failed=result.failed,
            wins=result.wins,
            gross_lamports=Lamports(result.gross_lamports),
            fee_lamports=Lamports(result.fee_lamports),
            tip_lamports=Lamports(result.tip_lamports),
            realised_lamports=Lamports(result.realised_lamports),
            residuals=[Residual(mint=m, amount=BigInt(n)) for m, n in sorted(result.residuals.items())],
        )


@strawberry.type(description="Realised profit and loss.")
class Pnl:
    """Results by group, and their sum."""

    results: list[PnlResult] = strawberry.field(
        description="By strategy and wallet; by day, newest first, where asked."
    )
    overall: PnlResult = strawberry.field(description="The sum of all results.")
    as_of_position: BigInt = strawberry.field(description="The log position this answer reflects.")


async def pnl(
    info: Info,
    strategy: str | None = None,
    wallet: str | None = None,
    from_: Annotated[
        date | None, strawberry.argument(name="from", description="First UTC day, e.g. 2026-01-31.")
    ] = None,
    to: Annotated[date | None, strawberry.argument(description="Last UTC day, included.")] = None,
    by: Grouping = Grouping.TOTAL,
    min_position: MinPosition = None,
) -> Pnl:
    """Realised profit and loss, in total or by day."""
    if from_ is not None and to is not None and from_ > to:
        raise InvalidInput(f"`from` {from_} is after `to` {to}: no day is in between")
    await info.context.wait_for(read_model.NAME, min_position)
    found = await read_model.pnl(
        info.context.services.reads,
        strategy=strategy,
        wallet=wallet,
        first_day=None if from_ is None else from_.isoformat(),
        last_day=None if to is None else to.isoformat(),
        by=by,
    )
    info.context.budget.charge(len(found.results))
    return Pnl(
        results=[PnlResult.of(result) for result in found.results],
        overall=PnlResult.of(found.overall),
        as_of_position=BigInt(found.position),
    )
