"""A local Solana in a process of its own, for as long as the demo needs it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.errors import SetupError

READY_TIMEOUT_S: Final = 60.0
"""Creating the pools takes a second; a market file of a month takes a few more to read."""

STOP_TIMEOUT_S: Final = 10.0
"""A local network has nothing to save; longer means it hangs."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How the local network behaves.

    Attributes:
        seed: of the crowd and every address.
        slot_ms: milliseconds a slot; 400 on mainnet.
        market: a file of recorded prices for the crowd to follow.
        speed: recorded seconds a second.
    """

    seed: int
    slot_ms: int
    market: Path | None
    speed: int

    def arguments(self) -> list[str]:
        """The command line of `daybook localnet`."""
        words = ["--port", "0", "--json", "--seed", str(self.seed), "--slot-ms", str(self.slot_ms)]
        if self.market is not None:
            words += ["--market", str(self.market), "--speed", str(self.speed)]
        return words


@dataclass(frozen=True, slots=True)
class Network:
    """A running local network: where it listens and what is on it."""

    rpc_url: str
    ws_url: str
    pools: tuple[str, ...]


@asynccontextmanager
async def local_network(options: NetworkOptions) -> AsyncIterator[Network]:
    """Start a local network, wait until it answers, stop it at the end.

    It dies with this process, even when this process is killed.

    Raises:
        SetupError: it did not start; the message is its own.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daybook", "localnet", *options.arguments(), "--with-parent",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal is for us alone: open orders still need their chain
    )  # fmt: skip
    errors = asyncio.create_task(_drain(process.stderr))
    try:
        ready = await _ready(process, errors)
        yield Network(ready["rpc_url"], ready["ws_url"], tuple(pool["address"] for pool in ready["pools"]))
    finally:
        await _stop(process)
        await errors


async def _drain(stream: asyncio.StreamReader | None) -> str:
    """Read to the end so the child never blocks; keeps the last lines for an error message."""
    last: list[str] = []
    while stream is not None and (line := await stream.readline()):
        last = [*last[-20:], line.decode(errors="replace")]
    return "".join(last)


async def _ready(process: asyncio.subprocess.Process, errors: asyncio.Task[str]) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it was asked for as a pipe
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_TIMEOUT_S)
    except TimeoutError:
        raise SetupError(
            f"the local network was not ready within {READY_TIMEOUT_S:.0f} s: try again"
        ) from None
    if not line.startswith(b'{"rpc_url"'):
        said = (await errors).strip().splitlines()
        reason = said[-1].removeprefix("daybook: ") if said else "it ended without a word"
        raise SetupError(reason)
    ready: dict[str, Any] = msgspec.json.decode(line)
    return ready


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
