"""The pools as a graph: tokens are its corners, every pool of two of them is an edge both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from domain.chain import Address, Mint, Slot
from domain.errors import QuoteError
from domain.market.amm.pool import Pool

RATE_BITS: Final = 64
"""Rates are output units for each input unit, times 2 to this power, rounded up."""


class TradablePool(NamedTuple):
    """A pool as routing knows it.

    Attributes:
        address: of the pool account; ties are broken by it.
        protocol: the program's name, e.g. `raydium_cpmm`.
        mint_a, mint_b: the pair, in the pool's own order.
        pool: its mathematics.
        slot: of the reading.
    """

    address: Address
    protocol: str
    mint_a: Mint
    mint_b: Mint
    pool: Pool
    slot: Slot

    def other(self, mint: Mint) -> Mint:
        """The token that is traded against `mint`."""
        return self.mint_b if self.mint_a == mint else self.mint_a


class Hop(NamedTuple):
    """One pool crossed in one direction."""

    pool: TradablePool
    mint_in: Mint
    mint_out: Mint

    @property
    def a_to_b(self) -> bool:
        """True when token a is sold."""
        return self.mint_in == self.pool.mint_a


class Path(NamedTuple):
    """One way through pools, quoted.

    Attributes:
        hops: the pools crossed, first to last.
        amounts: what enters each hop, and at the end what comes out of the last; base units.
    """

    hops: tuple[Hop, ...]
    amounts: tuple[int, ...]

    @property
    def amount_in(self) -> int:
        """What goes in."""
        return self.amounts[0]

    @property
    def amount_out(self) -> int:
        """What comes out."""
        return self.amounts[-1]

    @property
    def gain(self) -> int:
        """Output less input, before the chain's costs, of a path that ends in the token it began with."""
        return self.amounts[-1] - self.amounts[0]


class Edge(NamedTuple):
    """A hop and what it can pay at the very most.

    Attributes:
        hop: the pool and the direction.
        a_to_b: of the hop, kept for the inner loop.
        rate: the marginal price without fees, times 2^64, rounded up: every larger swap pays less.
    """

    hop: Hop
    a_to_b: bool
    rate: int


class PoolGraph:
    """Pools by the tokens they trade; holds the newest state that was put in."""

    def __init__(self, pools: Iterable[TradablePool] = ()) -> None:
        self._pools: dict[Address, TradablePool] = {}
        self._pairs: dict[Mint, dict[Mint, dict[Address, TradablePool]]] = {}
        self._edges: dict[tuple[Mint, Mint], tuple[Edge, ...]] = {}
        for pool in pools:
            self.put(pool)

    def __len__(self) -> int:
        return len(self._pools)

    def put(self, pool: TradablePool) -> None:
        """Take a pool in, in place of an earlier state of it."""
        held = self._pools.get(pool.address)
        if held is not None and (held.mint_a, held.mint_b) != (pool.mint_a, pool.mint_b):
            self.remove(pool.address)
        self._pools[pool.address] = pool
        for mint, other in ((pool.mint_a, pool.mint_b), (pool.mint_b, pool.mint_a)):
            self._pairs.setdefault(mint, {}).setdefault(other, {})[pool.address] = pool
            self._edges.pop((mint, other), None)

    def remove(self, address: Address) -> None:
        """Forget a pool; one that is not held is no matter."""
        pool = self._pools.pop(address, None)
        if pool is None:
            return
        for mint, other in ((pool.mint_a, pool.mint_b), (pool.mint_b, pool.mint_a)):
            between = self._pairs[mint][other]
            del between[address]
            if not between:
                del self._pairs[mint][other]
            if not self._pairs[mint]:
                del self._pairs[mint]
            self._edges.pop((mint, other), None)

    def get(self, address: Address) -> TradablePool | None:
        """The newest state of a pool; none for one never put in."""
        return self._pools.get(address)

    def pools(self) -> list[TradablePool]:
        """Every pool, by address."""
        return [self._pools[address] for address in sorted(self._pools)]

    def mints(self) -> list[Mint]:
        """Every token some pool trades, sorted."""
        return sorted(self._pairs)

    def trades(self, mint: Mint) -> bool:
        """Whether any pool trades `mint`."""
        return mint in self._pairs

    def others(self, mint: Mint) -> Iterable[Mint]:
        """Tokens that some pool trades against `mint`."""
        return self._pairs.get(mint, {}).keys()

    def holding(self, mint: Mint) -> list[TradablePool]:
        """The pools that trade `mint`, by address."""
        found = (pool for between in self._pairs.get(mint, {}).values() for pool in between.values())
        return sorted(found, key=lambda pool: pool.address)

    def edges(self, mint_in: Mint, mint_out: Mint) -> tuple[Edge, ...]:
        """The pools that turn one token into the other, the highest rate first, then by address."""
        known = self._edges.get((mint_in, mint_out))
        if known is None:
            between = self._pairs.get(mint_in, {}).get(mint_out, {})
            found = (_edge(pool, mint_in, mint_out) for pool in between.values())
            filled = [edge for edge in found if edge is not None]
            known = tuple(sorted(filled, key=lambda edge: (-edge.rate, edge.hop.pool.address)))
            self._edges[mint_in, mint_out] = known
        return known


def _edge(pool: TradablePool, mint_in: Mint, mint_out: Mint) -> Edge | None:
    """None for a pool that has no price: it is empty."""
    try:
        units_b, units_a = pool.pool.spot_price()
    except QuoteError:
        return None
    a_to_b = mint_in == pool.mint_a
    per_out, per_in = (units_b, units_a) if a_to_b else (units_a, units_b)
    if per_in <= 0 or per_out <= 0:
        return None
    return Edge(Hop(pool, mint_in, mint_out), a_to_b, -((-per_out << RATE_BITS) // per_in))
