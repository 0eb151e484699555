"""The doors put together: GraphQL, health and metrics in one ASGI application; services are handed in."""

from __future__ import annotations

from fastapi import FastAPI

from api import errors
from api.graphql.route import graphql_router
from api.rest.health import health_router
from api.rest.metrics import metrics_router
from api.services import ApiServices


def create_app(services: ApiServices) -> FastAPI:
    """The application; run it with any ASGI server. It starts and stops nothing by itself."""
    # FastAPI's own documentation pages load scripts from a foreign host
    app = FastAPI(title="daybook", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app, "POST /graphql, GET /graphql/schema, /health and /metrics")
    app.include_router(graphql_router(services))
    app.include_router(health_router(services))
    app.include_router(metrics_router(services))
    return app
