"""`daybook localnet`: a local Solana in the foreground until Ctrl-C, SIGTERM or the end of its parent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daybook.cli.output import JsonFlag


def localnet(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65_534, help="JSON-RPC; WebSocket there and on the next. 0: any free.")
    ] = 8899,
    market: Annotated[
        Path | None, typer.Option(help="Follow recorded prices: a .csv.gz of 1-minute klines.")
    ] = None,
    speed: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Recorded seconds per second. Default: 600.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every address and of the crowd.")] = 1,
    slot_ms: Annotated[int, typer.Option(min=5, max=60_000, help="Milliseconds per slot.")] = 400,
    crowd_tps: Annotated[int, typer.Option(min=0, max=1_000, help="The crowd's trades per second.")] = 10,
    pools: Annotated[
        list[str] | None,
        typer.Option(help="PROTOCOL=COUNT, or `all` protocols; repeatable. Default: raydium_cpmm=2."),
    ] = None,
    program: Annotated[
        list[str] | None,
        typer.Option(help="ID=path.so: run a real binary instead of the emulation; repeatable."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="KIND=PERCENT or KIND=PERCENT:AMOUNT, e.g. drop=5, stale=20:8; repeatable."),
    ] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when standard input closes, as when the parent dies.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a local Solana: SOL/USDC pools, flash loans, price feeds, a block engine, a faucet, and a crowd.

    With --json the first line on standard output says where it listens and what is on it, the last what
    happened (slots, transactions, swaps of the crowd, price updates). The chain ends with the command.
    """
    from daybook.localnet import config_of, run_localnet  # noqa: PLC0415 - each command loads only what it needs

    config = config_of(
        port=port,
        seed=seed,
        slot_ms=slot_ms,
        crowd_tps=crowd_tps,
        market=market,
        speed=speed,
        pools=pools or [],
        programs=program or (),
        faults=fault or (),
    )
    run_localnet(config, with_parent=with_parent, as_json=as_json)
