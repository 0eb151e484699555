"""`daybook quotes`: asked once or served, on a local Solana, stopped gracefully, refused in a sentence."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from adapters.embedded.stack import StackUrls
from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from api.grpc import quotes_pb2 as messages
from api.grpc import quotes_pb2_grpc as stubs
from daybook.quotes import _ask
from daybook.settings import load_settings
from domain.chain import USDC, WSOL
from domain.errors import QuoteError, SetupError
from domain.market.quotes import QuoteRequest

TIMEOUT_S = 60


def environment(network: LocalnetHandle, stack: StackUrls, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DAYBOOK_RPC_URL": network.rpc_url,
        "DAYBOOK_WS_URL": network.ws_url,
        "DAYBOOK_DATA_DIR": str(folder),
        "DAYBOOK_REDIS_URL": stack.redis_url,
        "DAYBOOK_QUOTES__HTTP_PORT": "0",
        "DAYBOOK_QUOTES__GRPC_PORT": "0",
    }


@asynccontextmanager
async def command(env: dict[str, str], *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command running; killed at the end where it still does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daybook", "quotes", *words, "--json", stdout=asyncio.subprocess.PIPE, env=env
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_until_it_is_told_to_stop(
    stack: StackUrls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says where it listens; both doors answer alike; SIGTERM ends it with what changed."""
    async with (
        serve(LocalnetConfig(port=0, slot_ms=50, crowd_tps=0)) as network,
        command(environment(network, stack, tmp_path), "serve") as process,
    ):
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            facts = json.loads(await process.stdout.readline())
        assert facts["pools_quotable"] >= 2
        assert facts["warmed_up"] == 2
        question: dict[str, Any] = {"input_mint": WSOL, "output_mint": USDC, "amount": 10**9}
        async with httpx2.AsyncClient(base_url=facts["http_url"], timeout=TIMEOUT_S) as http:
            rest = (await http.post("/v1/quote", json=question)).json()
            assert (await http.get("/v1/health")).status_code == 200
        async with grpc.aio.insecure_channel(facts["grpc_address"]) as channel:
            twin = await stubs.QuotesStub(channel).Quote(messages.QuoteRequest(**question), timeout=TIMEOUT_S)
        assert int(rest["amount_out"]) == twin.amount_out > 0
        settings = load_settings(rpc_url=network.rpc_url, ws_url=network.ws_url, data_dir=tmp_path)
        assert await _ask(settings, QuoteRequest(WSOL, USDC, 10**9), as_json=True) == 0
        assert json.loads(capsys.readouterr().out)["amount_out"] == rest["amount_out"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
        assert json.loads(output.splitlines()[-1])["pools"] == facts["pools_quotable"]
        assert process.returncode == 0


async def test_bad_questions_and_settings_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is connected to."""
    with pytest.raises(QuoteError, match="itself"):
        await _ask(load_settings(), QuoteRequest(WSOL, WSOL, 5), as_json=True)
    with pytest.raises(SetupError, match="DAYBOOK_RPC_URL"):
        await _ask(load_settings(), QuoteRequest(WSOL, USDC, 5), as_json=True)
    monkeypatch.setenv("DAYBOOK_QUOTES__PROTOCOLS", '["uniswap"]')
    with pytest.raises(SetupError, match="DAYBOOK_QUOTES__PROTOCOLS"):
        load_settings()
