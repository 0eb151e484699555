"""The RPC proxy's process: the pool, its monitor, and uvicorn in front of them."""

from __future__ import annotations

import structlog

from adapters.rpcpool.pool import RpcPool, open_pool
from api.rpc_app import create_rpc_app
from daybook.cli.output import DONE, print_json, say
from daybook.rpc_settings import RpcPoolSettings
from daybook.signals import StopRequest, run_stoppable
from daybook.supervise import supervised
from daybook.web import listen, serving

log = structlog.get_logger()


def run_proxy(settings: RpcPoolSettings, host: str, port: int, *, as_json: bool) -> int:
    """Serve until SIGINT or SIGTERM; calls under way are answered first.

    Raises:
        SetupError: no endpoints, an endpoint's URL names no node, or the port is taken.
    """
    return run_stoppable(lambda stop: _run(settings, host, port, stop, as_json=as_json))


async def _run(settings: RpcPoolSettings, host: str, port: int, stop: StopRequest, *, as_json: bool) -> int:
    async with open_pool(settings.configs(), settings.options()) as pool:
        listening = listen(host, port, "DAYBOOK_RPC_POOL__PORT")
        server = serving(create_rpc_app(pool))
        services = {"rpc-health": pool.monitor.run, "rpc": lambda: server.run_service(listening)}
        _announce(host, listening.getsockname()[1], pool, as_json=as_json)
        async with supervised(services):
            with stop.heeded():
                await stop.asked.wait()
            log.info("stopping")
        if as_json:
            print_json({"calls": pool.served})
        else:
            say(f"{pool.served} calls served")
    return DONE


def _announce(host: str, port: int, pool: RpcPool, *, as_json: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    facts = {
        "rpc_url": f"http://{shown}:{port}/rpc",
        "ws_url": f"ws://{shown}:{port}/rpc/ws",
        "endpoints": len(pool.endpoints),
    }
    if as_json:
        print_json(facts)
        return
    say(f"JSON-RPC   {facts['rpc_url']}")
    say(f"WebSocket  {facts['ws_url']}")
    say(f"endpoints  {facts['endpoints']}; where each stands: http://{shown}:{port}/rpc/health")
    say("Ctrl-C stops it.")
