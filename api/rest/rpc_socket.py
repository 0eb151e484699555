"""WS /rpc/ws: subscriptions and calls over one WebSocket, with a bound on what waits for a slow reader.

`?on_gap=close` closes the connection when subscriptions lose sight, for clients whose parser knows no
`gapNotification`; by default they are told and stay connected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.rest.rpc_messages import (
    INVALID_REQUEST,
    MAX_BODY_BYTES,
    Call,
    Malformed,
    compose,
    read_body,
)
from api.rest.rpc_service import Reply, RpcAnswer, RpcService, RpcSession

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 64 * 2**20
"""Messages waiting for one reader, and their bytes; beyond either the connection is closed with 1008."""
AT_ONCE: Final = 64
"""Calls of one connection under way; then its next messages wait."""
MAX_CONNECTIONS: Final = 1_000
"""Each has a connection to an endpoint; the next is told to try again later (1013)."""
CLOSE_S: Final = 1.0
"""A client that reads nothing does not read the reason either; its connection then ends with its pings."""

_TOO_SLOW: Final = 1008
_TOO_BIG: Final = 1009
_GAP: Final = 1012
_TRY_LATER: Final = 1013


class Outbox:
    """What waits for one client to read it.

    Attributes:
        closing: the code and reason to close with, once there are any.
        ended: set with `closing`.
    """

    def __init__(self) -> None:
        self.closing: tuple[int, str] | None = None
        self.ended = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()

    def push(self, message: bytes) -> None:
        """Take a message in; too many, and the client is closed."""
        if self.closing is not None:
            return
        self._waiting.append(message)
        self._bytes += len(message)
        self._filled.set()
        if len(self._waiting) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            self.close(_TOO_SLOW, "reads too slowly: notifications were waiting without end")

    def gap(self, reason: str) -> None:
        """Close the client, as it asked, for its subscriptions lost sight."""
        self.close(_GAP, f"gap: {reason}")

    def close(self, code: int, reason: str) -> None:
        """Nothing more is sent; what waits is dropped."""
        self.closing = self.closing or (code, reason[:120])  # a close frame holds 123 bytes
        self._waiting.clear()
        self._filled.set()
        self.ended.set()

    async def send_all(self, websocket: WebSocket) -> None:
        """Send as fast as the client reads, until it is to be closed."""
        while self.closing is None:
            if not self._waiting:
                self._filled.clear()
                await self._filled.wait()
                continue
            message = self._waiting.popleft()
            self._bytes -= len(message)
            await websocket.send_text(message.decode())


def rpc_socket_router(service: RpcService) -> APIRouter:
    """The WebSocket door; on POST's own path too, where some clients look for it."""
    router = APIRouter()
    connected: set[WebSocket] = set()

    async def serve(websocket: WebSocket) -> None:
        if _foreign(websocket):
            await websocket.close()  # before it is accepted: HTTP 403
            return
        await websocket.accept()
        if len(connected) >= MAX_CONNECTIONS:
            await websocket.close(_TRY_LATER, "too many connections: try again later")
            return
        connected.add(websocket)
        try:
            await _converse(service, websocket)
        finally:
            connected.discard(websocket)

    router.add_websocket_route("/rpc/ws", serve)
    router.add_websocket_route("/rpc", serve)
    return router


def _foreign(websocket: WebSocket) -> bool:
    """Whether a browser opened it from another site: programs send no Origin."""
    origin = websocket.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != websocket.headers.get("host")


async def _converse(service: RpcService, websocket: WebSocket) -> None:
    outbox = Outbox()
    on_gap = outbox.gap if websocket.query_params.get("on_gap") == "close" else None
    async with service.session(outbox.push, on_gap) as session:
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(outbox.send_all(websocket)),
            asyncio.create_task(outbox.ended.wait()),  # a client that reads nothing holds up the sending
            asyncio.create_task(_Conversation(service, session, outbox).hear(websocket)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and not isinstance(task.exception(), WebSocketDisconnect | None):
            task.result()
    if outbox.closing is not None:
        await _close(websocket, *outbox.closing)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code, reason)
    except (RuntimeError, TimeoutError, WebSocketDisconnect):
        return  # it has gone by itself


class _Conversation:
    """What one client says."""

    def __init__(self, service: RpcService, session: RpcSession, outbox: Outbox) -> None:
        self._service = service
        self._session = session
        self._outbox = outbox
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._calls: set[asyncio.Task[None]] = set()

    async def hear(self, websocket: WebSocket) -> None:
        """Serve every message until the client goes."""
        try:
            while True:
                event = await websocket.receive()
                if event["type"] == "websocket.disconnect":
                    return
                text = event.get("text")
                await self._take(event.get("bytes") or b"" if text is None else text.encode())
        finally:
            for task in self._calls:
                task.cancel()

    async def _take(self, message: bytes) -> None:
        if len(message) > MAX_BODY_BYTES:
            self._outbox.close(_TOO_BIG, f"a message of more than {MAX_BODY_BYTES:,} bytes")
            return
        found = read_body(message)
        if isinstance(found, list):
            found = Malformed(INVALID_REQUEST, "Invalid request: batches are served by POST /rpc")
        if isinstance(found, Malformed):
            self._outbox.push(found.answer())
        elif found.method.endswith("Unsubscribe"):
            await self._session.unsubscribe(found.method, found.params, self._reply(found))
        elif found.method.endswith("Subscribe"):
            await self._session.subscribe(found.method, found.params, self._reply(found))
        else:
            await self._turn.acquire()
            task = asyncio.create_task(self._call(found))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, call: Call) -> None:
        try:
            answer = await self._service.call(call.method, call.params)
        finally:
            self._turn.release()
        self._reply(call)(answer)

    def _reply(self, call: Call) -> Reply:
        def reply(answer: RpcAnswer) -> None:
            if call.id:
                self._outbox.push(compose(answer, call.id))

        return reply
