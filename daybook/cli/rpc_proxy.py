"""`daybook rpc-proxy`: one Solana URL over the endpoints of the settings, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from typing import Annotated

import typer

from daybook.cli.output import JsonFlag
from daybook.settings import load_settings


def rpc_proxy(
    *,
    host: Annotated[
        str | None, typer.Option(help="Where to listen.", show_default="DAYBOOK_API_HOST")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="0: any free.", show_default="DAYBOOK_RPC_POOL__PORT"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Serve the endpoints of DAYBOOK_RPC_POOL__ENDPOINTS as one: POST /rpc, WS /rpc/ws, health and metrics.

    With --json the first line on standard output says where it listens, the last how many calls it served.
    Endpoints are looked at every 30 s; no URL or key of theirs is shown.
    """
    from daybook.rpc_proxy import run_proxy  # noqa: PLC0415 - each command loads only what it needs

    settings = load_settings()
    pool = settings.rpc_pool
    raise typer.Exit(
        run_proxy(pool, host or settings.api_host, pool.port if port is None else port, as_json=as_json)
    )
