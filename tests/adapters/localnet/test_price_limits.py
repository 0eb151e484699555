"""CLMM and Whirlpool swaps that stop at a price: exactly there, partly filled, paid for what was filled."""

from __future__ import annotations

from typing import Any

import pytest
from localnets import SOL, LocalChain, local_chain
from solders.instruction import Instruction

from adapters.localnet.founding import USDC_MINT, WSOL_MINT, Pool
from adapters.localnet.pools import chain_time, read_around
from adapters.localnet.price_limits import end_at
from adapters.solana.pool_program import SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs import orca_whirlpool, raydium_clmm
from adapters.solana.programs.associated_token import associated_address
from domain.market.amm.clmm import TICKS_IN_ARRAY as CLMM_TICKS
from domain.market.amm.ticks import CLMM, WHIRLPOOL, floor_start
from domain.market.amm.whirlpool import TICKS_IN_ARRAY

LARGE = 900 * SOL
USDC_UNIT = 10**6
ENDS = {
    "raydium_clmm": (60, CLMM_TICKS, CLMM),
    "orca_whirlpool": (64, TICKS_IN_ARRAY, WHIRLPOOL),
}
"""Of the local network's pools: tick spacing, ticks of an array, prices of ticks."""
LIMIT_AT = 24
"""Both instructions: discriminator, amount, threshold, then the limit in 16 bytes."""


def with_limit(instruction: Instruction, limit: int) -> Instruction:
    data = instruction.data[:LIMIT_AT] + limit.to_bytes(16, "little") + instruction.data[LIMIT_AT + 16 :]
    return Instruction(instruction.program_id, data, instruction.accounts)


def quotable(chain: LocalChain, pool: Pool) -> Any:  # noqa: ANN401 - two kinds of pool
    accounts = read_around(chain.ledger, pool)
    return POOL_PROGRAMS[pool.protocol].quotable(pool.address, accounts, chain_time(chain.ledger))


def swap(chain: LocalChain, pool: Pool, amount: int, *, a_to_b: bool = True) -> Instruction:
    mints = (WSOL_MINT, USDC_MINT) if a_to_b else (USDC_MINT, WSOL_MINT)
    user_in, user_out = (associated_address(chain.wallet, mint) for mint in mints)
    accounts = read_around(chain.ledger, pool)
    request = SwapRequest(pool.address, accounts, chain.wallet, user_in, user_out, a_to_b, True, amount, 0)
    return POOL_PROGRAMS[pool.protocol].swap(request)


@pytest.fixture(params=[raydium_clmm, orca_whirlpool], ids=["clmm", "whirlpool"])
def chain(request: pytest.FixtureRequest) -> LocalChain:
    protocol: str = request.param.PROGRAM.protocol
    return local_chain(pools={protocol: 1})


def test_a_swap_stops_exactly_at_its_limit(chain: LocalChain) -> None:
    """What is left stays with the user, and what was filled costs what a swap of that size costs."""
    (pool,) = chain.world.pools
    before = quotable(chain, pool)
    limit = before.place.price * 999 // 1_000
    wsol, usdc = chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT)
    executed = chain.land(with_limit(swap(chain, pool, LARGE), limit))
    assert executed.outcome.error is None, executed.outcome.logs
    spent, got = wsol - chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT) - usdc
    assert 0 < spent < LARGE
    assert quotable(chain, pool).place.price == limit
    whole = before.quote_exact_in(spent, a_to_b=True)
    assert abs(whole.amount_out - got) <= 1
    assert abs(whole.place.price - limit) <= 2**64 // 10**9


def test_a_limit_on_a_tick_crosses_it(chain: LocalChain) -> None:
    """Stopping on the lower end of the narrow position, its liquidity is gone for the next swap."""
    (pool,) = chain.world.pools
    before = quotable(chain, pool)
    edge = before.bands.prices[before.place.band - 1]
    chain.faucet.fund(chain.wallet, wsol=10**6 * SOL)
    executed = chain.land(with_limit(swap(chain, pool, 10**6 * SOL), edge))
    assert executed.outcome.error is None, executed.outcome.logs
    after = quotable(chain, pool)
    assert after.place.price == edge
    assert after.liquidity < before.liquidity


def test_swaps_go_up_from_the_last_ticks_of_an_array_as_quoted(chain: LocalChain) -> None:
    """Whirlpool gives such a swap the arrays from the next one on, without the one the price is in."""
    (pool,) = chain.world.pools
    chain.faucet.fund(chain.wallet, wsol=10**6 * SOL)
    spacing, array, prices = ENDS[pool.protocol]
    end = floor_start(quotable(chain, pool).place.tick, array * spacing)
    limit = prices.at(end - spacing // 2)
    assert chain.land(with_limit(swap(chain, pool, 10**6 * SOL), limit)).outcome.error is None
    before = quotable(chain, pool)
    assert end - spacing <= before.place.tick < end
    for amount in (USDC_UNIT, 20_000 * USDC_UNIT):
        quote = quotable(chain, pool).quote_exact_in(amount, a_to_b=False)
        wsol = chain.tokens(WSOL_MINT)
        executed = chain.land(swap(chain, pool, amount, a_to_b=False), chain.unique())
        assert executed.outcome.error is None, executed.outcome.logs
        assert chain.tokens(WSOL_MINT) - wsol == quote.amount_out
    assert quotable(chain, pool).place.tick >= end


def test_a_limit_that_is_not_reached_changes_nothing(chain: LocalChain) -> None:
    (pool,) = chain.world.pools
    quote = quotable(chain, pool).quote_exact_in(SOL, a_to_b=True)
    usdc = chain.tokens(USDC_MINT)
    executed = chain.land(with_limit(swap(chain, pool, SOL), quote.place.price - 1))
    assert executed.outcome.error is None
    assert chain.tokens(USDC_MINT) - usdc == quote.amount_out


def test_a_limit_behind_the_price_is_refused(chain: LocalChain) -> None:
    (pool,) = chain.world.pools
    number = {"raydium_clmm": 6013, "orca_whirlpool": 6034}[pool.protocol]
    limit = quotable(chain, pool).place.price + 1
    executed = chain.land(with_limit(swap(chain, pool, SOL), limit))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": number}]}


def test_the_end_of_a_limited_swap_lies_before_on_or_behind_a_tick(chain: LocalChain) -> None:
    bands = quotable(chain, chain.world.pools[0]).bands
    tick = bands.prices[1]
    assert end_at(bands, tick, down=True) == (1, None, None, "")
    assert end_at(bands, tick + 1, down=True) == (2, tick + 1, None, "")
    assert end_at(bands, tick, down=False) == (1, None, None, "")
    assert end_at(bands, tick - 1, down=False) == (0, tick - 1, None, "")
