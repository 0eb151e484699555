"""GET /rpc/health and GET /rpc/metrics: where each endpoint of the pool stands, and the pool's figures."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from api.errors import json_response
from api.rest.rpc_service import RpcService


def rpc_figures_router(service: RpcService) -> APIRouter:
    """Both doors. They show names and figures of endpoints, never a URL or a key."""
    router = APIRouter()

    @router.get("/rpc/health")
    async def health() -> Response:
        ok, found = service.health()
        return json_response({"status": "ok" if ok else "failing", **found}, 200 if ok else 503)

    @router.get("/rpc/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
