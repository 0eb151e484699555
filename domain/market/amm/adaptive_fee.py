"""Whirlpool's adaptive fee: a rate that rises while the price moves and decays with time.

Ticks come in groups. The further a swap goes from the group the price rested in, the higher the rate, so it
stops at every group's edge, and the mathematics of `concentrated` cannot be summed up ahead. Follows the
program's fee rate manager, as of the core SDK 3.1.0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from domain.errors import QuoteError
from domain.market.amm.concentrated import (
    NOTHING,
    Bands,
    End,
    FeeTerms,
    Move,
    Place,
    Step,
    end_place,
    on_tick,
    part_in,
    part_out,
    whole,
)
from domain.market.amm.ticks import MAX_TICK, MIN_TICK, WHIRLPOOL

RATE_LIMIT: Final = 100_000
"""No rate is higher: 10 % in parts of 1,000,000."""

_SCALE: Final = 10_000  # of the accumulator, one group
_CONTROL: Final = 100_000 * _SCALE * _SCALE
_REDUCTION: Final = 10_000
_MAX_REFERENCE_AGE_S: Final = 3_600


_whole = lru_cache(maxsize=2**14)(whole)
"""Quotes of one pool go through the same groups again and again: some hundred pools' worth are remembered."""


class AdaptiveFee(NamedTuple):
    """A pool's constants, from its oracle account.

    Attributes:
        filter_period_s: after a large swap the reference stays for so long.
        decay_period_s: from then on it decays, and is forgotten after so long.
        reduction_factor: what is left of the volatility when it decays, parts of 10,000.
        control_factor: how fast the rate rises with it.
        max_volatility: caps it.
        group_size: ticks in a group.
        major_swap_ticks: a swap that moves the price by so many is a large one.
    """

    filter_period_s: int
    decay_period_s: int
    reduction_factor: int
    control_factor: int
    max_volatility: int
    group_size: int
    major_swap_ticks: int


class Volatility(NamedTuple):
    """What the fee remembers between swaps; times in Unix seconds, volatilities in 1/10,000 of a group."""

    reference_time: int
    major_swap_time: int
    reference: int
    reference_group: int
    accumulator: int


class _Walk:
    """The fee while one swap goes through the groups."""

    def __init__(self, fee: AdaptiveFee, memory: Volatility, group: int, *, down: bool) -> None:
        self.fee, self.memory, self.group, self.down = fee, memory, group, down
        self.accumulator = memory.accumulator
        reach = -(-(fee.max_volatility - memory.reference) // _SCALE)
        size = fee.group_size
        self._lowest = memory.reference_group - reach
        self._highest = memory.reference_group + reach
        low, high = self._lowest * size, (self._highest + 1) * size
        self._low_price = WHIRLPOOL.at(low) if low > MIN_TICK else None
        self._high_price = WHIRLPOOL.at(high) if high < MAX_TICK else None
        self._control = fee.control_factor * size * size

    def accumulate(self) -> int:
        """Count how far this group is from the reference; the rate it adds."""
        fee, memory = self.fee, self.memory
        volatility = memory.reference + abs(memory.reference_group - self.group) * _SCALE
        volatility = min(volatility, fee.max_volatility)
        self.accumulator = volatility
        return -(-self._control * volatility * volatility // _CONTROL)

    def bounded(self, target: int, liquidity: int) -> tuple[int, bool]:
        """How far the rate holds on the way to `target`, and whether whole groups are skipped.

        Far from the reference the volatility is at its cap in every group, so nothing is lost by skipping.
        """
        group, down = self.group, self.down
        if not self._control or not liquidity:
            return target, True
        if group < self._lowest and self._low_price is not None:
            return (target if down else min(target, self._low_price)), True
        if group > self._highest and self._high_price is not None:
            return (max(target, self._high_price) if down else target), True
        edge = (group if down else group + 1) * self.fee.group_size
        if not MIN_TICK <= edge <= MAX_TICK:
            return target, False  # no tick lies behind the ends, so no target does
        price = WHIRLPOOL.at(edge)
        return (max(price, target)) if down else (min(price, target)), False

    def advance(self, price: int, target: int, target_tick: int, *, skipped: bool) -> None:
        """Go on to the next group; after a skip, to the one behind the last that was passed."""
        if skipped:
            size = self.fee.group_size
            tick = target_tick if price == target else WHIRLPOOL.tick_of(price)
            on_edge = tick % size == 0 and (price == target or price == WHIRLPOOL.at(tick))
            last = tick // size - 1 if on_edge and not self.down else tick // size
            if last < self.group if self.down else last > self.group:
                self.group = last
                self.accumulate()
        self.group += -1 if self.down else 1

    def after(self, moved: bool, unix_time: int) -> Volatility:
        """What the fee remembers; `moved` far, the swap was a large one."""
        memory = self.memory._replace(accumulator=self.accumulator)
        return memory._replace(major_swap_time=unix_time) if moved else memory


def adaptive_move(
    pool: Bands,
    start: Place,
    end: End,
    amount: int,
    fee: AdaptiveFee,
    memory: Volatility,
    unix_time: int,
    *,
    exact_in: bool,
    down: bool,
) -> tuple[Move, Volatility]:
    """Swap as `concentrated.move` does, with the rate of every group passed; also the fee's memory after it.

    Raises:
        QuoteError: the clock is behind the pool's last swap.
    """
    tick = WHIRLPOOL.tick_of(start.price) if start.tick is None else start.tick
    group = tick // fee.group_size
    walk = _Walk(fee, _remembered(memory, fee, group, unix_time), group, down=down)
    steps, place, left = [NOTHING], start, amount
    while left:
        ahead = place.band - 1 if down else place.band
        is_end = ahead < end.tick if down else ahead > end.tick
        target = end.price if is_end else pool.prices[ahead]
        if target is None or (is_end and place.price == target):
            break
        target_tick = (end.at or 0) if is_end else pool.ticks[ahead]
        place, left = _to_target(pool, walk, place, (target, target_tick), left, steps, exact_in=exact_in)
        if place.price == target:
            place = end_place(place.band, end, down=down) if is_end else on_tick(pool, ahead, down=down)
    low, high = sorted((start.price, place.price))
    moved = high >= low * WHIRLPOOL.at(fee.major_swap_ticks) >> 64
    total = Step._make(map(sum, zip(*steps, strict=True)))
    return Move(total, place, left), walk.after(moved, unix_time)


def _to_target(
    pool: Bands,
    walk: _Walk,
    start: Place,
    target: tuple[int, int],
    left: int,
    steps: list[Step],
    *,
    exact_in: bool,
) -> tuple[Place, int]:
    """Swap through the groups of one band, to `target`'s price or until nothing is left; adds to `steps`."""
    liquidity, price, down = pool.liquidity[start.band], start.price, walk.down
    base, *shares = pool.terms
    part = part_in if exact_in else part_out
    terms, extra = pool.terms, 0
    while True:
        if (more := walk.accumulate()) != extra:  # it stays where the volatility is at its cap
            terms, extra = FeeTerms(min(base + more, RATE_LIMIT), *shares), more
        bound, skipped = walk.bounded(target[0], liquidity)
        low, high = (bound, price) if down else (price, bound)
        step = _whole(terms, liquidity, low, high, down=down)
        used = step.sent if exact_in else step.paid
        if left >= used:
            price, left = bound, left - used
        else:
            step, price = part(terms, liquidity, price, left, down=down)
            left = 0
        steps.append(step)
        walk.advance(price, *target, skipped=skipped)
        if not left or price == target[0]:
            break
    return Place(start.band, price, start.tick if price == start.price else None), left


def _remembered(memory: Volatility, fee: AdaptiveFee, group: int, unix_time: int) -> Volatility:
    """What is left of the volatility at `unix_time`."""
    newest = max(memory.reference_time, memory.major_swap_time)
    if unix_time < newest:
        raise QuoteError(
            f"a quote at {unix_time} s was asked of a pool last traded at {newest} s: read the clock again"
        )
    if unix_time - memory.reference_time > _MAX_REFERENCE_AGE_S or unix_time - newest >= fee.decay_period_s:
        return memory._replace(reference_time=unix_time, reference=0, reference_group=group)
    if unix_time - newest < fee.filter_period_s:
        return memory
    decayed = memory.accumulator * fee.reduction_factor // _REDUCTION
    return memory._replace(reference_time=unix_time, reference=decayed, reference_group=group)
