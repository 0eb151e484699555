"""Swaps along ticks, where Raydium CLMM and Orca Whirlpool agree: amounts, fees and prices of every step.

Between two initialised ticks, a band, liquidity is constant. What crossing a whole band takes and pays does
not depend on the swap, so it is summed up once for all bands of a pool (`Bands`); a quote is then one step to
the next tick, a search in the sums and one step into the last band, however many ticks lie between. The
result is that of the programs' own loops to the last unit: a band is crossed exactly when what is left covers
its input and its fee.

Amounts are base units, prices square roots of b per a in Q64.64, rates parts of 1,000,000.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.ticks import TickPrices

RATE: Final = 1_000_000
"""Fee rates are parts of this."""

_FRACTION: Final = (1 << 64) - 1


class FeeTerms(NamedTuple):
    """What a pool takes of each step's input, and who gets it.

    Attributes:
        rate: of the input, fee included.
        protocol_rate, fund_rate: shares of the fee that do not go to the liquidity, parts of `parts`.
    """

    rate: int
    protocol_rate: int
    fund_rate: int
    parts: int


class Step(NamedTuple):
    """What one or more steps took and paid.

    Attributes:
        sent: the input, fee included.
        paid: the output.
        fee: of the input; `protocol_fee` and `fund_fee` are shares of it, rounded down at each step.
        growth: what the fee of the liquidity's owners adds to the pool's fee growth, Q64.64 per unit.
    """

    sent: int
    paid: int
    fee: int
    protocol_fee: int
    fund_fee: int
    growth: int


class Bands(NamedTuple):
    """A pool's initialised ticks and the running totals of crossing the bands between them.

    A swap changes none of it, so a pool keeps its bands until liquidity is added or removed.

    Attributes:
        ticks: ascending. `prices`: theirs.
        liquidity: entry i is that of the band below tick i, the last entry is above all ticks.
        down, up: the totals of the bands between tick 0 and tick i, crossed selling a or selling b: a row
            per field of `Step`.
        terms: the fees the totals hold.
    """

    ticks: tuple[int, ...]
    prices: tuple[int, ...]
    liquidity: tuple[int, ...]
    down: tuple[tuple[int, ...], ...]
    up: tuple[tuple[int, ...], ...]
    terms: FeeTerms


class End(NamedTuple):
    """Where a swap in one direction can go no further.

    Attributes:
        tick: index of the last tick that can be crossed; one beyond the ticks of this direction for none.
        price: how far behind that tick a swap still goes; None where it ends at the tick.
        at: the tick of that price, where the program counts it as crossed when a swap ends on it.
        refusal: why a swap that comes to the end has no quote; empty where it ends there, partly filled.
    """

    tick: int
    price: int | None = None
    at: int | None = None
    refusal: str = ""


class Place(NamedTuple):
    """Where a pool's price stands.

    Attributes:
        band: how many initialised ticks are at or below it, in the program's sense: a tick reached from above
            has been crossed, one reached from below too.
        price: the square root.
        tick: the program's current tick; None where it follows from the price alone.
    """

    band: int
    price: int
    tick: int | None


class Move(NamedTuple):
    """How far a swap came. `left` is what of the specified amount could not be swapped."""

    step: Step
    place: Place
    left: int


def bands(
    ticks: tuple[int, ...],
    net: tuple[int, ...],
    band: int,
    liquidity: int,
    terms: FeeTerms,
    prices: TickPrices,
) -> Bands:
    """Sum up a pool's bands.

    Args:
        ticks: the initialised ticks, ascending.
        net: what crossing each upwards adds to the liquidity.
        band: the one the pool's price is in (`Place.band`).
        liquidity: in that band.
        terms: the pool's fees.
        prices: the program's prices.

    Raises:
        QuoteError: the liquidity of a band would be negative: pool and ticks are not of one slot.
    """
    below = accumulate(reversed(net[:band]), int.__sub__, initial=liquidity)
    above = accumulate(net[band:], int.__add__, initial=liquidity)
    depth = (*reversed(tuple(below)), *tuple(above)[1:])
    if min(depth) < 0:
        raise QuoteError(
            "summing up the liquidity at a pool's ticks gives a negative amount: the pool and its ticks were "
            "not read at one slot, read them again"
        )
    at = tuple(prices.at(tick) for tick in ticks)
    pairs = list(zip(depth[1:-1], at[:-1], at[1:], strict=True)) if ticks else []
    down = [whole(terms, liquid, low, high, down=True) for liquid, low, high in pairs]
    up = [whole(terms, liquid, low, high, down=False) for liquid, low, high in pairs]
    return Bands(ticks, at, depth, _totals(down), _totals(up), terms)


def amount_a(liquidity: int, low: int, high: int, *, up: bool) -> int:
    """Token a between two prices, rounded up or down."""
    above, below = (liquidity << 64) * (high - low), low * high
    return -(-above // below) if up else above // below


def amount_b(liquidity: int, low: int, high: int, *, up: bool) -> int:
    """Token b between two prices, rounded up or down."""
    product = liquidity * (high - low)
    return (product + _FRACTION if up else product) >> 64


def whole(terms: FeeTerms, liquidity: int, low: int, high: int, *, down: bool) -> Step:
    """The step that takes the price from one end of a band to the other."""
    if not liquidity or low == high:
        return NOTHING
    if down:
        gross, paid = amount_a(liquidity, low, high, up=True), amount_b(liquidity, low, high, up=False)
    else:
        gross, paid = amount_b(liquidity, low, high, up=True), amount_a(liquidity, low, high, up=False)
    fee = -(-gross * terms.rate // (RATE - terms.rate))
    return _shared(terms, liquidity, gross + fee, paid, fee)


def part_in(terms: FeeTerms, liquidity: int, price: int, sent: int, *, down: bool) -> tuple[Step, int]:
    """The step that sends exactly `sent` and stays inside its band, and the price after it."""
    net = sent * (RATE - terms.rate) // RATE
    if down:
        depth = liquidity << 64
        after = -(-depth * price // (depth + net * price))
        used, paid = (
            amount_a(liquidity, after, price, up=True),
            amount_b(liquidity, after, price, up=False),
        )
    else:
        after = price + (net << 64) // liquidity
        used, paid = (
            amount_b(liquidity, price, after, up=True),
            amount_a(liquidity, price, after, up=False),
        )
    return _shared(terms, liquidity, sent, paid, sent - used), after


def part_out(terms: FeeTerms, liquidity: int, price: int, paid: int, *, down: bool) -> tuple[Step, int]:
    """The step that pays exactly `paid` and needs no more than its band, and the price after it."""
    if down:
        after = price - -(-(paid << 64) // liquidity)
        gross = amount_a(liquidity, after, price, up=True)
    else:
        depth = liquidity << 64
        after = -(-depth * price // (depth - paid * price))
        gross = amount_b(liquidity, price, after, up=True)
    fee = -(-gross * terms.rate // (RATE - terms.rate))
    return _shared(terms, liquidity, gross + fee, paid, fee), after


def move(pool: Bands, start: Place, end: End, amount: int, *, exact_in: bool, down: bool) -> Move:
    """Swap `amount` (sent if `exact_in`, else paid) from `start` towards `end`: selling a moves down."""
    ahead = start.band - 1 if down else start.band
    if ahead < end.tick if down else ahead > end.tick:
        return _to_end(pool, start, end, amount, exact_in=exact_in, down=down)
    liquidity, price = pool.liquidity[start.band], pool.prices[ahead]
    low, high = (price, start.price) if down else (start.price, price)
    first = whole(pool.terms, liquidity, low, high, down=down)
    left = amount - (first.sent if exact_in else first.paid)
    if left < 0:
        return _inside(pool, start, ahead, amount, exact_in=exact_in, down=down)
    reached, left, between = _cross(pool, ahead, end.tick, left, exact_in=exact_in, down=down)
    passed = plus(first, between) if reached != ahead else first
    place = on_tick(pool, reached, down=down)
    if not left:
        return Move(passed, place, 0)
    if reached == end.tick:
        last = _to_end(pool, place, end, left, exact_in=exact_in, down=down)
    else:
        beyond = reached - 1 if down else reached + 1
        last = _inside(pool, place, beyond, left, exact_in=exact_in, down=down)
    return Move(plus(passed, last.step), last.place, last.left)


def _cross(
    pool: Bands, tick: int, end: int, left: int, *, exact_in: bool, down: bool
) -> tuple[int, int, Step]:
    """Cross every whole band `left` suffices for: the last tick crossed, what is then left, and its totals.

    A swap stops at the first tick where nothing is left, so empty bands behind it are not crossed.
    """
    rows = pool.down if down else pool.up
    row = rows[0] if exact_in else rows[1]
    if down:
        wanted = row[tick] - left
        reached = bisect_left(row, wanted, end, tick + 1)
        if row[reached] == wanted:
            reached = bisect_right(row, wanted, reached, tick + 1) - 1
        left = row[reached] - wanted
        low, high = reached, tick
    else:
        wanted = row[tick] + left
        reached = bisect_right(row, wanted, tick, end + 1) - 1
        if row[reached] == wanted:
            reached = bisect_left(row, wanted, tick, reached + 1)
        left = wanted - row[reached]
        low, high = tick, reached
    if reached == tick:
        return reached, left, NOTHING
    return reached, left, Step._make([total[high] - total[low] for total in rows])


def _inside(pool: Bands, start: Place, ahead: int, amount: int, *, exact_in: bool, down: bool) -> Move:
    """The last step, which ends before tick `ahead`; paying out, its price may be rounded onto the tick."""
    terms, liquidity = pool.terms, pool.liquidity[start.band]
    if exact_in:
        step, price = part_in(terms, liquidity, start.price, amount, down=down)
    else:
        step, price = part_out(terms, liquidity, start.price, amount, down=down)
        if price == pool.prices[ahead]:
            return Move(step, on_tick(pool, ahead, down=down), 0)
    tick = start.tick if price == start.price else None
    return Move(step, Place(start.band, price, tick), 0)


def _to_end(pool: Bands, start: Place, end: End, amount: int, *, exact_in: bool, down: bool) -> Move:
    """The last step, behind the last tick that can be crossed."""
    if end.price is None:
        return Move(NOTHING, start, amount)
    terms, liquidity = pool.terms, pool.liquidity[start.band]
    low, high = (end.price, start.price) if down else (start.price, end.price)
    step = whole(terms, liquidity, low, high, down=down)
    left = amount - (step.sent if exact_in else step.paid)
    if left >= 0:
        return Move(step, end_place(start.band, end, down=down), left)
    part = part_in if exact_in else part_out
    step, price = part(terms, liquidity, start.price, amount, down=down)
    tick = start.tick if price == start.price else None
    return Move(step, Place(start.band, price, tick), 0)


def marginal_price(pool: Bands, place: Place) -> tuple[int, int]:
    """The price at `place` before fees: base units of b, for base units of a.

    Raises:
        QuoteError: no liquidity is known anywhere.
    """
    if not any(pool.liquidity):
        raise QuoteError("the pool holds no liquidity: it has no price to trade at")
    return place.price * place.price, 1 << 128


def end_place(band: int, end: End, *, down: bool) -> Place:
    """Standing on the price a direction ends at."""
    tick = end.at - 1 if down and end.at is not None else end.at
    return Place(band, end.price or 0, tick)


def on_tick(pool: Bands, tick: int, *, down: bool) -> Place:
    """Standing on a tick just crossed."""
    index = pool.ticks[tick]
    if down:
        return Place(tick, pool.prices[tick], index - 1)
    return Place(tick + 1, pool.prices[tick], index)


def _shared(terms: FeeTerms, liquidity: int, sent: int, paid: int, fee: int) -> Step:
    _, protocol_rate, fund_rate, parts = terms
    protocol_fee, fund_fee = fee * protocol_rate // parts, fee * fund_rate // parts
    growth = (fee - protocol_fee - fund_fee << 64) // liquidity
    return Step(sent, paid, fee, protocol_fee, fund_fee, growth)


def plus(one: Step, two: Step) -> Step:
    """Both steps together."""
    return Step._make(map(int.__add__, one, two))


def _totals(steps: list[Step]) -> tuple[tuple[int, ...], ...]:
    rows = zip(*steps, strict=True) if steps else [()] * len(Step._fields)
    return tuple(tuple(accumulate(row, initial=0)) for row in rows)


NOTHING: Final = Step(0, 0, 0, 0, 0, 0)
