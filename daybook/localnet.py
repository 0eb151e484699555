"""The local Solana's process: it runs in the foreground until it is stopped, or its parent is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.localnet.faults import read_standing
from adapters.localnet.genesis import DEFAULT_POOLS, read_pools
from adapters.localnet.program_files import read_programs
from adapters.localnet.server import DEFAULT_SPEED, LocalnetConfig, LocalnetHandle, serve
from daybook.cli.output import print_json, say
from domain.errors import SetupError


def config_of(
    *,
    port: int,
    seed: int,
    slot_ms: int,
    crowd_tps: int,
    market: Path | None,
    speed: int | None,
    pools: list[str],
    programs: Sequence[str],
    faults: Sequence[str],
) -> LocalnetConfig:
    """What the command line asks for; the names are its options.

    Raises:
        SetupError: an option that cannot be read.
    """
    return LocalnetConfig(
        port,
        seed,
        slot_ms,
        crowd_tps,
        market,
        DEFAULT_SPEED if speed is None else speed,
        pools=read_pools(pools) if pools else DEFAULT_POOLS,
        programs=read_programs(programs),
        faults=tuple(map(read_standing, faults)),
    )


def run_localnet(config: LocalnetConfig, *, with_parent: bool, as_json: bool) -> None:
    """Run until SIGINT, SIGTERM, or the end of standard input where the parent holds it.

    Raises:
        SetupError: the port is taken, a file cannot be read, or standard input is no pipe.
    """
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
