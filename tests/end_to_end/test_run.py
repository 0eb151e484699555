"""`daybook run` as a user runs it: own node, own key file, embedded servers, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from solders.keypair import Keypair
from waiting import until

ROOT = Path(__file__).parents[2]
KEYPAIR = Keypair.from_seed(bytes([21] * 32))
WALLET = str(KEYPAIR.pubkey())


def started(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "daybook", *arguments, "--json"],
        cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(*arguments: str, env: dict[str, str], cwd: Path) -> tuple[int, dict[str, Any]]:
    process = started(*arguments, env=env, cwd=cwd)
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out.strip().splitlines()[-1]) if out.strip() else {"error": err}


@contextmanager
def running(
    *arguments: str, env: dict[str, str], cwd: Path
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A command in the background and its first line; interrupted at the end."""
    process = started(*arguments, env=env, cwd=cwd)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.communicate(timeout=30)[1]
        yield process, json.loads(first)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No settings of the developer's; this checkout to import from; a key file of the owner's alone."""
    key = tmp_path / "id.json"
    key.touch(mode=0o600)
    key.write_text(json.dumps(list(bytes(KEYPAIR))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAYBOOK_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "DAYBOOK_KEYPAIR_FILE": str(key),
        "DAYBOOK_DATA_DIR": str(tmp_path / "data"),
        "DAYBOOK_API_PORT": "0",
        "DAYBOOK_ARBITRAGE__TIP_LAMPORTS": "0",
    }


def rpc(url: str, method: str, *params: object) -> Any:  # noqa: ANN401 - JSON
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx2.post(url, json=body, timeout=10).json()["result"]


def trades(url: str) -> list[str]:
    """The statuses of all trades."""
    query = "{ trades(first: 500) { nodes { status } } }"
    answer = httpx2.post(url, json={"query": query}, timeout=10).json()
    return [node["status"] for node in answer["data"]["trades"]["nodes"]]


@pytest.mark.timeout(240)  # a dozen commands, each with a start-up of its own
async def test_run_trades_until_ctrl_c_and_the_books_equal_the_chain(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """Set-up refused in a sentence, then fund, book, trade, stop, reconcile."""
    with running("localnet", "--port", "0", "--slot-ms", "40", "--with-parent", env=env, cwd=tmp_path) as (
        _,
        node,
    ):
        env |= {
            "DAYBOOK_RPC_URL": node["rpc_url"],
            "DAYBOOK_WS_URL": node["ws_url"],
            "DAYBOOK_POOLS": json.dumps([pool["address"] for pool in node["pools"]]),
            "DAYBOOK_RPC_POOL__ENDPOINTS": json.dumps([{"url": node["rpc_url"], "ws_url": node["ws_url"]}]),
        }
        code, refused = finished("run", env=env, cwd=tmp_path)
        assert (code, "spl-token create-account" in refused["error"]) == (2, True), refused
        funds = {"lamports": 10**10, "wsol": 5 * 10**11, "usdc": 10**9}
        deposit = rpc(node["rpc_url"], "localnet_fund", WALLET, funds)
        with running("run", env=env, cwd=tmp_path) as (process, said):
            await until(
                lambda: finished("wallets", "book", deposit, env=env, cwd=tmp_path)[0] == 0, timeout_s=60
            )
            await until(lambda: "LANDED" in trades(said["graphql_url"]), timeout_s=60)
            rpc(node["rpc_url"], "localnet_setSwapsPaused", True)
            closed = {"LANDED", "FAILED", "ABANDONED"}
            await until(lambda: set(trades(said["graphql_url"])) <= closed, timeout_s=60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert json.loads(out.splitlines()[-1])["log_events"] > 0
        code, books = finished("wallets", "balances", "--halt", env=env, cwd=tmp_path)
        assert (code, books["agrees"], books["halted"]) == (0, True, None), books
        assert finished("strategies", "stop", "arbitrage", env=env, cwd=tmp_path)[0] == 0
        rpc(node["rpc_url"], "localnet_fund", WALLET, {"lamports": 7})
        with running("run", env=env, cwd=tmp_path) as (process, said):
            assert "LANDED" in trades(said["graphql_url"])  # it runs, and answers
            assert rpc(said["graphql_url"].replace("/graphql", "/rpc"), "getSlot") > 0  # as the proxy too
            code, listed = finished("strategies", "list", env=env, cwd=tmp_path)
            assert (code, listed["strategies"][0]["stopped"]) == (1, "user")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert "daybook strategies resume arbitrage" in err
            assert "daybook wallets book SIGNATURE" in err
        code, resumed = finished("strategies", "resume", "arbitrage", env=env, cwd=tmp_path)
        assert (code, resumed["was_stopped"]) == (0, True)


def test_a_missing_setting_is_named(tmp_path: Path, env: dict[str, str]) -> None:
    """Exit code 2, which setting, and what to do instead."""
    code, refused = finished("run", env=env, cwd=tmp_path)
    assert code == 2
    assert "DAYBOOK_RPC_URL" in refused["error"]
    assert not (tmp_path / "data").exists()
