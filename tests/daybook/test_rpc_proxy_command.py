"""`daybook rpc-proxy`: one ready line, served calls, a graceful end, sentences without keys for bad input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from rpc_nodes import Node, nodes
from websockets.asyncio.client import connect

from adapters.rpcpool.endpoint import named
from daybook.settings import load_settings
from domain.errors import SetupError

TIMEOUT_S = 60
CODE = "import typer; from daybook.cli.rpc_proxy import rpc_proxy; typer.run(rpc_proxy)"
"""The command without its siblings, whose imports take seconds."""


@asynccontextmanager
async def command(endpoints: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own; killed if the test left it running."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "DAYBOOK_RPC_POOL__ENDPOINTS": endpoints}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CODE, *words, stdout=pipe, stderr=pipe, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def endpoint(node: Node, **parts: object) -> dict[str, object]:
    return {"url": node.url, "ws_url": node.ws_url, **parts}


async def test_it_serves_and_ends_on_sigterm_with_clients_still_there() -> None:
    async with nodes(2) as them:
        endpoints = json.dumps([endpoint(node, headers={"x-token": "hush"}) for node in them])
        async with command(endpoints, "--port", "0", "--json") as process:
            assert process.stdout is not None
            async with asyncio.timeout(TIMEOUT_S):
                ready = json.loads(await process.stdout.readline())
            assert ready["endpoints"] == 2
            body = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}
            async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http, connect(ready["ws_url"]):
                assert (await http.post(ready["rpc_url"], json=body)).json()["result"] == 1_000
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(TIMEOUT_S):
                    output, logged = await process.communicate()
            assert json.loads(output.splitlines()[-1]) == {"calls": 1}
            assert process.returncode == 0
            assert b"hush" not in logged + output
            assert b"secret-key" not in logged + output


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        ("not json KEY", "no JSON"),
        ('[{"url": "ftp://x/KEY"}]', "not http://HOST"),
        ('[{"url": "http://x/KEY", "wieght": 3}]', "WIEGHT"),
        ('[{"url": "http://x/KEY", "weight": "KEY"}]', "WEIGHT"),
    ],
)
def test_bad_endpoints_are_a_sentence_without_the_key(
    endpoints: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAYBOOK_RPC_POOL__ENDPOINTS", endpoints)
    with pytest.raises(SetupError, match=says) as refused:
        named(load_settings().rpc_pool.configs(), 0.0)
    assert "KEY" not in str(refused.value)


def test_settings_show_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    endpoints = '[{"url": "http://x/KEY", "ws_url": "ws://x/KEY", "headers": {"token": "KEY"}}]'
    monkeypatch.setenv("DAYBOOK_RPC_POOL__ENDPOINTS", endpoints)
    settings = load_settings()
    assert "KEY" not in repr(settings)
    assert "KEY" not in settings.model_dump_json()
    [config] = settings.rpc_pool.configs()
    assert (config.url, config.ws_url, config.headers) == ("http://x/KEY", "ws://x/KEY", {"token": "KEY"})
