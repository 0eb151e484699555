"""Every emulated swap program on pools of the local network: exact, limited, checked, all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from localnets import SOL, LocalChain, local_chain
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.localnet.founding import USDC_MINT, WSOL_MINT, Pool
from adapters.localnet.genesis import OPENERS, read_pools
from adapters.localnet.pools import chain_time, read_around
from adapters.solana.pool_program import SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs.associated_token import associated_address
from domain.errors import InvalidInput
from domain.market.amm.pool import U64_MAX

USDC_UNIT = 10**6
SLIPPAGE: dict[str, tuple[int, int, int]] = {
    "raydium_cpmm": (6005, 6005, 6005),
    "raydium_amm_v4": (30, 30, 30),
    "raydium_clmm": (6022, 6023, 6022),
    "orca_whirlpool": (6036, 6037, 6036),
    "meteora_dlmm": (6003, 6003, 6003),
    "pumpswap": (6004, 6004, 6040),
}
"""Below the least out of a sale, above the most in of a buy, below the least out of a buy."""
PAUSED = {
    "raydium_cpmm": 6000,
    "raydium_amm_v4": 22,
    "raydium_clmm": 6001,
    "orca_whirlpool": 6064,
    "meteora_dlmm": 6042,
    "pumpswap": 6021,  # of sales
}

protocols = pytest.mark.parametrize("protocol", OPENERS)


@pytest.fixture(scope="module")
def shared() -> LocalChain:
    """One chain for the tests that leave no trace in its pools."""
    return local_chain(pools=read_pools(["all"]))


def pool_of(chain: LocalChain, protocol: str) -> Pool:
    return next(pool for pool in chain.world.pools if pool.protocol == protocol)


def quotable(chain: LocalChain, pool: Pool) -> Any:  # noqa: ANN401 - six kinds of pool
    accounts = read_around(chain.ledger, pool)
    return POOL_PROGRAMS[pool.protocol].quotable(pool.address, accounts, chain_time(chain.ledger))


def swap(
    chain: LocalChain,
    pool: Pool,
    amount: int,
    *,
    a_to_b: bool,
    exact_in: bool = True,
    limit: int | None = None,
) -> Instruction:
    sides = [associated_address(chain.wallet, mint) for mint in (WSOL_MINT, USDC_MINT)]
    user_in, user_out = sides if a_to_b else sides[::-1]
    bound = (0 if exact_in else U64_MAX) if limit is None else limit
    accounts = read_around(chain.ledger, pool)
    request = SwapRequest(
        pool.address, accounts, chain.wallet, user_in, user_out, a_to_b, exact_in, amount, bound
    )
    return POOL_PROGRAMS[pool.protocol].swap(request)


def error_of(chain: LocalChain, instruction: Instruction) -> Any:  # noqa: ANN401 - a number or a word
    """What the program answers; all else must stay as it was."""
    before = chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT)
    executed = chain.land(instruction, chain.unique())
    assert (chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT)) == before
    assert executed.changed == (chain.wallet,)
    error = executed.outcome.error
    assert isinstance(error, dict), error
    index, inner = error["InstructionError"]
    assert index == 0
    return inner["Custom"] if isinstance(inner, dict) else inner


@protocols
def test_swaps_move_what_the_quote_says_and_leave_the_pool_it_says(protocol: str) -> None:
    """Both directions, exact in and exact out, small and large, one after the other."""
    chain = local_chain(pools={protocol: 1})
    pool = pool_of(chain, protocol)
    book = quotable(chain, pool)
    cases = [
        (SOL, True, True),
        (700 * USDC_UNIT, False, True),
        (30 * SOL, False, False),
        (90 * SOL, True, True),
        (5_000 * USDC_UNIT, False, True),
        (123_456_789, True, True),
    ]
    if protocol != "pumpswap":  # which has no sale for an exact amount
        cases.append((200 * USDC_UNIT, True, False))
    for amount, a_to_b, exact_in in cases:
        quote = (book.quote_exact_in if exact_in else book.quote_exact_out)(amount, a_to_b=a_to_b)
        wsol, usdc = chain.tokens(WSOL_MINT), chain.tokens(USDC_MINT)
        executed = chain.land(swap(chain, pool, amount, a_to_b=a_to_b, exact_in=exact_in), chain.unique())
        assert executed.outcome.error is None, executed.outcome.logs
        change = chain.tokens(WSOL_MINT) - wsol, chain.tokens(USDC_MINT) - usdc
        sent, got = change if a_to_b else change[::-1]
        assert got == quote.amount_out
        assert -sent == quote.amount_in
        book = book.after(quote)
        there = quotable(chain, pool)
        for probe in (SOL // 3, 77 * SOL):
            assert book.quote_exact_in(probe, a_to_b=True) == there.quote_exact_in(probe, a_to_b=True)
            assert book.quote_exact_in(probe, a_to_b=False) == there.quote_exact_in(probe, a_to_b=False)


@protocols
def test_limits_are_held_to_the_unit_with_the_programs_own_number(shared: LocalChain, protocol: str) -> None:
    pool = pool_of(shared, protocol)
    ours = quotable(shared, pool)
    sale = ours.quote_exact_in(SOL, a_to_b=True).amount_out
    cost = ours.quote_exact_out(SOL, a_to_b=False).amount_in
    bought = ours.quote_exact_in(100 * USDC_UNIT, a_to_b=False).amount_out
    too_dear = [
        swap(shared, pool, SOL, a_to_b=True, limit=sale + 1),
        swap(shared, pool, SOL, a_to_b=False, exact_in=False, limit=cost - 1),
        swap(shared, pool, 100 * USDC_UNIT, a_to_b=False, limit=bought + 1),
    ]
    assert tuple(error_of(shared, one) for one in too_dear) == SLIPPAGE[protocol]
    fits = swap(shared, pool, SOL, a_to_b=True, limit=sale)
    undone = shared.land(fits, shared.pay(shared.wallet, 10**15), shared.unique())
    assert undone.outcome.error == {"InstructionError": [1, {"Custom": 1}]}
    assert quotable(shared, pool).quote_exact_in(SOL, a_to_b=True).amount_out == sale


@protocols
def test_every_account_must_be_the_one_the_program_knows(shared: LocalChain, protocol: str) -> None:
    """Each account exchanged for a stranger's in turn: none passes, nothing moves."""
    pool = pool_of(shared, protocol)
    good = swap(shared, pool, SOL, a_to_b=True)
    fixed = {"raydium_clmm": 13, "meteora_dlmm": 16}.get(protocol, len(good.accounts))
    stranger = Pubkey(bytes(31) + b"\x63")
    for place in range(fixed):
        metas = list(good.accounts)
        if metas[place].is_signer:
            continue
        metas[place] = AccountMeta(stranger, is_signer=False, is_writable=metas[place].is_writable)
        assert error_of(shared, Instruction(good.program_id, good.data, metas)) is not None, place
    for count in (0, 5, len(good.accounts) // 2):
        short = Instruction(good.program_id, good.data, good.accounts[:count])
        assert error_of(shared, short) in (3005, 24)


@protocols
def test_no_amount_and_no_such_instruction_are_refused(shared: LocalChain, protocol: str) -> None:
    pool = pool_of(shared, protocol)
    good = swap(shared, pool, SOL, a_to_b=True)
    assert error_of(shared, Instruction(good.program_id, b"\xff" * 24, good.accounts)) in (
        101,
        "InvalidInstructionData",
    )
    cut = Instruction(good.program_id, good.data[:12], good.accounts)
    assert error_of(shared, cut) in (102, "InvalidInstructionData")
    at = 1 if protocol == "raydium_amm_v4" else 8
    nothing = good.data[:at] + bytes(8) + good.data[at + 8 :]
    assert error_of(shared, Instruction(good.program_id, nothing, good.accounts)) is not None


@protocols
def test_a_paused_program_says_so_in_its_own_words(protocol: str) -> None:
    chain = local_chain(pools={protocol: 1})
    pool = pool_of(chain, protocol)
    good = swap(chain, pool, SOL, a_to_b=True)
    chain.ledger.emulations.pause_swaps(True)
    assert error_of(chain, good) == PAUSED[protocol]
    bought = error_of(chain, swap(chain, pool, SOL, a_to_b=False))
    assert bought == (6020 if protocol == "pumpswap" else PAUSED[protocol])
    chain.ledger.emulations.pause_swaps(False)
    assert chain.land(good).outcome.error is None


def test_several_pools_of_a_protocol_have_their_own_fees() -> None:
    chain = local_chain(pools=dict.fromkeys(OPENERS, 3))
    assert len({pool.address for pool in chain.world.pools}) == 18
    for pool in chain.world.pools:
        out = quotable(chain, pool).quote_exact_in(SOL, a_to_b=True).amount_out
        assert 149 * USDC_UNIT < out < 150 * USDC_UNIT
    clmm = [pool.trade_fee_rate for pool in chain.world.pools if pool.protocol == "raydium_clmm"]
    assert clmm == [2_500, 500, 100]


def test_pools_are_asked_for_by_protocol_and_count() -> None:
    assert read_pools(["all", "pumpswap=0"]) == {
        **dict.fromkeys(OPENERS, 1),
        "raydium_cpmm": 2,
        "pumpswap": 0,
    }
    for text, said in (
        ("serum=1", "'serum' is no protocol"),
        ("pumpswap", "how many? write pumpswap=1"),
        ("pumpswap=101", "'101' is no number from 0 to 100"),
        ("pumpswap=-1", "'-1' is no number"),
    ):
        with pytest.raises(InvalidInput, match=r"opening the pools") as caught:
            read_pools([text])
        assert said in str(caught.value)
