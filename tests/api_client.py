"""A client of our own doors for tests: the application in this process, its read models folded from a log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from list_log import ListLog
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.services import ApiServices, HealthCheck
from projections import opportunities, pnl, stories, trade_history, wallet_balances
from projections.ports import ReadStore
from projections.runner import ProjectionRunner

MODELS = tuple(module.READ_MODEL for module in (wallet_balances, pnl, trade_history, opportunities, stories))
NOW_US = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class Client:
    """Asks the application in this process."""

    http: httpx2.AsyncClient

    async def post(self, body: Mapping[str, Any]) -> httpx2.Response:
        """One GraphQL request, whatever the answer."""
        return await self.http.post("/graphql", json=body)

    async def data(self, query: str, **variables: object) -> dict[str, Any]:
        """The answer to a good question."""
        answer = (await self.post({"query": query, "variables": variables})).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def error(self, query: str) -> dict[str, Any]:
        """The first error of a bad one."""
        error: dict[str, Any] = (await self.post({"query": query})).json()["errors"][0]
        return error


@asynccontextmanager
async def client_of(
    log: ListLog,
    store: ReadStore,
    *,
    fold: bool = True,
    checks: Mapping[str, HealthCheck] | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[Client]:
    """The doors over a log and a store; with `fold` the read models are brought up to the log first."""
    for model in MODELS if fold else ():
        await ProjectionRunner(model, log, store).catch_up()
    services = ApiServices(store, log, checks or {}, registry or CollectorRegistry(), lambda: NOW_US)
    transport = httpx2.ASGITransport(app=create_app(services), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://daybook", timeout=30) as http:
        yield Client(http)
