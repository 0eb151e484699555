"""The Solana client against a node nobody here wrote: Surfpool, where Node and its npm package are present.

`npm install @solana/surfpool-linux-x64-gnu` in any folder, and NODE_PATH=that/node_modules, brings it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pubsub import PubSub
from adapters.solana.rpc import RpcChain
from domain.chain import NATIVE, Address, Commitment, Slot
from domain.errors import ChainError, ChainUnavailable

START = """
const { Surfnet } = require('@solana/surfpool-linux-x64-gnu');
const net = Surfnet.startWithConfig(
    { offline: true, blockProductionMode: 'clock', slotTimeMs: 50, airdropSol: 1_000_000_000_000 });
console.log(JSON.stringify({ rpc: net.rpcUrl, ws: net.wsUrl, secret: Array.from(net.payerSecretKey) }));
process.stdin.resume();
process.stdin.on('end', () => { try { net.stop(); } finally { process.exit(0); } });
"""
SOL = 10**9


@dataclass(frozen=True)
class Surfpool:
    """A running node and its rich payer."""

    chain: RpcChain
    pubsub: PubSub
    payer: Keypair

    def pay(self, to: Pubkey, lamports: int, blockhash: str) -> bytes:
        """Sign a payment from the payer."""
        move = transfer(TransferParams(from_pubkey=self.payer.pubkey(), to_pubkey=to, lamports=lamports))
        message = Message.new_with_blockhash([move], self.payer.pubkey(), Hash.from_string(blockhash))
        return bytes(VersionedTransaction(message, [self.payer]))


@pytest.fixture(scope="module")
async def surfpool() -> AsyncIterator[Surfpool]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Surfpool needs Node, which is not on this machine")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(node, "-e", START, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin
    assert process.stdout
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            pytest.skip("Surfpool's npm package is not on NODE_PATH: see the top of this file")
        started = json.loads(line)
        rpc = JsonRpc(started["rpc"])
        async with PubSub(started["ws"], clock=lambda: 0) as pubsub:
            await pubsub.connected()
            yield Surfpool(RpcChain(rpc, pubsub), pubsub, Keypair.from_bytes(bytes(started["secret"])))
        await rpc.aclose()
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


async def test_a_payment_is_sent_settled_and_recorded_to_the_lamport(surfpool: Surfpool) -> None:
    chain, friend = surfpool.chain, Keypair().pubkey()
    recent = await chain.latest_blockhash()
    assert recent.last_valid_block_height > (await chain.tip(Commitment.PROCESSED)).height
    signature = await chain.send(surfpool.pay(friend, SOL, recent.blockhash))
    async with asyncio.timeout(60):
        heard = [one async for one in chain.settlements(signature)]
        seen = await chain.status(signature)
        while seen.commitment is not Commitment.FINALIZED:
            await asyncio.sleep(0.05)
            seen = await chain.status(signature)
    assert heard
    assert seen.error is None
    record = await chain.transaction(signature, Commitment.FINALIZED)
    assert record is not None
    assert (record.fee_lamports, record.error) == (5_000, None)
    changes = {(one.account, one.mint): one.change for one in record.changes}
    payer = Address(str(surfpool.payer.pubkey()))
    assert changes == {(payer, NATIVE): -SOL - 5_000, (Address(str(friend)), NATIVE): SOL}
    _, balances = await chain.balances(Address(str(friend)), [])
    assert balances == [SOL]


async def test_the_same_bytes_twice_are_executed_once(surfpool: Surfpool) -> None:
    chain, friend = surfpool.chain, Keypair().pubkey()
    paid = surfpool.pay(friend, SOL, (await chain.latest_blockhash()).blockhash)
    signature = await chain.send(paid)
    with pytest.raises(ChainError, match=r"already been processed|AlreadyProcessed"):
        await chain.send(paid)
    assert (await chain.status(signature)).error is None


async def test_what_the_node_does_not_know(surfpool: Surfpool) -> None:
    chain = surfpool.chain
    unknown = surfpool.pay(Keypair().pubkey(), SOL, str(Hash.default()))
    with pytest.raises(ChainError) as caught:
        await chain.send(unknown)
    assert not isinstance(caught.value, ChainUnavailable)
    signature = surfpool.payer.sign_message(unknown)
    seen = await chain.status(str(signature), search_history=True)  # type: ignore[arg-type] # a plain string
    assert seen.slot is None
    with pytest.raises(ChainError, match="behind"):
        await chain.status(str(signature), min_slot=Slot(10**9))  # type: ignore[arg-type] # as above


async def test_a_watched_account_wakes_its_reader(surfpool: Surfpool) -> None:
    friend = Keypair().pubkey()
    async with surfpool.pubsub.watch_accounts([Address(str(friend))]) as watch, asyncio.timeout(20):
        await surfpool.chain.send(
            surfpool.pay(friend, SOL, (await surfpool.chain.latest_blockhash()).blockhash)
        )
        changes = await watch.changes()
    assert list(changes.slots) == [str(friend)]
