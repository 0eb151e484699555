"""A Solana node that says what a test tells it to: for the answers a healthy node never gives."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from solders.pubkey import Pubkey
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed


@dataclass
class Raw:
    """An HTTP answer that is not JSON-RPC."""

    body: bytes
    status: int = 200


@dataclass
class Refusal:
    """A JSON-RPC error object."""

    error: Any


Answer = Callable[[list[Any]], Any]


@dataclass
class ScriptedNode:
    """Accounts in a dictionary, answers by method; HTTP and WebSocket on loopback."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    slot: int = 100
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    refuse_subscriptions: bool = False
    confirm_subscriptions: bool = True
    http_url: str = ""
    ws_url: str = ""
    sockets: dict[ServerConnection, dict[int, tuple[str, list[Any]]]] = field(default_factory=dict)
    next_id: int = 1

    def put(self, address: object, owner: Pubkey, data: bytes, lamports: int = 1) -> None:
        """Store an account."""
        self.accounts[str(address)] = {
            "lamports": lamports,
            "owner": str(owner),
            "data": [base64.b64encode(data).decode(), "base64"],
            "executable": False,
            "rentEpoch": 2**64 - 1,
            "space": len(data),
        }

    def answer(self, method: str, params: list[Any]) -> object:
        self.calls.append((method, params))
        if method in self.answers:
            return self.answers[method](params)
        if method == "getMultipleAccounts":
            return {"context": {"slot": self.slot}, "value": [self.accounts.get(key) for key in params[0]]}
        return Refusal({"code": -32601, "message": "Method not found"})

    def subscriptions(self) -> list[tuple[ServerConnection, int, str, list[Any]]]:
        """What is subscribed: socket, number, method, params."""
        return [
            (socket, number, method, params)
            for socket, held in self.sockets.items()
            for number, (method, params) in held.items()
        ]

    async def notify(self, address: object, *, slot: int | None = None) -> None:
        """Tell every subscriber that an account changed."""
        value = self.accounts.get(str(address))
        result = {"context": {"slot": slot or self.slot}, "value": value}
        for socket, number, method, params in self.subscriptions():
            if method == "accountSubscribe" and params[0] == str(address):
                await send(socket, "accountNotification", number, result)

    async def drop(self) -> None:
        """Cut every WebSocket without a word."""
        for socket in list(self.sockets):
            socket.transport.abort()
        self.sockets.clear()


async def send(socket: ServerConnection, method: str, number: int, result: object) -> None:
    """Send one notification."""
    params = {"result": result, "subscription": number}
    await socket.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


@asynccontextmanager
async def scripted_node() -> AsyncIterator[ScriptedNode]:
    """Run a node for the time of a block."""
    node = ScriptedNode()
    http = await asyncio.start_server(lambda r, w: _http(node, r, w), "127.0.0.1", 0)
    ws = await serve_websocket(lambda socket: _websocket(node, socket), "127.0.0.1", 0)
    node.http_url = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
    node.ws_url = f"ws://127.0.0.1:{next(iter(ws.sockets)).getsockname()[1]}"
    try:
        yield node
    finally:
        http.close()
        ws.close()
        await ws.wait_closed()


async def _http(node: ScriptedNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            request = json.loads(await reader.readexactly(length))
            answer = node.answer(request["method"], request["params"])
            if asyncio.iscoroutine(answer):
                answer = await answer
            writer.write(_response(request["id"], answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client went away
    finally:
        writer.close()


def _response(number: int, answer: object) -> bytes:
    if isinstance(answer, Raw):
        status, body = answer.status, answer.body
    else:
        part = {"error": answer.error} if isinstance(answer, Refusal) else {"result": answer}
        status, body = 200, json.dumps({"jsonrpc": "2.0", "id": number, **part}).encode()
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def _websocket(node: ScriptedNode, socket: ServerConnection) -> None:
    held = node.sockets.setdefault(socket, {})
    try:
        async for frame in socket:
            request = json.loads(frame)
            method, number = request["method"], request["id"]
            if method.endswith("Unsubscribe"):
                held.pop(request["params"][0], None)
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": True}))
            elif node.refuse_subscriptions:
                error = {"code": -32602, "message": "Invalid params: no"}
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))
            elif node.confirm_subscriptions:
                held[node.next_id] = (method, request["params"])
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": node.next_id}))
                node.next_id += 1
    except ConnectionClosed:
        pass  # dropped by the test
    finally:
        node.sockets.pop(socket, None)
