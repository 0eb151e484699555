"""`daybook audit`: what it prints, how it exits, and that a proof needs nothing but itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from audited import altered, fill
from solders.keypair import Keypair
from typer.testing import CliRunner

import daybook.cli.audit_anchors
import daybook.cli.audit_checkpoints
import daybook.cli.audit_notes  # noqa: F401 - the three add their commands to `audit_app`
from adapters.keys.audit_key import read_or_make
from adapters.localnet.server import LocalnetConfig, LocalnetHandle, serve
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from commands.aggregates import Aggregates
from commands.wallets import Wallets
from daybook.app import token_accounts
from daybook.cli.audit import audit_app
from daybook.clock import now_us
from domain.chain import NATIVE, Address
from domain.errors import InvalidInput, SetupError
from domain.money import Lamports
from domain.wallets.wallet import Wallet, wallet_stream

runner = CliRunner()


@pytest.fixture
async def log_url(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated, empty log in the database of the settings."""
    await migrate(database)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    monkeypatch.setenv("DAYBOOK_DATA_DIR", str(tmp_path))
    return database


async def run(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the object of the last line; a daybook error is raised, as the command line gets it."""
    result = await asyncio.to_thread(runner.invoke, audit_app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return result.exit_code, answer


async def says(*arguments: object) -> str:
    """What is printed for people."""
    result = await asyncio.to_thread(runner.invoke, audit_app, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout


async def test_signing_and_verifying_step_by_step(log_url: str, tmp_path: Path) -> None:
    """The key is made on first use, readable by its owner alone; a second walk reads only what is new."""
    assert await run("checkpoint") == (0, {"checkpoint": None})
    before = await fill(log_url, 700)
    code, signed = await run("checkpoint")
    assert (code, signed["checkpoint"]["tree_size"]) == (0, 700)
    assert (tmp_path / "audit_key.pem").stat().st_mode & 0o777 == 0o600
    await fill(log_url, 50, after=700, before=before)
    _, resumed = await run("verify")
    assert (resumed["verified"], resumed["events"], resumed["walked"], resumed["signed"]) == (
        True,
        750,
        50,
        700,
    )
    _, whole = await run("verify", "--from-start", "--every-leaf")
    assert (whole["walked"], whole["checkpoints"], whole["anchors"]) == (750, 1, None)
    assert "verified: 750 events, 750 of them read now" in await says("verify", "--from-start")


SIGN = """
import sys
from daybook.cli.main import app
app(["audit", "checkpoint"], standalone_mode=False)
print([name for name in ("api", "daybook.app", "sqlalchemy", "nats", "redis") if name in sys.modules])
"""


async def test_signing_loads_nothing_of_the_services(log_url: str) -> None:
    """They cost seconds, which a signature every minute has not."""
    await fill(log_url, 3)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SIGN], capture_output=True, text=True, timeout=60, check=True
    )
    signed, *_, loaded = done.stdout.splitlines()
    assert "signed 3 events" in signed
    assert loaded == "[]"


async def test_a_broken_record_is_named_and_nothing_is_signed_behind_it(log_url: str) -> None:
    await fill(log_url, 300)
    owner = await asyncpg.connect(log_url)
    async with altered(owner):
        await owner.execute("UPDATE events SET actor = 'someone else' WHERE position = 123")
    await owner.close()
    for command in ("verify", "checkpoint"):
        code, answer = await run(command)
        assert (code, answer["verified"], answer["position"]) == (1, False, 123)
    assert "BROKEN: the log does not verify at position 123" in await says("verify")


async def test_whose_signatures_count_must_be_known(log_url: str, tmp_path: Path) -> None:
    await fill(log_url, 10)
    _, signed = await run("checkpoint")
    (tmp_path / "audit_key.pem").rename(tmp_path / "elsewhere.pem")
    with pytest.raises(SetupError, match="no audit key is known"):
        await run("verify")
    assert (await run("verify", "--public-key", signed["checkpoint"]["public_key"]))[0] == 0
    code, answer = await run("verify", "--public-key", "00" * 32)
    assert (code, answer["position"]) == (1, 10)
    with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
        await run("verify", "--public-key", "12")


async def test_only_the_key_that_signed_signs_on(
    log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped name of the key's file neither makes a second key nor makes the record look broken."""
    before = await fill(log_url, 10)
    _, signed = await run("checkpoint")
    await fill(log_url, 1, after=10, before=before)
    monkeypatch.setenv("DAYBOOK_AUDIT_KEY_FILE", str(tmp_path / "mistyped" / "key.pem"))
    with pytest.raises(SetupError, match="there is no audit key"):
        await run("checkpoint")
    assert not (tmp_path / "mistyped").exists()
    other = read_or_make(tmp_path / "other.pem")
    monkeypatch.setenv("DAYBOOK_AUDIT_KEY_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(SetupError, match=f"audit key .* is {other.public_key.hex()}"):
        await run("checkpoint")
    monkeypatch.delenv("DAYBOOK_AUDIT_KEY_FILE")
    code, later = await run("checkpoint")
    assert (code, later["checkpoint"]["tree_size"]) == (0, 11)
    assert later["checkpoint"]["public_key"] == signed["checkpoint"]["public_key"]


async def test_a_proof_stands_alone(log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked without any database; any digit changed, and it does not hold."""
    before = await fill(log_url, 600)
    with pytest.raises(InvalidInput, match="not signed"):
        await run("prove", 300)
    _, signed = await run("checkpoint")
    await fill(log_url, 100, after=600, before=before)
    await run("checkpoint")
    event, both = tmp_path / "event.json", tmp_path / "both.json"
    assert await run("prove", 300, "--out", event) == (0, {"written": str(event)})
    await run("consistency", 600, 700, "--out", both)
    _, printed = await run("prove", 300)
    assert printed == json.loads(event.read_text())

    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    for proof in (event, both):
        code, answer = await run("check-proof", proof)
        assert (code, answer["holds"]) == (0, True)
        assert answer["public_key"] == signed["checkpoint"]["public_key"]
    assert (await run("check-proof", event, "--public-key", "11" * 32))[0] == 1
    assert "holds: event" in await says("check-proof", event)
    forged = tmp_path / "forged.json"
    forged.write_text(event.read_text().replace('"coordinator"', '"somebody"'))
    code, answer = await run("check-proof", forged)
    assert (code, answer["holds"]) == (1, False)
    assert "DOES NOT HOLD" in await says("check-proof", forged)


async def test_what_is_no_proof_is_bad_input(tmp_path: Path) -> None:
    for content in ("", "[]", '{"proof": "daybook/v2 inclusion"}'):
        (tmp_path / "it.json").write_text(content)
        with pytest.raises(InvalidInput, match="no proof"):
            await run("check-proof", tmp_path / "it.json")
    with pytest.raises(InvalidInput, match="check the path"):
        await run("check-proof", tmp_path / "nothing.json")


@pytest.mark.parametrize("arguments", [("prove", 10**20), ("consistency", 1, 10**20)])
async def test_a_position_beyond_all_is_refused_by_the_command_line(arguments: tuple[object, ...]) -> None:
    """In a sentence, before anything is asked."""
    result = await asyncio.to_thread(runner.invoke, audit_app, [*map(str, arguments)])
    assert result.exit_code == 2
    assert str(2**63 - 1) in result.output


@pytest.mark.usefixtures("log_url")
async def test_a_note_is_read_until_its_subject_is_erased() -> None:
    """The record verifies before and after; nothing personal stands in it at any time."""
    told = ("--label", "VIP", "--client-address", "192.0.2.7")
    _, first = await run("note", "prefers mornings", "--subject", "client-1", *told)
    await run("note", "prefers evenings", "--subject", "client-2")
    assert first["position"] == 1
    _, read = await run("notes", "client-1")
    (note,) = read["notes"]
    assert [note[name] for name in ("text", "label", "client_address")] == [
        "prefers mornings",
        "VIP",
        "192.0.2.7",
    ]
    assert " [VIP] [192.0.2.7]: prefers mornings" in await says("notes", "client-1")
    await run("checkpoint")
    assert await run("erase", "client-1") == (0, {"subject": "client-1", "noted": True, "erased": True})
    assert await run("erase", "client-1") == (0, {"subject": "client-1", "noted": True, "erased": False})
    erased = await says("notes", "client-1")
    assert "(erased)" in erased
    assert "VIP" not in erased
    assert "prefers evenings" in await says("notes", "client-2")
    with pytest.raises(InvalidInput, match="was erased"):
        await run("note", "again", "--subject", "client-1")
    assert (await run("verify", "--from-start"))[1]["events"] == 3
    assert "nothing was noted of 'cleint-1'" in await says("erase", "cleint-1")


@pytest.fixture
async def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalnetHandle]:
    """A local Solana of 20 ms slots, and a funded wallet in the settings."""
    keypair = Keypair.from_seed(bytes([9]) * 32)
    path = tmp_path / "wallet.json"
    path.write_text(json.dumps(list(bytes(keypair))))
    path.chmod(0o600)
    async with serve(LocalnetConfig(port=0, slot_ms=20, crowd_tps=0)) as handle:
        handle.faucet.fund(keypair.pubkey(), lamports=10**9)
        monkeypatch.setenv("DAYBOOK_RPC_URL", handle.rpc_url)
        monkeypatch.setenv("DAYBOOK_KEYPAIR_FILE", str(path))
        yield handle


async def test_an_anchor_is_compared_with_the_chain(log_url: str, network: LocalnetHandle) -> None:
    """The anchoring is on record, its fee in the wallet's books, and a record cut off behind it is found."""
    wallet = Address(str(Keypair.from_seed(bytes([9]) * 32).pubkey()))
    async with await PostgresEventLog.open(log_url) as log:
        wallets = Wallets(log, Aggregates(log), None, now_us)  # type: ignore[arg-type] # opening asks no chain
        await wallets.open(wallet, token_accounts(wallet), Lamports(0))
        code, anchored = await run("anchor")
        assert (code, anchored["tree_size"]) == (0, 1)
        assert anchored["memo"] == f"daybook/v1 n=1 root={anchored['root']}"
        recorded, fee = await log.read(after=1)
        assert (recorded.topic, recorded.event.signature) == ("audit.anchored", anchored["signature"])
        assert (fee.topic, fee.event.kind) == ("wallet.transferred", "fee")
        async with Aggregates(log).hold(Wallet, wallet_stream(wallet)) as books:
            assert books.expected[NATIVE] == -5_000
        assert "anchored 3 events" in await says("anchor")
        code, verified = await run("verify", "--chain")
        assert (code, verified["anchors"]) == (0, 2)
    await _cut_off_everything_after(log_url, 1)
    code, answer = await run("verify", "--chain")
    assert (code, answer["position"]) == (1, 2)
    assert "anchors 3 events on the chain" in answer["reason"]
    assert network.ledger.history.total > 2


async def _cut_off_everything_after(url: str, position: int) -> None:
    """As someone who owns the database and removes his traces, the checkpoints included."""
    owner = await asyncpg.connect(url)
    async with altered(owner):
        await owner.execute("DELETE FROM events WHERE position > $1", position)
        await owner.execute("DELETE FROM audit_checkpoints WHERE tree_size > $1", position)
        await owner.execute(
            "UPDATE log_head SET position = $1, hash = (SELECT hash FROM events WHERE position = $1)",
            position,
        )
    await owner.close()


@pytest.mark.usefixtures("log_url")
async def test_anchoring_says_what_is_not_set() -> None:
    with pytest.raises(SetupError, match="DAYBOOK_KEYPAIR_FILE"):
        await run("anchor")
    with pytest.raises(SetupError, match="DAYBOOK_RPC_URL"):
        await run("verify", "--chain")


async def test_what_was_signed_is_listed(log_url: str) -> None:
    """Smallest first; the rest is asked for behind the last one."""
    assert "nothing was signed yet" in await says("checkpoints")
    middle = await fill(log_url, 3)
    await run("checkpoint")
    await fill(log_url, 4, after=3, before=middle)
    await run("checkpoint")
    _, answer = await run("checkpoints")
    assert [each["tree_size"] for each in answer["checkpoints"]] == [3, 7]
    assert "--above 3" in await says("checkpoints", "--limit", "1")
    assert "7 events" in await says("checkpoints", "--above", "3")
    assert "no checkpoint vouches for more" in await says("checkpoints", "--above", "7")


async def test_every_leaf_is_read_again_though_all_is_signed(log_url: str) -> None:
    """After the last checkpoint there is nothing to read: it must not stop there."""
    await fill(log_url, 5)
    await run("checkpoint")
    code, answer = await run("verify", "--every-leaf")
    assert (code, answer["walked"]) == (0, answer["events"])
