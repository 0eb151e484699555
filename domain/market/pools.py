"""The pool book: the newest state of every pool in sight, folded from what the market showed.

A pool that is watched and does not change is as good as one read a moment ago. So a state does not grow old
by itself: it is good until a `market.gap` says that sight was lost, and good again from its next reading on.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.chain import Address, Slot
from domain.market.amm.constant_product import ConstantProductPool, CreatorFeeOn
from domain.market.events import PoolUpdated
from domain.market.routing.graph import TradablePool

CONSTANT_PRODUCT = frozenset({"raydium_cpmm"})
"""Protocols whose mathematics is `amm/constant_product`."""


class PoolBook:
    """Address to newest state; a reading older than the one held changes nothing."""

    def __init__(self) -> None:
        self._pools: dict[Address, PoolUpdated] = {}
        self._listed: dict[Address, TradablePool] = {}
        self._in_sight: set[Address] = set()
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
        self._list(update)
        self._in_sight.add(update.pool)
        self._newest_slot = max(self._newest_slot, update.slot)
        return True

    def lose_sight(self) -> None:
        """Nobody watched for a while: no state can be trusted until its pool is read again."""
        self._in_sight.clear()

    def get(self, pool: Address) -> PoolUpdated | None:
        """The newest state of a pool; none for one never seen."""
        return self._pools.get(pool)

    def tradable(self) -> Iterator[TradablePool]:
        """Pools in sight that accept swaps, as routing takes them."""
        return (pool for address, pool in self._listed.items() if address in self._in_sight)

    def _list(self, update: PoolUpdated) -> None:
        if update.open and is_quotable(update):
            self._listed[update.pool] = listing(update)
        else:
            self._listed.pop(update.pool, None)


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


def listing(pool: PoolUpdated) -> TradablePool:
    """The pool's state as routing takes it."""
    return TradablePool(pool.pool, pool.protocol, pool.mint_a, pool.mint_b, curve(pool), pool.slot)


def same_state(one: PoolUpdated, other: PoolUpdated) -> bool:
    """Whether two readings of a pool differ in nothing but their slot."""
    return (one.reserve_a, one.reserve_b, one.fees, one.open) == (
        other.reserve_a,
        other.reserve_b,
        other.fees,
        other.open,
    )
