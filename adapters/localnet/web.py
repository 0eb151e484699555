"""The local network's HTTP and WebSocket door, as one small ASGI application.

`POST /` takes JSON-RPC; a WebSocket takes subscriptions and any JSON-RPC method too. `GET /health` says ok.
The block engine is under `/api/v1`, on the same port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from adapters.localnet.encoding import Json
from adapters.localnet.faults import AnswerLost, RateLimited
from adapters.localnet.params import Params
from adapters.localnet.pubsub import Subscriptions
from adapters.localnet.refusals import PARSE_ERROR, RATE_LIMITED, RpcRefusal
from adapters.localnet.rpc import Rpc
from adapters.localnet.web_bundles import BundleDoor

MAX_BODY_BYTES: Final = 50 * 1024
"""A node's own limit on one request."""
MAX_UNSENT: Final = 10_000
"""Notifications waiting for one slow reader; beyond it the connection is closed, as a node does."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TOO_SLOW: Final = 1008


class Web:
    """The ASGI application."""

    def __init__(self, rpc: Rpc, subscriptions: Subscriptions, bundles: BundleDoor) -> None:
        self._rpc = rpc
        self._bundles = bundles
        self._subscriptions = subscriptions

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request or one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "GET":
            found = b"ok" if path == "/health" else self._bundles.get(path)
            if found is not None:
                await _respond(send, 200, found)
                return
        if scope["method"] != "POST":
            await _respond(send, 405, b"Used HTTP Method is not allowed. POST is required\n")
            return
        body = await _read_body(receive)
        if body is None:
            await _respond(send, 413, b"Request body too large\n")
            return
        try:
            await self._post(path, scope["query_string"], body, send)
        except RateLimited:
            refusal = RpcRefusal(RATE_LIMITED, "Too many requests for a specific RPC call")
            body = msgspec.json.encode(_failure(None, refusal))
            await _respond(send, 429, body, (b"retry-after", b"1"))
        except AnswerLost:
            # Promising a body and not sending it makes the server cut the connection: no answer arrives.
            headers = [(b"content-type", b"application/json"), (b"content-length", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _post(self, path: str, query: bytes, body: bytes, send: Send) -> None:
        if not self._bundles.serves(path):
            await _respond(send, 200, await self._rpc.handle(body))
            return
        answer, bundle = await self._bundles.post(path, query, body)
        await _respond(send, 200, answer, *([(b"x-bundle-id", bundle)] if bundle else []))

    async def _websocket(self, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        outbox: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_UNSENT)

        def push(message: bytes) -> None:
            if outbox.full():
                self._subscriptions.drop(push)
                outbox.get_nowait()
                outbox.put_nowait(None)
            else:
                outbox.put_nowait(message)

        sender = asyncio.create_task(_send_all(outbox, send))
        try:
            while (event := await receive())["type"] == "websocket.receive":  # ends when the peer goes
                text = event.get("text") or (event.get("bytes") or b"").decode(errors="replace")
                await self._frame(text, push)
        finally:
            self._subscriptions.drop(push)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _frame(self, text: str, push: Callable[[bytes], None]) -> None:
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            push(msgspec.json.encode(_failure(None, RpcRefusal(PARSE_ERROR, "Parse error"))))
            return
        for item in request if isinstance(request, list) else [request]:
            await self._one(item, push)

    async def _one(self, request: Any, push: Callable[[bytes], None]) -> None:  # noqa: ANN401 - any JSON
        method = request.get("method") if isinstance(request, dict) else None
        if not isinstance(method, str) or not method.endswith("ubscribe"):
            await self._call(request, push)
            return
        try:
            result = self._subscriptions.handle(method, Params(request.get("params")), push)
        except RpcRefusal as refusal:
            push(msgspec.json.encode(_failure(request.get("id"), refusal)))
            return
        if result is None:
            await self._call(request, push)
            return
        push(msgspec.json.encode({"jsonrpc": "2.0", "result": result, "id": request.get("id")}))
        if method == "signatureSubscribe":
            self._subscriptions.catch_up(result)

    async def _call(self, request: Any, push: Callable[[bytes], None]) -> None:  # noqa: ANN401 - any JSON
        try:
            push(msgspec.json.encode(await self._rpc.answer(request)))
        except RateLimited:
            refusal = RpcRefusal(RATE_LIMITED, "Too many requests for a specific RPC call")
            push(msgspec.json.encode(_failure(request.get("id"), refusal)))


async def _send_all(outbox: asyncio.Queue[bytes | None], send: Send) -> None:
    while (message := await outbox.get()) is not None:  # None ends a connection that reads too slowly
        await send({"type": "websocket.send", "text": message.decode()})
    await send({"type": "websocket.close", "code": _TOO_SLOW, "reason": "reads too slowly"})


async def _read_body(receive: Receive) -> bytes | None:
    body = b""
    more = True
    while more:  # ends with the request, or at the size limit
        event = await receive()
        if event["type"] != "http.request":
            return body
        body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


async def _respond(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _failure(name: object, refusal: RpcRefusal) -> Json:
    return {"jsonrpc": "2.0", "error": refusal.as_json(), "id": name}
