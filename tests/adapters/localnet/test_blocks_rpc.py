"""Blocks, leaders and holders over JSON-RPC, as solana-py reads them and as a node words its refusals."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from local_nodes import Node, in_base64, local_node
from localnets import SOL, local_chain
from solana.rpc.commitment import Confirmed, Finalized
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from websockets.asyncio.client import connect

from adapters.localnet.founding import USDC_MINT
from adapters.localnet.history import Executed, History
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.token import TOKEN_PROGRAM

STRANGER = Pubkey(bytes(31) + b"\x63")
FULL = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with local_node() as one:
        yield one


async def landed_block(node: Node) -> tuple[int, str]:
    """A confirmed block with one payment in it: its slot and the payment's signature."""
    await node.ok("localnet_advanceSlots", 1)
    executed = node.chain.land(node.chain.pay(STRANGER, SOL))
    await node.ok("localnet_advanceSlots", 1)
    return executed.slot, str(executed.signature)


async def test_solana_py_reads_a_block(node: Node) -> None:
    slot, signature = await landed_block(node)
    assert (await node.refused("getBlock", slot))[0] == -32004  # not finalized, as is asked for by default
    await node.ok("localnet_advanceSlots", 31)
    block = (
        await node.client.get_block(slot, commitment=Finalized, max_supported_transaction_version=0)
    ).value
    assert block is not None
    assert block.block_height is not None
    assert block.block_height < slot
    assert block.parent_slot == slot - 1
    assert block.transactions is not None
    (one,) = block.transactions
    assert str(one.transaction.signatures[0]) == signature
    assert slot in (await node.client.get_blocks(slot - 1, slot)).value


async def test_a_block_as_much_as_is_asked_for(node: Node) -> None:
    slot, signature = await landed_block(node)
    names = await node.ok("getBlock", slot, {**FULL, "transactionDetails": "signatures"})
    assert names["signatures"] == [signature]
    assert "transactions" not in names
    bare = await node.ok("getBlock", slot, {**FULL, "transactionDetails": "none", "rewards": False})
    assert set(bare) == {
        "blockHeight",
        "blockTime",
        "blockhash",
        "parentSlot",
        "previousBlockhash",
    }
    (accounts,) = (await node.ok("getBlock", slot, {**FULL, "transactionDetails": "accounts"}))[
        "transactions"
    ]
    assert accounts["transaction"]["accountKeys"][0]["pubkey"] == str(node.chain.wallet)
    assert accounts["meta"]["postBalances"][1] == SOL
    assert "logMessages" not in accounts["meta"]
    (full,) = (await node.ok("getBlock", slot, {**FULL, "encoding": "jsonParsed"}))["transactions"]
    assert full["meta"]["logMessages"]
    assert full["version"] == 0
    wallet, usdc = str(node.chain.wallet), str(associated_address(node.chain.wallet, USDC_MINT))
    swap = node.chain.land(node.chain.swap(node.handle.world.pools[0], 10**6, a_to_b=True))
    await node.ok("localnet_advanceSlots", 1)
    parsed = await node.ok("getTransaction", str(swap.signature), {**FULL, "encoding": "jsonParsed"})
    (inner,) = parsed["meta"]["innerInstructions"]
    assert [one["programId"] for one in inner["instructions"]] == [str(TOKEN_PROGRAM)] * 2
    assert wallet in inner["instructions"][0]["accounts"]
    assert usdc in inner["instructions"][1]["accounts"]
    await node.ok("localnet_advanceSlots", 1)
    next_block = await node.ok("getBlock", slot + 1, FULL)
    assert next_block["previousBlockhash"] == bare["blockhash"]


async def test_what_is_refused_of_blocks(node: Node) -> None:
    slot, _ = await landed_block(node)
    ahead = slot + 10**6
    refused = {
        (-32004, f"Block not available for slot {ahead}"): ("getBlock", ahead, FULL),
        (-32602, "Method does not support commitment below `confirmed`"): (
            "getBlock",
            slot,
            {"commitment": "processed"},
        ),
        (-32004, f"Block not available for slot {ahead + 1}"): ("getBlockTime", ahead + 1),
        (-32602, "Slot range too large; max 500000"): ("getBlocks", 0, 10**9, {"commitment": "confirmed"}),
        (-32602, "Limit too large; max 500000"): ("getBlocksWithLimit", 0, 500_001),
        (-32602, "Invalid limit; max 720"): ("getRecentPerformanceSamples", 721),
        (-32602, "Invalid limit; max 5000"): ("getSlotLeaders", slot, 5_001),
        (-32008, "No snapshot"): ("getHighestSnapshotSlot",),
    }
    for expected, (method, *params) in refused.items():
        assert await node.refused(str(method), *params) == expected
    code, said = await node.refused("getBlock", slot, {"commitment": "confirmed"})
    assert (code, "version (0) is not supported" in said) == (-32015, True)
    assert (await node.refused("getBlock", slot, {**FULL, "transactionDetails": "most"}))[0] == -32602


async def test_slots_with_blocks(node: Node) -> None:
    slot, _ = await landed_block(node)
    first = await node.ok("getFirstAvailableBlock")
    confirmed = {"commitment": "confirmed"}
    assert await node.ok("minimumLedgerSlot") == first
    assert await node.ok("getBlocks", first, slot, confirmed) == list(range(first, slot + 1))
    assert await node.ok("getBlocks", first, confirmed) == list(range(first, slot + 1))
    assert await node.ok("getBlocksWithLimit", first, 2, confirmed) == [first, first + 1]
    opened = node.handle.ledger.blocks.open
    await node.ok("localnet_advanceSlots", 1)
    assert await node.ok("getBlockTime", opened.slot) == opened.unix_time


def test_blocks_whose_transactions_had_to_leave_are_said_to_be_gone() -> None:
    """A shelf of two: the third transaction pushes the first one's block out."""
    chain = local_chain()
    shelf = History(capacity=2)
    for _ in range(3):
        chain.ledger.advance()
        shelf.add(chain.land(chain.pay(STRANGER, SOL), chain.unique()))
    slots = [one.slot for one in shelf.recent()][::-1]
    assert shelf.dropped_slot == slots[0] - 1
    assert [len(shelf.in_slot(slot)) for slot in (slots[0] - 1, *slots)] == [0, 1, 1]


async def test_performance_is_counted_by_the_minute(node: Node) -> None:
    await node.ok("localnet_advanceSlots", 100)
    node.chain.land(node.chain.pay(STRANGER, SOL))
    await node.ok("localnet_advanceSlots", 220)
    samples = await node.ok("getRecentPerformanceSamples", 5)
    assert [sample["numSlots"] for sample in samples] == [150, 150]
    landed = sum(
        len(node.handle.ledger.history.in_slot(sample["slot"] - n)) for sample in samples for n in range(150)
    )
    assert sum(sample["numTransactions"] for sample in samples) == landed >= 1


async def test_a_cluster_of_one(node: Node) -> None:
    identity = (await node.client.get_identity()).value.identity
    (only,) = (await node.client.get_cluster_nodes()).value
    slot = (await node.client.get_slot(Confirmed)).value
    assert only.pubkey == identity
    assert (await node.client.get_slot_leader()).value == identity
    assert (await node.client.get_slot_leaders(slot, 3)).value == [identity] * 3
    assert (await node.client.get_epoch_schedule()).value.slots_per_epoch == 432_000
    assert not (await node.client.get_vote_accounts()).value.current
    schedule = await node.ok("getLeaderSchedule")
    assert len(schedule[str(identity)]) == 432_000
    assert await node.ok("getLeaderSchedule", 5) is None
    assert await node.ok("getLeaderSchedule", None, {"identity": str(STRANGER)}) == {}


async def test_the_largest_holders_of_a_token(node: Node) -> None:
    largest = (await node.client.get_token_largest_accounts(USDC_MINT)).value
    amounts = [int(one.amount.amount) for one in largest]
    assert amounts == sorted(amounts, reverse=True)
    assert largest[0].address == associated_address(node.handle.faucet.address, USDC_MINT)
    assert associated_address(node.chain.wallet, USDC_MINT) in [one.address for one in largest]
    code, _ = await node.refused("getTokenLargestAccounts", str(STRANGER))
    assert code == -32602


async def test_delegated_accounts_are_found_by_their_delegate(node: Node) -> None:
    mine = associated_address(node.chain.wallet, USDC_MINT)
    metas = [
        AccountMeta(mine, is_signer=False, is_writable=True),
        AccountMeta(STRANGER, is_signer=False, is_writable=False),
        AccountMeta(node.chain.wallet, is_signer=True, is_writable=False),
    ]
    approve = Instruction(TOKEN_PROGRAM, b"\x04" + (5).to_bytes(8, "little"), metas)
    assert node.chain.land(approve).outcome.error is None
    for wanted in ({"mint": str(USDC_MINT)}, {"programId": str(TOKEN_PROGRAM)}):
        found = await node.ok(
            "getTokenAccountsByDelegate", str(STRANGER), wanted, {"commitment": "processed"}
        )
        assert [one["pubkey"] for one in found["value"]] == [str(mine)]


async def test_sends_are_told_when_received_and_when_done(node: Node) -> None:
    """`enableReceivedNotification`: first that the node has it, then, once, the outcome."""
    signed = node.chain.sign(node.chain.pay(STRANGER, SOL))
    name = str(signed.signatures[0])
    async with connect(node.handle.ws_url) as socket:
        options = {"commitment": "confirmed", "enableReceivedNotification": True}
        ask = {"jsonrpc": "2.0", "id": 1, "method": "signatureSubscribe", "params": [name, options]}
        await socket.send(json.dumps(ask))
        number = json.loads(await socket.recv())["result"]
        await node.ok("sendTransaction", in_base64(signed), {"encoding": "base64", "skipPreflight": True})
        await node.ok("localnet_advanceSlots", 1)
        told = [json.loads(await socket.recv())["params"] for _ in range(2)]
    assert [one["subscription"] for one in told] == [number, number]
    assert [one["result"]["value"] for one in told] == ["receivedSignature", {"err": None}]


async def test_what_a_program_returned_is_shown(node: Node) -> None:
    """The token program answers an account's size: in the simulation and in the transaction's metadata."""
    data = bytes([21])  # GetAccountDataSize
    ask = Instruction(TOKEN_PROGRAM, data, [AccountMeta(USDC_MINT, is_signer=False, is_writable=False)])
    signed = node.chain.sign(ask)
    options = {"encoding": "base64", "commitment": "processed"}
    simulated = await node.ok("simulateTransaction", in_base64(signed), options)
    expected = {
        "programId": str(TOKEN_PROGRAM),
        "data": [b64encode((165).to_bytes(8, "little")).decode(), "base64"],
    }
    assert simulated["value"]["returnData"] == expected
    executed = node.handle.ledger.submit(signed)
    assert isinstance(executed, Executed)
    await node.ok("localnet_advanceSlots", 1)
    shown = await node.ok("getTransaction", str(executed.signature), FULL)
    assert shown["meta"]["returnData"] == expected
