"""The one schema: every question that can be asked. Its text is kept in docs/reference/schema.graphql."""

from __future__ import annotations

from typing import Any, Final

import strawberry
from graphql import GraphQLError
from strawberry.types import ExecutionContext

from api.errors import problem_of
from api.graphql.events import EventPage, events
from api.graphql.opportunities import OpportunityConnection, opportunities
from api.graphql.pnl import Pnl, pnl
from api.graphql.scalars import CONFIG
from api.graphql.trades import TradeConnection, TradeDetails, trade, trades
from api.graphql.wallets import WalletBalances, wallet_balances
from api.limits import extensions


@strawberry.type(description="Answers from the read models; each says which log position it reflects.")
class Query:
    """Every question that can be asked."""

    trades: TradeConnection = strawberry.field(
        resolver=trades, description="The newest trades that pass the filter, one page at a time."
    )
    trade: TradeDetails | None = strawberry.field(
        resolver=trade, description="One trade by its order's id, with its cause."
    )
    wallet_balances: WalletBalances = strawberry.field(
        resolver=wallet_balances, description="Balances of one wallet by its address, or of all."
    )
    pnl: Pnl = strawberry.field(
        resolver=pnl, description="Realised profit and loss by strategy and wallet, in total or by day."
    )
    opportunities: OpportunityConnection = strawberry.field(
        resolver=opportunities, description="The newest opportunities, one page at a time."
    )
    events: EventPage = strawberry.field(
        resolver=events, description="The log itself: by position, by stream, or by story."
    )


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Logged where they are turned into words (`explained`), not a second time here."""


SCHEMA: Final = _Schema(query=Query, config=CONFIG, extensions=extensions())


def sdl() -> str:
    """The schema as text."""
    return SCHEMA.as_str() + "\n"


def explained(error: GraphQLError) -> dict[str, Any]:
    """A GraphQL error for the caller: a word and a hint in `extensions`, nothing of our insides."""
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        body: dict[str, Any] = {"message": error.message, "extensions": {"code": "bad_input", "hint": _HINT}}
    else:
        problem, _ = problem_of(cause)
        body = {"message": problem.detail, "extensions": {"code": problem.error, "hint": problem.hint}}
    if error.locations:
        body["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path:
        body["path"] = list(error.path)
    return body


_HINT: Final = "GET /graphql/schema shows every question that can be asked."
