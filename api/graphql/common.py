"""Types that several answers share: legs of a route, pages, and how their arguments are described."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias

import strawberry

from api.graphql.scalars import BigInt
from domain.trading import events

First: TypeAlias = Annotated[int, strawberry.argument(description="How many at most, 1 to 500.")]
After: TypeAlias = Annotated[
    str | None, strawberry.argument(description="The endCursor of the page before; none for the first page.")
]
MinPosition: TypeAlias = Annotated[
    BigInt | None,
    strawberry.argument(
        description="Wait (up to 5 s) until the answer reflects this log position: read your own writes."
    ),
]


@strawberry.type(description="Where a page ends and whether more follow.")
class PageInfo:
    """Relay's page info, forward only."""

    has_next_page: bool
    end_cursor: str | None


@strawberry.type(description="One swap of a route. Amounts are base units of their mint.")
class Leg:
    """One swap of a route, as intended."""

    protocol: str
    pool: str
    mint_in: str
    mint_out: str
    amount_in: BigInt
    quoted_amount_out: BigInt
    min_amount_out: BigInt

    @classmethod
    def of(cls, leg: events.Leg) -> Self:
        """From the domain's leg."""
        return cls(
            protocol=leg.protocol,
            pool=leg.pool,
            mint_in=leg.mint_in,
            mint_out=leg.mint_out,
            amount_in=BigInt(leg.amount_in),
            quoted_amount_out=BigInt(leg.quoted_amount_out),
            min_amount_out=BigInt(leg.min_amount_out),
        )


def big(value: int | None) -> BigInt | None:
    """A number that may be missing."""
    return None if value is None else BigInt(value)
