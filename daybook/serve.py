"""The API's server: what the doors are handed, and uvicorn to open them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import nats
import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.rest.rpc import rpc_router
from api.rest.rpc_service import RpcService
from api.services import ApiServices, Health, HealthCheck, runner_check
from daybook.app import Daybook, World, now_us
from domain.chain import Commitment
from domain.errors import SetupError

GRACE_S = 3
"""Answers under way get this long at the end."""

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that they never race a close."""

MAX_FRAME_BYTES = 2**20
"""Of a client's WebSocket; the doors have narrower limits of their own and say so."""


class ApiServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process stops its services itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def run_service(self, listening: socket.socket) -> None:
        """Serve until cancelled; answers under way are finished."""
        serving = asyncio.create_task(self.serve([listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            await serving
            raise


def listen(host: str, port: int, setting: str = "DAYBOOK_API_PORT") -> socket.socket:
    """A listening socket; port 0 takes a free one. Who connects from now on is answered once the server runs.

    Raises:
        SetupError: the port is taken, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise SetupError(
            f"the API cannot listen on {host} port {port}: {error.strerror}; "
            f"stop what listens there or set {setting} (0 takes a free one)"
        ) from error
    return listening


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


def serving(app: FastAPI) -> ApiServer:
    """Uvicorn over an application."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # notifications are small and latency matters
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
    )
    return ApiServer(config)


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
