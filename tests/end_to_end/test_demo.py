"""The demo as a user runs it: a process, its exit code, its last line, its GraphQL door."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

DAYBOOK = [sys.executable, "-m", "daybook"]
ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("DAYBOOK_SHARED", ROOT.parent / "shared"))
RECORDED = SHARED / "data" / "market" / "solusdt-binance-usdm-1m-20250504-20250603.csv.gz"


def daybook(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*DAYBOOK, *arguments], cwd=cwd, capture_output=True, text=True, timeout=110, check=False, env=clean()
    )


def clean() -> dict[str, str]:
    """The environment without settings of the developer's, but with this checkout to import from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAYBOOK_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def last_line(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def check_summary(summary: dict[str, Any]) -> None:
    """The promises of the demo."""
    assert summary["reconciled"] is True
    assert summary["chain_verified"] is True
    assert summary["lag"] == 0
    assert summary["dead_letters"] == 0
    assert summary["jetstream_events"] == summary["log_events"] > 0
    assert summary["orders"] == (
        summary["trades_landed"] + summary["trades_failed"] + summary["orders_abandoned"]
    )
    assert all(balance["log"] == balance["chain"] for balance in summary["balances"])


def test_the_demo_trades_and_proves_its_books_and_answers_by_graphql(tmp_path: Path) -> None:
    """`daybook demo --keep`: the summary first, then the doors stay open until Ctrl-C."""
    process = subprocess.Popen(
        [*DAYBOOK, "demo", "--seconds", "8", "--keep", "--json", "--data-dir", str(tmp_path / "demo")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(),
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        summary = last_line(process.stdout.readline())
        check_summary(summary)
        assert summary["trades_landed"] > 0
        assert summary["realised_pnl_lamports"] > 0
        ask(graphql_url(process), summary)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def graphql_url(process: subprocess.Popen[str]) -> str:
    """The URL that --keep prints."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on; GraphQL (http://\S+);", line):
            return found.group(1)
    raise AssertionError("the demo printed no GraphQL URL")


def ask(url: str, summary: dict[str, Any]) -> None:
    """The doors answer from the read models."""
    trades = "trades(first: 3, filter: {status: LANDED}) { edges { node { id status signature } } }"
    query = f"{{ {trades} pnl {{ overall {{ landed realisedLamports }} }} }}"
    answer = httpx2.post(url, json={"query": query}, timeout=10).json()
    assert "errors" not in answer, answer
    assert all(edge["node"]["status"] == "LANDED" for edge in answer["data"]["trades"]["edges"])
    base = url.removesuffix("/graphql")
    health = httpx2.get(f"{base}/health", timeout=10)
    assert health.status_code == 200, health.text
    metrics = httpx2.get(f"{base}/metrics", timeout=10).text
    assert re.search(r"^daybook_log_head_position (\S+)$", metrics, re.MULTILINE)
    assert answer["data"]["pnl"]["overall"]["landed"] >= summary["trades_landed"]


@pytest.mark.skipif(not RECORDED.exists(), reason=f"recorded market data is not at {RECORDED}")
def test_the_demo_follows_recorded_prices(tmp_path: Path) -> None:
    """Real prices in, at least one profitable landed arbitrage, books equal to the chain."""
    done = daybook(
        "demo", "--seconds", "10", "--json", "--market", str(RECORDED), "--data-dir", str(tmp_path / "demo"),
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = last_line(done.stdout)
    check_summary(summary)
    assert summary["trades_landed"] > 0
    assert summary["realised_pnl_lamports"] > 0


def test_ctrl_c_in_a_terminal_ends_the_trading_and_proves_the_books(tmp_path: Path) -> None:
    """A terminal interrupts the whole process group; the chain must outlive it until all orders ended."""
    process = subprocess.Popen(
        [*DAYBOOK, "demo", "--seconds", "600", "--json", "--data-dir", str(tmp_path / "demo")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(),
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(r" [1-9]\d* landed", line):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=100)
    assert process.returncode == 0, said
    check_summary(last_line(out))


def test_a_market_file_of_another_format_is_refused(tmp_path: Path) -> None:
    """Exit code 2 and a sentence that names the file."""
    wrong = tmp_path / "prices.csv.gz"
    wrong.write_bytes(gzip.compress(b"date,price\n2024-01-01,100\n"))
    done = daybook("demo", "--seconds", "5", "--json", "--market", str(wrong), cwd=tmp_path)
    assert done.returncode == 2
    assert "prices.csv.gz" in done.stderr
    assert "prices.csv.gz" in last_line(done.stdout)["error"]


def test_a_demo_stopped_while_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    """SIGTERM during set-up: exit code 1, a sentence, no server left behind."""
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [*DAYBOOK, "demo", "--seconds", "60", "--data-dir", str(folder)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("starting")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "stopped before it was done" in said) == (130, True), said
    left = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert not [command for command in left if str(folder) in command]


def test_the_demo_never_empties_a_real_log(tmp_path: Path) -> None:
    """A folder that holds servers of another use is left alone."""
    folder = tmp_path / "mine"
    assert daybook("stack", "up", "--data-dir", str(folder), cwd=tmp_path).returncode == 0
    try:
        done = daybook("demo", "--seconds", "5", "--data-dir", str(folder), cwd=tmp_path)
        assert done.returncode == 2
        assert "--data-dir" in done.stderr
    finally:
        assert daybook("stack", "down", "--data-dir", str(folder), cwd=tmp_path).returncode == 0
