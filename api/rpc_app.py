"""The RPC doors alone, as one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI

from api import errors
from api.rest.rpc import rpc_router
from api.rest.rpc_service import RpcService


def create_rpc_app(service: RpcService) -> FastAPI:
    """The application; run it with any ASGI server. It starts and stops nothing by itself."""
    # FastAPI's own documentation pages load scripts from a foreign host
    app = FastAPI(title="daybook rpc proxy", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app, "POST /rpc, WS /rpc/ws, GET /rpc/health and /rpc/metrics")
    app.include_router(rpc_router(service))
    return app
