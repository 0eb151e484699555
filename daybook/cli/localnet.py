"""`daybook localnet`: a local Solana in the foreground until Ctrl-C, SIGTERM or the end of its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from adapters.localnet.faults import read_standing
from adapters.localnet.genesis import DEFAULT_POOLS, read_pools
from adapters.localnet.program_files import read_programs
from adapters.localnet.server import DEFAULT_SPEED, LocalnetConfig, LocalnetHandle, serve
from daybook.cli.output import JsonFlag, print_json, say
from domain.errors import SetupError


def localnet(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65_534, help="JSON-RPC; WebSocket there and on the next. 0: any free.")
    ] = 8899,
    market: Annotated[
        Path | None, typer.Option(help="Follow recorded prices: a .csv.gz of 1-minute klines.")
    ] = None,
    speed: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Recorded seconds per second, with --market.")
    ] = DEFAULT_SPEED,
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
    happened (slots, transactions, swaps of the crowd, price updates).
    The chain lives in memory and ends with the command.
    """
    config = LocalnetConfig(
        port,
        seed,
        slot_ms,
        crowd_tps,
        market,
        speed,
        pools=read_pools(pools) if pools else DEFAULT_POOLS,
        programs=read_programs(program or ()),
        faults=tuple(map(read_standing, fault or ())),
    )
    asyncio.run(_run(config, with_parent=with_parent, as_json=as_json))


async def _run(config: LocalnetConfig, *, with_parent: bool, as_json: bool) -> None:
    async with serve(config) as network:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, network.stopped.set)
        if with_parent:
            await _watch_standard_input(network.stopped)
        print_json(network.ready()) if as_json else _greet(network)
        await network.stopped.wait()
        totals = network.totals()
    if as_json:
        print_json(totals)
    else:
        say(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in totals.items()))


async def _watch_standard_input(stop: asyncio.Event) -> None:
    """Set `stop` at the end of standard input: the pipe closes even when the parent is killed."""

    class Watcher(asyncio.Protocol):
        def eof_received(self) -> None:
            stop.set()

        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
            stop.set()

    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or sys.stdin.isatty()):
        raise SetupError(
            "--with-parent watches standard input, which is neither a pipe nor a terminal here: "
            "start it with a pipe, or without --with-parent"
        )
    await asyncio.get_running_loop().connect_read_pipe(Watcher, sys.stdin)


def _greet(network: LocalnetHandle) -> None:
    ready = network.ready()
    say(f"JSON-RPC   {ready['rpc_url']}")
    say(f"WebSocket  {ready['ws_url']}")
    say(f"bundles    {ready['block_engine_url']}")
    for name, address in ready["mints"].items():
        say(f"{name.upper():<10} {address}")
    for pool in ready["pools"]:
        say(f"pool       {pool['address']}  {pool['protocol']}, fee {pool['trade_fee_rate'] / 10_000:.2f} %")
    for reserve in ready["flash_reserves"]:
        say(f"flash loan {reserve['address']}  {reserve['protocol']} reserve of {reserve['mint']}")
    for name, address in ready["price_feeds"].items():
        say(f"{name:<10} {address}  pyth")
    say(f"faucet     {ready['faucet']}")
    say("Ctrl-C stops it.")
