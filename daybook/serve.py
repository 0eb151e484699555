"""The API's server: what the doors are handed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import nats
import redis.asyncio as redis
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.rest.rpc import rpc_router
from api.rest.rpc_service import RpcService
from api.services import ApiServices, Health, HealthCheck, runner_check
from daybook.app import Daybook, World
from daybook.clock import now_us
from daybook.web import ApiServer, serving
from domain.chain import Commitment


def api_server(daybook: Daybook, world: World, rpc: RpcService | None = None) -> ApiServer:
    """The API over a wired daybook; with `rpc`, the RPC proxy's doors beside it."""
    services = ApiServices(
        reads=daybook.reads,
        log=daybook.log,
        checks=_checks(daybook, world),
        registry=CollectorRegistry(),
        clock=now_us,
    )
    app = create_app(services)
    if rpc is not None:
        app.include_router(rpc_router(rpc))
    return serving(app)


def _checks(daybook: Daybook, world: World) -> dict[str, HealthCheck]:
    return {
        "postgres": _check(lambda: _log_head(daybook)),
        "nats": _check(lambda: _nats(world.nats_url)),
        "redis": _check(lambda: _redis(world.redis_url)),
        "solana": _check(lambda: _solana(daybook)),
        "relay": lambda: _relay(daybook),
        **{f"runner:{runner.status.name}": runner_check(runner) for runner in daybook.runners},
    }


def _check(look: Callable[[], Awaitable[str]]) -> HealthCheck:
    async def check() -> Health:
        return Health(ok=True, detail=await look())

    return check


async def _log_head(daybook: Daybook) -> str:
    return f"log at position {await daybook.log.head()}"


async def _nats(url: str) -> str:
    client = await nats.connect(url, connect_timeout=2, allow_reconnect=False)
    try:
        account = await client.jetstream().account_info()
        return f"{account.streams} streams"
    finally:
        await client.close()


async def _redis(url: str) -> str:
    client = redis.from_url(url)
    try:
        await client.ping()
        return "answers"
    finally:
        await client.aclose()


async def _solana(daybook: Daybook) -> str:
    return f"slot {(await daybook.chain.tip(Commitment.PROCESSED)).slot}"


async def _relay(daybook: Daybook) -> Health:
    lag = await daybook.relay.lag()
    return Health(ok=True, detail=f"{lag} positions behind", figures={"lag": lag})
