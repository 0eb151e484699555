"""WS /rpc/ws: subscriptions and calls on one connection; slow readers are closed with a reason."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from rpc_nodes import nodes, proxy_over
from waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.rest import rpc_socket
from api.rest.rpc_messages import MAX_BODY_BYTES


async def ask(
    connection: ClientConnection, method: str, *params: object, number: object = 1
) -> dict[str, Any]:
    await connection.send(
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})
    )
    answer: dict[str, Any] = json.loads(await connection.recv())
    return answer


@pytest.mark.parametrize("path", ["/rpc/ws", "/rpc"])
async def test_calls_and_subscriptions_share_a_connection(path: str) -> None:
    async with nodes(1) as [node], proxy_over([node]) as (_, address):
        async with connect(f"ws://{address}{path}") as connection:
            assert await ask(connection, "getSlot") == {"jsonrpc": "2.0", "result": 1_000, "id": 1}
            confirmed = await ask(connection, "accountSubscribe", "a", number="sub")
            assert confirmed == {"jsonrpc": "2.0", "result": 1, "id": "sub"}
            await node.notify("account", {"value": 5})
            assert json.loads(await connection.recv()) == {
                "jsonrpc": "2.0",
                "method": "accountNotification",
                "params": {"result": {"value": 5}, "subscription": 1},
            }
            assert (await ask(connection, "accountUnsubscribe", 1))["result"] is True
        await until(lambda: not node.sockets)


async def test_a_gap_is_told_on_the_wire() -> None:
    async with (
        nodes(2) as them,
        proxy_over(them) as (_, address),
        connect(f"ws://{address}/rpc/ws") as connection,
    ):
        await ask(connection, "slotSubscribe")
        await next(node for node in them if node.sockets).drop()
        states = [json.loads(await connection.recv())["params"] for _ in range(2)]
        assert [(each["subscription"], each["result"]["state"]) for each in states] == [
            (1, "lost"),
            (1, "restored"),
        ]
        assert states[1]["result"]["restoredAtMs"] >= states[0]["result"]["lostAtMs"]


async def test_a_client_may_ask_to_be_closed_at_a_gap() -> None:
    async with (
        nodes(2) as them,
        proxy_over(them) as (_, address),
        connect(f"ws://{address}/rpc/ws?on_gap=close") as connection,
    ):
        await ask(connection, "slotSubscribe")
        await next(node for node in them if node.sockets).drop()
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason[:4]) == (1012, "gap:")


async def test_bad_messages_are_answered_and_the_connection_lives() -> None:
    async with (
        nodes(1) as them,
        proxy_over(them) as (_, address),
        connect(f"ws://{address}/rpc/ws") as connection,
    ):
        for message, code in [("{", -32700), ("7", -32600), ('[{"id":1}]', -32600)]:
            await connection.send(message)
            assert json.loads(await connection.recv())["error"]["code"] == code
        await connection.send(b'{"jsonrpc":"2.0","id":"\xff","method":"getSlot"}')
        assert json.loads(await connection.recv())["error"]["code"] == -32700
        await connection.send(b'{"jsonrpc":"2.0","id":5,"method":"getSlot"}')
        assert json.loads(await connection.recv())["id"] == 5
        assert (await ask(connection, "nonsenseSubscribe"))["error"]["code"] == -32601
        assert (await ask(connection, "nonsenseUnsubscribe", 1))["error"]["code"] == -32601


async def test_a_message_too_long_closes_with_a_reason() -> None:
    async with (
        nodes(1) as them,
        proxy_over(them) as (_, address),
        connect(f"ws://{address}/rpc/ws") as connection,
    ):
        await connection.send("x" * (MAX_BODY_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_slow_reader_is_closed_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_socket, "MAX_WAITING_BYTES", 2**20)
    async with nodes(1) as [node], proxy_over([node]) as (pool, address):
        slow = await _raw_client(address)
        async with connect(f"ws://{address}/rpc/ws") as quick:
            await ask(quick, "slotSubscribe")
            await until(lambda: node.subscribed("account") == 1)
            block = {"value": "x" * 100_000}
            for _ in range(400):  # far more than the bound and the kernel's buffers together
                await node.notify("account", block)
                await asyncio.sleep(0)
                if node.subscribed("account") == 0:
                    break
            await until(lambda: node.subscribed("account") == 0)
            await node.notify("slot", {"slot": 5})
            assert json.loads(await quick.recv())["params"]["result"] == {"slot": 5}
        slow.close()
        await until(lambda: pool._sessions == 0)


async def _raw_client(address: str) -> socket.socket:
    """A client that subscribes, and from then on reads nothing."""
    host, port = address.split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (host, int(port)))
    upgrade = (
        f"GET /rpc/ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, upgrade.encode())
    await loop.sock_recv(raw, 1024)
    text = b'{"jsonrpc":"2.0","id":1,"method":"accountSubscribe","params":["a"]}'
    await loop.sock_sendall(raw, bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    return raw


async def test_the_reason_of_a_slow_reader_reaches_one_that_reads_again() -> None:
    outbox = rpc_socket.Outbox()
    for _ in range(rpc_socket.MAX_WAITING + 1):
        outbox.push(b"x")
    assert outbox.closing is not None
    assert outbox.closing[0] == 1008
    assert "too slowly" in outbox.closing[1]


async def test_a_page_of_another_site_is_turned_away() -> None:
    async with nodes(1) as them, proxy_over(them) as (_, address):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/rpc/ws", origin="http://evil.example")  # type: ignore[arg-type] # a NewType
        assert refused.value.response.status_code == 403
        async with connect(f"ws://{address}/rpc/ws", origin=f"http://{address}") as own:  # type: ignore[arg-type] # as above
            assert (await ask(own, "getSlot"))["result"] == 1_000


async def test_more_connections_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_socket, "MAX_CONNECTIONS", 1)
    async with (
        nodes(1) as them,
        proxy_over(them) as (_, address),
        connect(f"ws://{address}/rpc/ws") as first,
        connect(f"ws://{address}/rpc/ws") as second,
    ):
        with pytest.raises(ConnectionClosed) as closed:
            await second.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert (await ask(first, "getSlot"))["result"] == 1_000
