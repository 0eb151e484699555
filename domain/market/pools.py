"""The pool book: the newest state of every pool, folded from what the market showed."""

from __future__ import annotations

from collections.abc import Iterator

from domain.chain import Address, Slot
from domain.market.amm.constant_product import ConstantProductPool, CreatorFeeOn
from domain.market.events import PoolUpdated

CONSTANT_PRODUCT = frozenset({"raydium_cpmm"})
"""Protocols whose mathematics is `amm/constant_product`."""


class PoolBook:
    """Address to newest state; a reading older than the one held changes nothing."""

    def __init__(self) -> None:
        self._pools: dict[Address, PoolUpdated] = {}
        self._newest_slot = Slot(0)

    @property
    def newest_slot(self) -> Slot:
        """The newest slot of any reading; 0 for an empty book."""
        return self._newest_slot

    def fold(self, update: PoolUpdated) -> bool:
        """Take a reading in; returns whether the book changed."""
        held = self._pools.get(update.pool)
        if held is not None and update.slot < held.slot:
            return False
        self._pools[update.pool] = update
        self._newest_slot = max(self._newest_slot, update.slot)
        return True

    def get(self, pool: Address) -> PoolUpdated | None:
        """The newest state of a pool; none for one never seen."""
        return self._pools.get(pool)

    def tradable(self, max_age_slots: int) -> Iterator[PoolUpdated]:
        """Pools that accept swaps and whose reading is at most `max_age_slots` older than the newest."""
        for pool in self._pools.values():
            if pool.open and self._newest_slot - pool.slot <= max_age_slots and is_quotable(pool):
                yield pool


def is_quotable(pool: PoolUpdated) -> bool:
    """Whether its mathematics is known here and it holds something of both tokens."""
    return pool.protocol in CONSTANT_PRODUCT and pool.reserve_a > 0 and pool.reserve_b > 0


def curve(pool: PoolUpdated) -> ConstantProductPool:
    """The pool's state as its mathematics takes it."""
    return ConstantProductPool(
        pool.reserve_a,
        pool.reserve_b,
        pool.fees.trade_rate,
        pool.fees.protocol_rate,
        pool.fees.fund_rate,
        pool.fees.creator_rate,
        CreatorFeeOn(pool.fees.creator_fee_on),
    )


def same_state(one: PoolUpdated, other: PoolUpdated) -> bool:
    """Whether two readings of a pool differ in nothing but their slot."""
    return (one.reserve_a, one.reserve_b, one.fees, one.open) == (
        other.reserve_a,
        other.reserve_b,
        other.fees,
        other.open,
    )
