"""Whatever instruction comes in, an emulated program answers with an error of its own and takes nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from localnets import NOW_US, SOL, LocalChain, local_chain
from solders.instruction import AccountMeta, Instruction

from adapters.localnet.emulated_pyth import Price, update_price_feed
from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.genesis import read_pools
from adapters.localnet.pools import read_around
from adapters.localnet.prices import FEEDS, first_price
from adapters.solana.pool_program import SwapRequest
from adapters.solana.pool_programs import POOL_PROGRAMS
from adapters.solana.programs import kamino, token
from adapters.solana.programs.associated_token import associated_address


def good_instructions(chain: LocalChain) -> list[Instruction]:
    """One of every kind that would pass."""
    sides = [associated_address(chain.wallet, mint) for mint in (WSOL_MINT, USDC_MINT)]
    made = []
    for pool in chain.world.pools:
        for a_to_b, exact_in in ((True, True), (False, True), (False, False)):
            user_in, user_out = sides if a_to_b else sides[::-1]
            accounts = read_around(chain.ledger, pool)
            limit = 0 if exact_in else 2**64 - 1
            request = SwapRequest(
                pool.address, accounts, chain.wallet, user_in, user_out, a_to_b, exact_in, 10**6, limit
            )
            made.append(POOL_PROGRAMS[pool.protocol].swap(request))
    reserve = chain.world.reserves[0]
    account = chain.ledger.account(reserve.address)
    assert account is not None
    loan = kamino.flash_accounts(
        reserve.address, kamino.decode_reserve(account.data, account.owner), chain.wallet, sides[0]
    )
    feed = first_price("SOL/USD", 150_000_000, NOW_US // 10**6, 1)
    price = Price(FEEDS["SOL/USD"], feed.price, feed.conf, -8, 2**40, 0, feed.ema_price, feed.ema_conf)
    return [
        *made,
        kamino.flash_borrow(loan, SOL),
        kamino.flash_repay(loan, SOL, 0),
        update_price_feed(chain.wallet, price),
    ]


@pytest.fixture(scope="module")
def chain() -> LocalChain:
    return local_chain(pools=read_pools(["all"]))


@pytest.fixture(scope="module")
def good_ones(chain: LocalChain) -> list[Instruction]:
    return good_instructions(chain)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_spoilt_instruction_makes_an_emulation_crash(
    chain: LocalChain, good_ones: list[Instruction], data: st.DataObject
) -> None:
    """Bytes changed, cut or added, accounts exchanged, doubled, dropped: landed or refused, money kept."""
    good = data.draw(st.sampled_from(good_ones))
    body = bytearray(good.data)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6)):
        if at < len(body):
            body[at] = value
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    body += data.draw(st.binary(max_size=20))
    metas = list(good.accounts)
    for first, second in data.draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=3)):
        if first < len(metas) and second < len(metas):
            old, new = metas[first], metas[second]
            metas[first] = AccountMeta(new.pubkey, old.is_signer and new.is_signer, old.is_writable)
    metas = metas[: data.draw(st.integers(0, len(metas)))] if data.draw(st.booleans()) else metas
    before = _worth(chain)
    executed = chain.land(Instruction(good.program_id, bytes(body), metas), chain.unique())
    if executed.outcome.error is not None:
        assert executed.changed == (chain.wallet,)
    assert _worth(chain) == before


def _worth(chain: LocalChain) -> tuple[int, int]:
    """All wrapped SOL and all USDC in accounts the programs know: a swap moves them, none is made or lost."""
    totals = {WSOL_MINT: 0, USDC_MINT: 0}
    slot = chain.ledger.blocks.open.slot
    for _, account in chain.ledger.program_accounts(token.TOKEN_PROGRAM, slot):
        if len(account.data) == 165:
            mint = type(WSOL_MINT)(account.data[:32])
            totals[mint] += int.from_bytes(account.data[64:72], "little")
    return totals[WSOL_MINT], totals[USDC_MINT]
