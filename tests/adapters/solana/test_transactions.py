"""One order, one transaction: its instructions, its size, and the same bytes every time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cpmm_pools import MINT_A, MINT_B, a_pool, serve_pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_node import scripted_node
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction

from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.programs import raydium_cpmm
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from commands.ports import RecentBlockhash, SignedTransaction
from domain.chain import USDC, WSOL, Address, Blockhash, BlockHeight, Mint
from domain.errors import InvalidInput
from domain.money import Lamports
from domain.trading.events import Leg

KEYPAIR = Keypair.from_seed(bytes(range(32)))
WALLET = Address(str(KEYPAIR.pubkey()))
TIP_ACCOUNT = Address(str(Pubkey(bytes([9]) * 32)))
RECENT = RecentBlockhash(Blockhash(str(Hash(bytes([3]) * 32))), BlockHeight(150))
POOLS = [a_pool(index) for index in range(4)]


@pytest.fixture(scope="module")
async def builder() -> AsyncIterator[CycleTransactionBuilder]:
    async with scripted_node() as node:
        for pool, state in POOLS:
            serve_pool(node, pool, state, 1_000_000, 150_000)
        rpc = JsonRpc(node.http_url)
        directory = PoolDirectory(AccountReader(rpc))
        yield CycleTransactionBuilder(directory, [MemorySigner(KEYPAIR)], tip_account=TIP_ACCOUNT)
        await rpc.aclose()


def leg(index: int, amount_in: int = 100, *, sell_sol: bool = True, **changed: object) -> Leg:
    mints = (WSOL, USDC) if sell_sol else (USDC, WSOL)
    values: dict[str, object] = {
        "protocol": "raydium_cpmm",
        "pool": POOLS[index][0],
        "mint_in": mints[0],
        "mint_out": mints[1],
        "amount_in": amount_in,
        "quoted_amount_out": 99,
        "min_amount_out": 98,
    }
    return Leg(**(values | changed))  # type: ignore[arg-type] # the test names the fields


CYCLE = (leg(0), leg(1, 99, sell_sol=False))


async def build(
    builder: CycleTransactionBuilder,
    legs: tuple[Leg, ...] = CYCLE,
    *,
    tip: int = 1_000,
    limit: int = 200_000,
    price: int = 5_000,
) -> SignedTransaction:
    return await builder.build(
        wallet=WALLET,
        legs=legs,
        tip_lamports=Lamports(tip),
        compute_unit_limit=limit,
        compute_unit_price_micro_lamports=price,
        recent=RECENT,
    )


async def test_a_cycle_is_budget_legs_and_tip_in_one_signed_transaction(
    builder: CycleTransactionBuilder,
) -> None:
    signed = await build(builder)
    parsed = VersionedTransaction.from_bytes(signed.transaction)
    assert parsed.verify_with_results() == [True]
    assert signed.signature == str(parsed.signatures[0])
    assert (signed.blockhash, signed.last_valid_block_height) == (RECENT.blockhash, 150)
    message = parsed.message
    assert message.recent_blockhash == Hash(bytes([3]) * 32)
    assert message.account_keys[0] == KEYPAIR.pubkey()
    programs = [message.account_keys[one.program_id_index] for one in message.instructions]
    cpmm = raydium_cpmm.PROGRAM_ID
    assert programs == [COMPUTE_BUDGET, COMPUTE_BUDGET, cpmm, cpmm, SYSTEM_PROGRAM]
    first = raydium_cpmm.decode_swap(bytes(message.instructions[2].data))
    assert (first.exact_in, first.amount, first.limit) == (True, 100, 98)
    accounts = [message.account_keys[index] for index in message.instructions[3].accounts]
    usdc, sol = (associated_address(KEYPAIR.pubkey(), mint) for mint in (MINT_B, MINT_A))
    state = POOLS[1][1]
    assert accounts[4:8] == [usdc, sol, state.vault_b, state.vault_a]


async def test_no_tip_and_no_price_leave_no_instruction(builder: CycleTransactionBuilder) -> None:
    signed = await build(builder, tip=0, price=0)
    assert len(VersionedTransaction.from_bytes(signed.transaction).message.instructions) == 3


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amount=st.integers(1, 2**64 - 1), tip=st.integers(0, 2**64 - 1), price=st.integers(0, 2**64 - 1))
async def test_the_same_inputs_give_the_same_bytes(
    builder: CycleTransactionBuilder, amount: int, tip: int, price: int
) -> None:
    legs = (leg(0, amount), leg(1, amount, sell_sol=False))
    first = await build(builder, legs, tip=tip, price=price)
    assert first == await build(builder, legs, tip=tip, price=price)
    assert len(first.transaction) <= 1_232


async def test_legs_are_added_until_the_packet_is_full(builder: CycleTransactionBuilder) -> None:
    three = tuple(leg(index, sell_sol=index % 2 == 0) for index in range(3))
    assert len((await build(builder, three)).transaction) <= 1_232
    with pytest.raises(InvalidInput, match=r"a transaction of 4 legs has \d+ bytes, a node takes 1232"):
        await build(builder, (*three, leg(3, sell_sol=False)))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (leg(0, 0), "whole numbers below"),
        (leg(0, 2**64), "whole numbers below"),
        (leg(0, protocol="other"), "names protocol 'other'"),
        (leg(0, mint_out=Mint(WALLET)), "check the route"),
        (leg(0, pool=WALLET), "no such account"),
        (leg(0, pool=Address("x")), "no Solana address"),
    ],
)
async def test_a_leg_that_cannot_be_built(builder: CycleTransactionBuilder, bad: Leg, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await build(builder, (bad,))


@pytest.mark.parametrize(
    "bad", [{"limit": 0}, {"limit": 1_400_001}, {"price": -1}, {"price": 2**64}, {"tip": -1}, {"tip": 2**64}]
)
async def test_a_budget_the_chain_does_not_take(
    builder: CycleTransactionBuilder, bad: dict[str, int]
) -> None:
    with pytest.raises(InvalidInput, match="was asked"):
        await build(builder, **bad)  # type: ignore[arg-type] # mypy takes the values for legs


async def test_a_wallet_without_a_key_and_a_tip_without_an_account() -> None:
    directory = PoolDirectory(AccountReader(JsonRpc("http://127.0.0.1:1")))
    with pytest.raises(InvalidInput, match="its key is not loaded"):
        await build(CycleTransactionBuilder(directory, []), ())
    with pytest.raises(InvalidInput, match="no tip account is set"):
        await build(CycleTransactionBuilder(directory, [MemorySigner(KEYPAIR)]), ())
