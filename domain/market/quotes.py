"""Questions to the quote service and its answers: the route found, and how old its facts are."""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.chain import Address, Mint, Slot
from domain.errors import NoRoute, QuoteError
from domain.market.amm.pool import PPM, check_amount, price_impact_ppm
from domain.market.routing.graph import Hop, Path
from domain.market.routing.routes import MAX_LEGS, MAX_PARTS, Route

LOCAL: Final = "local"
"""The source of quotes made here, from pools as the chain has them."""


class QuoteRequest(NamedTuple):
    """One question.

    Attributes:
        mint_in, mint_out: what is sold and what is bought.
        amount: what is sent, or with `exact_in` false what must arrive; base units.
        exact_in: which of the two is given.
        max_legs: the most pools of one path.
        max_parts: the most paths side by side.
    """

    mint_in: Mint
    mint_out: Mint
    amount: int
    exact_in: bool = True
    max_legs: int = MAX_LEGS
    max_parts: int = MAX_PARTS

    def check(self) -> None:
        """Refuse what no book could answer.

        Raises:
            QuoteError: one token twice, an amount that is no positive u64, or limits out of range.
        """
        check_amount(self.amount)
        if self.mint_in == self.mint_out:
            raise QuoteError(f"{self.mint_in[:44]} was to be swapped for itself: name two tokens")
        if not 1 <= self.max_legs <= MAX_LEGS:
            raise QuoteError(f"a path of up to {self.max_legs} pools was asked for: ask for 1 to {MAX_LEGS}")
        if not 1 <= self.max_parts <= MAX_PARTS:
            raise QuoteError(f"up to {self.max_parts} paths were asked for: ask for 1 to {MAX_PARTS}")


class QuotedLeg(NamedTuple):
    """One swap of a quoted route.

    Attributes:
        pool, protocol: where.
        mint_in, mint_out: what is sold and bought there.
        amount_in: what its swap is told to send, base units; of a PumpSwap buy up to two units are not taken.
        amount_out: what arrives, base units.
        fee_in, fee_out: what the pool's fee terms take of either token.
        price_impact_ppm: how far its size worsens this pool's price, fees left out.
        slot: of the pool's reading.
    """

    pool: Address
    protocol: str
    mint_in: Mint
    mint_out: Mint
    amount_in: int
    amount_out: int
    fee_in: int
    fee_out: int
    price_impact_ppm: int
    slot: Slot


class Quotation(NamedTuple):
    """One answer.

    Attributes:
        amount_in, amount_out: of the whole route, base units.
        paths: the route: swaps one after the other, and such paths side by side.
        price_impact_ppm: of the whole, each path weighed by its input; rounded up.
        slot: of the oldest reading it rests on.
        newest_slot: the newest slot the book has heard of.
        stale_slots, stale_us: how long ago all of it was last known to hold: in slots, in microseconds. A
            watched pool that rests is known to hold, however old its reading is.
        source: `local`, or who else quoted.
    """

    amount_in: int
    amount_out: int
    paths: tuple[tuple[QuotedLeg, ...], ...]
    price_impact_ppm: int
    slot: Slot
    newest_slot: Slot
    stale_slots: int
    stale_us: int
    source: str = LOCAL

    @property
    def pools(self) -> dict[Address, Slot]:
        """Every pool of the route with the slot of its reading."""
        return {leg.pool: leg.slot for path in self.paths for leg in path}


def quotation(route: Route) -> Quotation:
    """A route as an answer, as of its own readings: who gives it out says how old they are.

    Raises:
        NoRoute: a pool would not take what its own answer asks for, so small is the amount.
    """
    paths = tuple(tuple(_leg(path, place) for place in range(len(path.hops))) for path in route.paths)
    amount_in = route.amount_in
    weighed = sum(path.amount_in * _impact_ppm(legs) for path, legs in zip(route.paths, paths, strict=True))
    slot = min(leg.slot for path in paths for leg in path)
    return Quotation(
        amount_in,
        route.amount_out,
        paths,
        -(-weighed // amount_in),
        slot,
        slot,
        0,
        0,
    )


def _leg(path: Path, place: int) -> QuotedLeg:
    hop: Hop = path.hops[place]
    amount_in, amount_out = path.amounts[place], path.amounts[place + 1]
    try:
        quote = hop.pool.pool.quote_exact_in(amount_in, a_to_b=hop.a_to_b)
    except QuoteError as error:
        raise NoRoute(f"pool {hop.pool.address} would refuse its part of the route: {error}") from error
    return QuotedLeg(
        hop.pool.address,
        hop.pool.protocol,
        hop.mint_in,
        hop.mint_out,
        amount_in,
        amount_out,
        quote.fee_in,
        quote.fee_out,
        price_impact_ppm(hop.pool.pool, quote),
        hop.pool.slot,
    )


def _impact_ppm(legs: tuple[QuotedLeg, ...]) -> int:
    """Of swaps one after the other: what is left of the price is multiplied."""
    left, whole = 1, 1
    for leg in legs:
        left *= PPM - leg.price_impact_ppm
        whole *= PPM
    return -(-(whole - left) * PPM // whole)
