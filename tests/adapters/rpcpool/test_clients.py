"""Any Solana client can use the proxy as its URL: solana-py's and ours, over local networks that end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from rpc_nodes import served
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Processed
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from waiting import until
from websockets.asyncio.client import connect

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.rpcpool.endpoint import EndpointConfig
from adapters.rpcpool.pool import PoolOptions, RpcPool, open_pool
from adapters.solana.jsonrpc import JsonRpc
from adapters.solana.pubsub import PubSub
from domain.chain import Address
from domain.errors import ChainError

EXTRA = frozenset({"localnet_fund"})
QUIET = LocalnetConfig(port=0, crowd_tps=0, slot_ms=20)


@asynccontextmanager
async def over(*networks: LocalnetHandle) -> AsyncIterator[tuple[RpcPool, str]]:
    configs = [EndpointConfig(one.rpc_url, one.ws_url) for one in networks]
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(configs, PoolOptions(extra_methods=EXTRA)))
        yield pool, await stack.enter_async_context(served(pool))


async def funded(client: AsyncClient, wallet: Pubkey) -> bool:
    """Whether the money is there for preflight, which looks at finalized accounts."""
    return (await client.get_balance(wallet)).value > 0


async def test_solana_py_pays_and_reads_through_the_proxy() -> None:
    async with serve(QUIET) as network, over(network) as (_, address), AsyncExitStack() as stack:
        payer, receiver = Keypair.from_seed(bytes(range(32))), Keypair.from_seed(bytes(32))
        rpc = await stack.enter_async_context(aclosing(JsonRpc(f"http://{address}/rpc")))
        await rpc.call("localnet_fund", str(payer.pubkey()), {"lamports": 10**10})
        async with AsyncClient(f"http://{address}/rpc") as client:
            await until(lambda: funded(client, payer.pubkey()))
            blockhash = (await client.get_latest_blockhash()).value.blockhash
            pay = transfer(
                TransferParams(from_pubkey=payer.pubkey(), to_pubkey=receiver.pubkey(), lamports=10**9)
            )
            message = MessageV0.try_compile(payer.pubkey(), [pay], [], blockhash)
            sent = (await client.send_transaction(VersionedTransaction(message, [payer]))).value

            async def landed() -> bool:
                return (await client.get_signature_statuses([sent])).value[0] is not None

            await until(landed)
            assert (await client.get_balance(receiver.pubkey(), Processed)).value == 10**9
            assert (await client.is_connected()) is True
            genesis = (await client.get_genesis_hash()).value
            assert (await client.get_genesis_hash()).value == genesis


async def test_our_own_client_gets_the_nodes_refusals() -> None:
    async with serve(QUIET) as network, over(network) as (_, address), AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(aclosing(JsonRpc(f"http://{address}/rpc")))
        assert isinstance(await rpc.call("getSlot"), int)
        with pytest.raises(ChainError) as refused:
            await rpc.call("getBalance", "not an address")
        assert refused.value.code == -32602
        assert str(Signature.default()) not in str(refused.value)


async def test_our_subscriptions_hear_accounts_through_the_proxy() -> None:
    async with serve(QUIET) as network, over(network) as (_, address), AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(aclosing(JsonRpc(f"http://{address}/rpc")))
        wallet = Address(str(Pubkey.from_bytes(bytes(31) + b"\x09")))
        async with PubSub(f"ws://{address}/rpc/ws", clock=lambda: 0) as pubsub:
            async with pubsub.watch_accounts([wallet]) as watch:
                await rpc.call("localnet_fund", wallet, {"lamports": 10**9})
                async with asyncio.timeout(10):
                    changes = await watch.changes()
            assert list(changes.slots) == [wallet]


async def test_slots_go_on_when_the_network_behind_them_ends() -> None:
    """Two networks with the same chain's shape; one is stopped while a client listens."""
    async with AsyncExitStack() as stack, serve(QUIET) as second:
        first = await stack.enter_async_context(serve(QUIET))
        async with over(first, second) as (pool, address), connect(f"ws://{address}/rpc/ws") as client:
            await client.send('{"jsonrpc":"2.0","id":1,"method":"slotSubscribe"}')
            assert json.loads(await client.recv())["result"] == 1
            if pool.endpoints[0].sessions == 0:
                pytest.fail("the first endpoint serves the first client")
            assert json.loads(await client.recv())["method"] == "slotNotification"
            await stack.aclose()
            heard: list[str] = []
            async with asyncio.timeout(20):
                while heard[-3:] != ["lost", "restored", "slotNotification"]:
                    message = json.loads(await client.recv())
                    assert message["params"]["subscription"] == 1
                    heard.append(message["params"]["result"].get("state", message["method"]))
