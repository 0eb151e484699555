"""POST /rpc: JSON-RPC to the pool, single or in batches; any Solana client can use it as its URL."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.rest.rpc_figures import rpc_figures_router
from api.rest.rpc_messages import INVALID_REQUEST, MAX_BODY_BYTES, Call, Malformed, compose, read_body
from api.rest.rpc_service import RpcService
from api.rest.rpc_socket import rpc_socket_router

AT_ONCE: Final = 16
"""Calls of one batch under way: a batch must not take the pool from everybody else."""
_JSON: Final = "application/json"


def rpc_router(service: RpcService) -> APIRouter:
    """The RPC doors: POST /rpc, WS /rpc/ws, GET /rpc/health, GET /rpc/metrics."""
    router = APIRouter()

    async def rpc(request: Request) -> Response:
        # a browser sends JSON to a foreign host only when that host agrees, and this one never does
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _JSON:
            return _refused(415, "Invalid request: send it with the header Content-Type: application/json")
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if body is None:
            return _refused(413, f"Invalid request: more than {MAX_BODY_BYTES:,} bytes")
        return await _answer(service, body)

    # a plain route: what FastAPI does for typed ones would cost as much as the call itself
    router.add_route("/rpc", rpc, methods=["POST"])
    router.include_router(rpc_socket_router(service))
    router.include_router(rpc_figures_router(service))
    return router


async def _body(request: Request) -> bytes | None:
    """The whole body; None as soon as it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


async def _answer(service: RpcService, body: bytes) -> Response:
    found = read_body(body)
    if isinstance(found, list):
        return await _batch(service, found)
    if isinstance(found, Malformed):
        return Response(found.answer(), 400, media_type=_JSON)
    answer = await service.call(found.method, found.params)
    if not found.id:
        return Response(status_code=204)
    headers = {}
    if answer.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(answer.retry_after_s)))
    return Response(compose(answer, found.id), answer.status, headers, media_type=_JSON)


async def _batch(service: RpcService, found: list[Call | Malformed]) -> Response:
    """Every call of a batch, answered in its order; its HTTP status is 200 whatever they meet."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(item: Call | Malformed) -> bytes:
        if isinstance(item, Malformed):
            return item.answer()
        async with turn:
            answer = await service.call(item.method, item.params)
        return compose(answer, item.id) if item.id else b""

    answers = [answer for answer in await asyncio.gather(*map(one, found)) if answer]
    if not answers:
        return Response(status_code=204)
    return Response(b"[" + b",".join(answers) + b"]", media_type=_JSON)


def _refused(status: int, found: str) -> Response:
    return Response(Malformed(INVALID_REQUEST, found).answer(), status, media_type=_JSON)
