"""Solana nodes that go wrong on order, and a proxy in front of them: real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import WSMsgType, web

from adapters.rpcpool.endpoint import EndpointConfig
from adapters.rpcpool.pool import PoolOptions, RpcPool, open_pool
from api.rpc_app import create_rpc_app
from daybook.web import listen, serving

Mode = Literal["ok", "cut", "hang", "limited", "broken", "garbage", "mangled", "unhealthy", "forbidden"]


@dataclass(eq=False)
class Node:
    """A node whose slot, answers and mood a test sets.

    Attributes:
        mode: ok answers; cut closes the connection; hang never answers; limited is HTTP 429; broken is
            HTTP 500; garbage is no JSON; mangled is no UTF-8; unhealthy is -32005; forbidden is HTTP 403.
        answers: result or `Refused` by method, or a function of the params.
        retry_after: of HTTP 429.
        calls: methods that arrived.
        takes_subscriptions: whether ...Subscribe is confirmed; "silent" never answers.
        refused: kinds of subscription that are not confirmed in any case.
    """

    slot: int = 1_000
    mode: Mode = "ok"
    answers: dict[str, Any] = field(default_factory=dict)
    retry_after: str | None = None
    takes_subscriptions: bool | Literal["silent"] = True
    heartbeat: bool = True
    refused: frozenset[str] = frozenset()
    port: int = 0
    calls: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sockets: dict[web.WebSocketResponse, dict[int, tuple[str, list[Any]]]] = field(default_factory=dict)
    next_id: int = 5_000
    _release: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/secret-key"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/secret-key"

    def config(self, **parts: Any) -> EndpointConfig:  # noqa: ANN401 - as the dataclass takes them
        """An endpoint of the pool."""
        return EndpointConfig(self.url, self.ws_url, **parts)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def die(self) -> None:
        """Stop listening and cut every connection."""
        await self.drop()
        self._release.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None
        self._release = asyncio.Event()

    async def drop(self) -> None:
        """Cut every WebSocket without a word."""
        for socket in list(self.sockets):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()
        self.sockets.clear()

    async def notify(self, kind: str, result: object) -> None:
        """Tell every subscriber of this kind."""
        for socket, held in list(self.sockets.items()):
            for number, (method, _) in list(held.items()):
                if method == f"{kind}Subscribe":
                    params = {"result": result, "subscription": number}
                    message = {"jsonrpc": "2.0", "method": f"{kind}Notification", "params": params}
                    await socket.send_str(json.dumps(message))

    def subscribed(self, kind: str) -> int:
        """Subscriptions of this kind."""
        return sum(
            method == f"{kind}Subscribe" for held in self.sockets.values() for method, _ in held.values()
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        asked = json.loads(await request.read())
        self.calls.append(asked["method"])
        self.headers.append(dict(request.headers))
        return await self._react(request, asked)

    async def _react(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if self.mode == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif self.mode == "hang":
            await self._release.wait()
        elif self.mode == "limited":
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return web.Response(status=429, headers=headers, text="slow down")
        elif self.mode == "broken":
            return web.Response(status=500, text="oops")
        elif self.mode == "forbidden":
            return web.Response(status=403, text="no")
        elif self.mode == "garbage":
            return web.Response(text="<html>hello</html>")
        elif self.mode == "mangled":
            return web.Response(body=b'{"jsonrpc":"2.0","id":1,"result":"\xff\xfe"}')
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], **self._answer(asked)})

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.mode == "unhealthy":
            return {"error": {"code": -32005, "message": "Node is behind by 100 slots"}}
        method = asked["method"]
        if method in self.answers:
            answer = self.answers[method]
            answer = answer(asked["params"]) if callable(answer) else answer
            return {"error": answer.error} if isinstance(answer, Refused) else {"result": answer}
        if method == "getSlot":
            return {"result": self.slot}
        return {"error": {"code": -32601, "message": "Method not found"}}

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        held = self.sockets.setdefault(socket, {})
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                break
            answer = self._subscription(held, json.loads(message.data))
            if answer is not None:
                await socket.send_str(json.dumps(answer))
        self.sockets.pop(socket, None)
        return socket

    def _subscription(
        self, held: dict[int, tuple[str, list[Any]]], asked: dict[str, Any]
    ) -> dict[str, Any] | None:
        method, answer = asked["method"], {"jsonrpc": "2.0", "id": asked["id"]}
        if method.endswith("Unsubscribe"):
            return {**answer, "result": held.pop(asked["params"][0], None) is not None}
        if self.takes_subscriptions == "silent":
            return None
        unserved = method == "slotSubscribe" and not self.heartbeat
        if not self.takes_subscriptions or unserved or method.removesuffix("Subscribe") in self.refused:
            return {**answer, "error": {"code": -32601, "message": "Method not found"}}
        self.next_id += 1
        held[self.next_id] = (method, asked["params"])
        return {**answer, "result": self.next_id}


@dataclass
class Refused:
    """A JSON-RPC error object as an answer."""

    error: dict[str, Any]


@asynccontextmanager
async def nodes(count: int, **parts: Any) -> AsyncIterator[list[Node]]:  # noqa: ANN401 - as above
    """Nodes for the time of a block."""
    made = [Node(**parts) for _ in range(count)]
    try:
        for node in made:
            await node.start()
        yield made
    finally:
        for node in made:
            await node.die()


@asynccontextmanager
async def pool_over(
    them: Sequence[Node],
    *,
    clock: Callable[[], float] | None = None,
    **options: Any,  # noqa: ANN401 - as above
) -> AsyncIterator[RpcPool]:
    """A pool whose endpoints are nodes `n0`, `n1`, ...; nothing looks at their health but the test."""
    configs = [node.config(name=f"n{number}") for number, node in enumerate(them)]
    settings = PoolOptions(**{"hedge_percentile": None, "timeout_s": 10.0, **options})
    clocks = {} if clock is None else {"clock": clock}
    async with open_pool(configs, settings, **clocks) as pool:
        yield pool


@asynccontextmanager
async def served(pool: RpcPool) -> AsyncIterator[str]:
    """The pool's doors on a real socket; gives `127.0.0.1:port`."""
    listening = listen("127.0.0.1", 0)
    server = serving(create_rpc_app(pool))
    task = asyncio.create_task(server.run_service(listening))
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def proxy_over(
    them: Sequence[Node],
    **options: Any,  # noqa: ANN401 - as above
) -> AsyncIterator[tuple[RpcPool, str]]:
    """A pool over nodes and its doors."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(pool_over(them, **options))
        yield pool, await stack.enter_async_context(served(pool))
