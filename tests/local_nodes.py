"""A running local node whose slots pass on demand, a funded wallet on it, and raw JSON-RPC."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from localnets import SOL, LocalChain
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Processed
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve

TIMEOUT_S = 10
_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loopback only; reading all certificates takes 60 ms a node


class Node:
    """A running local node whose slots pass on demand, a funded wallet, and raw JSON-RPC."""

    def __init__(self, handle: LocalnetHandle, client: AsyncClient, http: httpx2.AsyncClient) -> None:
        self.handle = handle
        self.client = client
        self.http = http
        self.chain = LocalChain(handle.ledger, handle.world, handle.faucet, Keypair())

    async def raw(self, method: str, *params: object, path: str = "") -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
        answer: dict[str, Any] = (await self.http.post(self.handle.rpc_url + path, json=body)).json()
        assert answer["id"] == 7
        return answer

    async def ok(self, method: str, *params: object) -> Any:  # noqa: ANN401 - any JSON
        answer = await self.raw(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def refused(self, method: str, *params: object) -> tuple[int, str]:
        error = (await self.raw(method, *params))["error"]
        return error["code"], error["message"]


@asynccontextmanager
async def local_node(config: LocalnetConfig | None = None) -> AsyncIterator[Node]:
    """A node without a crowd; its wallet holds 10 SOL, 1 wrapped SOL and 1,000 USDC."""
    async with (
        serve(config or LocalnetConfig(port=0, slot_ms=None, crowd_tps=0)) as handle,
        AsyncClient(handle.rpc_url, commitment=Processed) as client,
        httpx2.AsyncClient(timeout=TIMEOUT_S, verify=_PLAIN) as http,
    ):
        node = Node(handle, client, http)
        await node.ok(
            "localnet_fund", str(node.chain.wallet), {"lamports": 10 * SOL, "wsol": SOL, "usdc": 10**9}
        )
        yield node


def in_base64(transaction: VersionedTransaction) -> str:
    """As `sendTransaction` takes it."""
    return b64encode(bytes(transaction)).decode()
