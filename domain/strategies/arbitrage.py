"""The arbitrage decider: is there a cycle worth more than everything it costs?

Profit is output - input - base fee - priority fee - tip, in lamports, and must reach the strategy's minimum.
The first leg must give exactly its quote, because the second leg spends that amount. The last leg must give
back the input, all costs, and half of the promised profit: a trade that lands never loses, and a market that
took more than half of the profit makes the transaction fail for its fee instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from domain.chain import Address
from domain.market.events import PoolUpdated
from domain.market.pools import PoolBook
from domain.market.routing.cycles import best_cycle, cycle_paths
from domain.market.routing.graph import Path
from domain.money import Lamports
from domain.strategies.events import ArbitrageParameters
from domain.trading.events import Costs, Leg

BASE_FEE_LAMPORTS: Final = Lamports(5_000)
"""What the chain takes for each signature; our transactions carry one."""

LEGS: Final = 2
"""Pools of one cycle: each more costs its fee and widens the chance that one moves."""

FLOOR_SHARE: Final = 2
"""The last leg insists on the promised profit divided by this."""

_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A cycle that is worth doing.

    Attributes:
        legs: with exact quotes and the least each leg must give.
        costs: what the chain takes when it lands.
        expected_profit_lamports: after all costs.
        pools: the states it was decided on, in the order of the legs.
    """

    legs: tuple[Leg, ...]
    costs: Costs
    expected_profit_lamports: Lamports
    pools: tuple[PoolUpdated, ...]


def decide(
    parameters: ArbitrageParameters,
    book: PoolBook,
    available: int,
    busy: Collection[Address] = (),
) -> Finding | None:
    """The most profitable cycle through two pools, or none that reaches the minimum.

    Args:
        parameters: what may be looked for.
        book: the pools as they stand.
        available: base units of the cycle's mint the wallet can spend.
        busy: pools to leave alone: a trade under way will move them.
    """
    free = (pool for pool in book.tradable() if pool.address not in busy)
    paths = cycle_paths(free, parameters.mint, max_legs=LEGS)
    cycle = best_cycle(paths, min(parameters.max_input, available))
    if cycle is None:
        return None
    costs = costs_of(parameters)
    profit = cycle.gain - costs.total_lamports
    if profit < parameters.min_profit_lamports or profit <= 0:
        return None
    seen = (book.get(hop.pool.address) for hop in cycle.hops)
    return Finding(
        _legs(cycle, costs, profit), costs, Lamports(profit), tuple(pool for pool in seen if pool is not None)
    )


def costs_of(parameters: ArbitrageParameters) -> Costs:
    """What one transaction of these parameters costs; the priority fee is rounded up, as the chain does."""
    micro_lamports = parameters.compute_unit_limit * parameters.compute_unit_price_micro_lamports
    return Costs(BASE_FEE_LAMPORTS, Lamports(-(-micro_lamports // _MICRO)), parameters.tip_lamports)


def _legs(cycle: Path, costs: Costs, profit: int) -> tuple[Leg, ...]:
    last = len(cycle.hops) - 1
    floor = cycle.amount_in + costs.total_lamports + profit // FLOOR_SHARE
    return tuple(
        Leg(
            hop.pool.protocol,
            hop.pool.address,
            hop.mint_in,
            hop.mint_out,
            cycle.amounts[index],
            cycle.amounts[index + 1],
            floor if index == last else cycle.amounts[index + 1],
        )
        for index, hop in enumerate(cycle.hops)
    )
