"""What every Chain promises the executor, held against each implementation on a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from waiting import until

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.solana.accounts import AccountReader
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pool_directory import PoolDirectory
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from adapters.solana.signers import MemorySigner
from adapters.solana.transactions import CycleTransactionBuilder
from commands.ports import Chain, RecentBlockhash, SignedTransaction
from domain.chain import NATIVE, USDC, WSOL, Address, Blockhash, Commitment, Signature, Slot
from domain.errors import ChainError, ChainUnavailable
from domain.money import Lamports
from domain.trading.events import Leg

KEYPAIR = Keypair.from_seed(b"a wallet of the chain's contract")
WALLET = Address(str(KEYPAIR.pubkey()))
WALLET_WSOL, WALLET_USDC = (
    Address(str(associated_address(KEYPAIR.pubkey(), Pubkey.from_string(mint)))) for mint in (WSOL, USDC)
)
TIP_ACCOUNT = Address(str(Keypair.from_seed(b"tips for validators go over here").pubkey()))
SOL = 10**9
AMOUNT = SOL // 10


@dataclass(frozen=True)
class Rig:
    """A chain, a builder for it, and the ledger's own controls for what time and forks do."""

    chain: Chain
    builder: CycleTransactionBuilder
    directory: PoolDirectory
    rpc: JsonRpc
    network: LocalnetHandle

    async def cycle(
        self, *, min_amount_out: int = 1, tip: int = SOL // 100, recent: RecentBlockhash | None = None
    ) -> SignedTransaction:
        """Sign a cycle over both pools; it loses a little, which no program forbids."""
        first, second = (Address(str(pool.address)) for pool in self.network.world.pools)
        legs = (
            Leg("raydium_cpmm", first, WSOL, USDC, AMOUNT, 1, 1),
            Leg("raydium_cpmm", second, USDC, WSOL, 10_000_000, 1, min_amount_out),
        )
        return await self.builder.build(
            wallet=WALLET,
            legs=legs,
            tip_lamports=Lamports(tip),
            compute_unit_limit=200_000,
            compute_unit_price_micro_lamports=10_000,
            recent=recent or await self.chain.latest_blockhash(),
        )

    async def pass_slots(self, count: int) -> None:
        """Let slots pass."""
        await self.rpc.call("localnet_advanceSlots", count)


@pytest.fixture(scope="module")
async def network() -> AsyncIterator[LocalnetHandle]:
    async with serve(LocalnetConfig(port=0, slot_ms=None, crowd_tps=0)) as network:
        rpc = JsonRpc(network.rpc_url)
        await rpc.call("localnet_fund", WALLET, {"lamports": 10 * SOL, "wsol": 5 * SOL, "usdc": 10**9})
        await rpc.call("localnet_fund", TIP_ACCOUNT, {"lamports": SOL})
        await rpc.call("localnet_advanceSlots", 40)
        await rpc.aclose()
        yield network


@pytest.fixture(params=["rpc"])
async def rig(request: pytest.FixtureRequest, network: LocalnetHandle) -> AsyncIterator[Rig]:
    assert request.param == "rpc"
    rpc = JsonRpc(network.rpc_url)
    directory = PoolDirectory(AccountReader(rpc))
    builder = CycleTransactionBuilder(directory, [MemorySigner(KEYPAIR)], tip_account=TIP_ACCOUNT)
    async with PubSub(network.ws_url, clock=lambda: 0) as pubsub, asyncio.timeout(30):
        await pubsub.connected()
        yield Rig(RpcChain(rpc, pubsub), builder, directory, rpc, network)
    await rpc.aclose()


async def test_a_blockhash_lives_about_150_blocks(rig: Rig) -> None:
    recent = await rig.chain.latest_blockhash()
    tip = await rig.chain.tip(Commitment.CONFIRMED)
    assert 140 <= recent.last_valid_block_height - tip.height <= 150


async def test_tips_are_ordered_by_commitment(rig: Rig) -> None:
    processed, confirmed, finalized = [await rig.chain.tip(one) for one in Commitment]
    assert processed.slot >= confirmed.slot >= finalized.slot
    assert finalized.height <= finalized.slot


async def test_a_cycle_lands_and_its_record_is_exact(rig: Rig) -> None:
    """Every lamport and token of it: balances before plus the record's changes are the balances after."""
    _, before = await rig.chain.balances(WALLET, [WALLET_WSOL, WALLET_USDC])
    signed = await rig.cycle()
    assert await rig.chain.send(signed.transaction) == signed.signature
    seen = await rig.chain.status(signed.signature)
    assert (seen.commitment, seen.error) == (Commitment.PROCESSED, None)
    assert await rig.chain.transaction(signed.signature, Commitment.FINALIZED) is None
    await rig.pass_slots(40)
    seen = await rig.chain.status(signed.signature, search_history=True)
    assert seen.commitment is Commitment.FINALIZED
    record = await rig.chain.transaction(signed.signature, Commitment.FINALIZED)
    assert record is not None
    assert (record.signature, record.slot, record.error) == (signed.signature, seen.slot, None)
    assert record.fee_lamports == 5_000 + 2_000
    changes = {(one.account, one.mint): one.change for one in record.changes}
    assert changes[TIP_ACCOUNT, NATIVE] == SOL // 100
    _, after = await rig.chain.balances(WALLET, [WALLET_WSOL, WALLET_USDC])
    moved = [
        changes[WALLET, NATIVE],
        changes[WALLET_WSOL, WSOL],
        changes[WALLET_USDC, USDC],
    ]
    assert [was + change for was, change in zip(before, moved, strict=True)] == after
    assert moved[0] == -7_000 - SOL // 100
    lamports = [one.change for one in record.changes if one.mint == NATIVE]
    assert sum(lamports) == -record.fee_lamports
    for mint in (WSOL, USDC):
        assert sum(one.change for one in record.changes if one.mint == mint) == 0


async def test_fills_can_be_read_from_the_vaults(rig: Rig) -> None:
    signed = await rig.cycle(tip=0)
    await rig.chain.send(signed.transaction)
    await rig.pass_slots(40)
    record = await rig.chain.transaction(signed.signature, Commitment.FINALIZED)
    assert record is not None
    changes = {(one.account, one.mint): one.change for one in record.changes}
    sol, usdc = await rig.directory.vaults(Address(str(rig.network.world.pools[0].address)))
    assert changes[sol, WSOL] == AMOUNT
    assert changes[usdc, USDC] < 0


async def test_settlements_come_in_order_and_end(rig: Rig) -> None:
    signed = await rig.cycle(tip=1)
    heard: list[Commitment] = []

    async def listen() -> None:
        heard.extend([one async for one in rig.chain.settlements(signed.signature)])

    listening = asyncio.create_task(listen())
    await rig.chain.send(signed.transaction)
    for _ in range(40):
        await rig.pass_slots(1)
    await listening
    assert heard == list(Commitment)


async def test_a_signature_nobody_knows(rig: Rig) -> None:
    unknown = (await rig.cycle(tip=2)).signature
    tip = await rig.chain.tip(Commitment.FINALIZED)
    seen = await rig.chain.status(unknown, search_history=True, min_slot=tip.slot)
    assert seen.asked_slot >= tip.slot
    assert (seen.slot, seen.commitment, seen.error) == (None, None, None)
    assert await rig.chain.transaction(unknown, Commitment.FINALIZED) is None


async def test_a_node_behind_the_wanted_slot_refuses_to_testify(rig: Rig) -> None:
    unknown = (await rig.cycle(tip=3)).signature
    ahead = Slot((await rig.chain.tip(Commitment.PROCESSED)).slot + 1_000)
    with pytest.raises(ChainError) as caught:
        await rig.chain.status(unknown, min_slot=ahead)
    assert caught.value.code == -32016


async def test_the_same_bytes_twice_are_executed_once(rig: Rig) -> None:
    signed = await rig.cycle(tip=4)
    await rig.chain.send(signed.transaction)
    with pytest.raises(ChainError, match="already been processed"):
        await rig.chain.send(signed.transaction)
    await rig.pass_slots(40)
    record = await rig.chain.transaction(signed.signature, Commitment.FINALIZED)
    assert record is not None
    assert [one.change for one in record.changes if one.account == TIP_ACCOUNT] == [4]


async def test_bytes_whose_blockhash_expired_never_land(rig: Rig) -> None:
    signed = await rig.cycle(tip=5)
    await rig.pass_slots(200)
    with pytest.raises(ChainError, match="Blockhash not found") as caught:
        await rig.chain.send(signed.transaction)
    assert not isinstance(caught.value, ChainUnavailable)
    tip = await rig.chain.tip(Commitment.FINALIZED)
    assert tip.height > signed.last_valid_block_height
    seen = await rig.chain.status(signed.signature, search_history=True, min_slot=tip.slot)
    assert seen.slot is None


async def test_a_cycle_that_would_fail_is_refused_before_it_costs_a_fee(rig: Rig) -> None:
    _, before = await rig.chain.balances(WALLET, [])
    signed = await rig.cycle(min_amount_out=SOL)
    with pytest.raises(ChainError, match=r"instruction 3: program error \d+") as caught:
        await rig.chain.send(signed.transaction)
    assert caught.value.code == -32002
    await rig.pass_slots(40)
    assert (await rig.chain.balances(WALLET, []))[1] == before


async def test_a_cycle_that_fails_on_chain_costs_its_fee_only(rig: Rig) -> None:
    unchecked = RpcChain(rig.rpc, PubSub(rig.network.ws_url, clock=lambda: 0), preflight=False)
    signed = await rig.cycle(min_amount_out=SOL, tip=6)
    await unchecked.send(signed.transaction)
    await rig.pass_slots(40)
    record = await rig.chain.transaction(signed.signature, Commitment.FINALIZED)
    assert record is not None
    assert record.error is not None
    assert record.error.startswith("instruction 3: program error")
    assert [(one.account, one.change) for one in record.changes] == [(WALLET, -record.fee_lamports)]


async def test_a_rolled_back_transaction_is_unknown_again(rig: Rig) -> None:
    await rig.pass_slots(40)
    signed = await rig.cycle(tip=7)
    await rig.chain.send(signed.transaction)
    await rig.pass_slots(2)
    assert (await rig.chain.status(signed.signature)).commitment is Commitment.CONFIRMED
    await rig.rpc.call("localnet_rollBack", 3)
    assert (await rig.chain.status(signed.signature, search_history=True)).slot is None
    await rig.chain.send(signed.transaction)  # the same bytes may land again
    assert (await rig.chain.status(signed.signature)).commitment is Commitment.PROCESSED


@pytest.mark.parametrize(("tip", "fault"), [(80, "lose_answer"), (81, "error_answer")])
async def test_a_lost_answer_leaves_the_outcome_open(rig: Rig, tip: int, fault: str) -> None:
    """An internal error is no answer either: the node may have passed the bytes on before it failed."""
    signed = await rig.cycle(tip=tip)
    await rig.rpc.call("localnet_failNextCalls", {"method": "sendTransaction", "kind": fault})
    with pytest.raises(ChainUnavailable):
        await rig.chain.send(signed.transaction)
    assert (await rig.chain.status(signed.signature)).commitment is Commitment.PROCESSED


async def test_a_blockhash_of_another_chain_is_refused(rig: Rig) -> None:
    foreign = RecentBlockhash(
        Blockhash("1" * 32), (await rig.chain.latest_blockhash()).last_valid_block_height
    )
    signed = await rig.cycle(recent=foreign)
    with pytest.raises(ChainError, match="Blockhash not found"):
        await rig.chain.send(signed.transaction)


async def test_a_settlement_already_reached_is_told_at_once(rig: Rig) -> None:
    signed = await rig.cycle(tip=9)
    await rig.chain.send(signed.transaction)
    await rig.pass_slots(40)
    heard: list[Commitment] = [one async for one in rig.chain.settlements(Signature(signed.signature))]
    await until(lambda: heard)
    assert heard[-1] is Commitment.FINALIZED
