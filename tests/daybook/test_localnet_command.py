"""`daybook localnet`: one ready line, a graceful end, gone with its parent, and sentences for bad input."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

TIMEOUT_S = 60  # four commands that import everything at once take ten seconds on two busy cores
ALONE = "import typer; from daybook.cli.localnet import localnet; typer.run(localnet)"
"""The command without its siblings, whose imports take seconds."""
IN_FULL = "import sys; sys.argv.insert(1, 'localnet'); from daybook.cli.main import main; main()"
"""As people run it: errors become sentences here."""


@asynccontextmanager
async def command(*words: str, code: str = ALONE) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own; killed if the test left it running."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *words, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        return (await process.stdout.readline()).decode()


async def test_it_says_where_it_listens_serves_and_ends_on_sigterm() -> None:
    async with command("--port", "0", "--json", "--slot-ms", "20") as process:
        ready = json.loads(await first_line(process))
        assert len(ready["pools"]) == 2
        assert ready["pid"] == process.pid
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "localnet_info"}
            info = (await http.post(ready["rpc_url"], json=body)).json()["result"]
        assert info["mints"] == ready["mints"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
        assert set(json.loads(output)) == {"slots", "transactions", "swaps", "price_updates"}
        assert process.returncode == 0


async def test_it_ends_when_its_parent_goes() -> None:
    async with command("--port", "0", "--with-parent") as process:
        assert (await first_line(process)).startswith("JSON-RPC   http://127.0.0.1:")
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(TIMEOUT_S):
            assert await process.wait() == 0


async def refused(*words: str) -> str:
    """The complaint of a command that must not start."""
    async with command(*words, code=IN_FULL) as process:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate()
        assert process.returncode == 2
        assert not output
        assert "Traceback" not in errors.decode()
        return errors.decode()


async def test_it_opens_the_pools_and_makes_the_faults_it_is_asked_for() -> None:
    words = ("--port", "0", "--json", "--crowd-tps", "0", "--pools", "all", "--fault", "unhealthy=100")
    async with command(*words) as process:
        ready = json.loads(await first_line(process))
        assert [pool["protocol"] for pool in ready["pools"]] == [
            "raydium_cpmm",
            "raydium_cpmm",
            "raydium_amm_v4",
            "raydium_clmm",
            "orca_whirlpool",
            "meteora_dlmm",
            "pumpswap",
        ]
        assert set(ready["price_feeds"]) == {"SOL/USD", "USDC/USD"}
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}
            answer = (await http.post(ready["rpc_url"], json=body)).json()
        assert answer["error"]["code"] == -32005


async def test_bad_pools_programs_and_faults_are_said_in_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no program")
    pools, missing, program, fault = await asyncio.gather(
        refused("--pools", "serum=1"),
        refused("--program", f"{'1' * 32}={tmp_path / 'none.so'}"),
        refused("--program", f"{'1' * 32}={text}"),
        refused("--fault", "drop=200"),
    )
    assert "'serum' is no protocol" in pools
    assert "there is no such file" in missing
    assert "is no 64 bit ELF file" in program
    assert "'200' is not a percentage from 0 to 100" in fault


async def test_a_taken_port_and_a_bad_market_are_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said, market = await asyncio.gather(
            refused("--port", port), refused("--port", "0", "--market", str(tmp_path / "none.csv.gz"))
        )
    assert f"port {port} on 127.0.0.1 cannot be used" in said
    assert "there is no such file" in market
