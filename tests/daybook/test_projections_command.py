"""`daybook projections`: what it prints, how it exits, and that services and readers may go on meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import asyncpg
import pytest
from builders import random_history
from typer.testing import CliRunner

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from commands.ports import StreamAppend
from daybook.cli.projections import projections_app
from domain.errors import InvalidInput, ProjectionError
from domain.events import derived_id
from projections import wallet_balances
from projections.catalogue import READ_MODELS
from projections.runner import ProjectionRunner

NAMES = [model.name for model in READ_MODELS]


@pytest.fixture
async def url(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with a history and every read model folded, named in the settings."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as log, open_read_store(database) as store:
        for event in random_history(41, 12).events:
            step = StreamAppend(
                event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
            )
            await log.append([step], append_id=derived_id("append", event.position))
        for model in READ_MODELS:
            await ProjectionRunner(model, FoldSource(log, model), store).catch_up()
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    return database


async def ask(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the answer for each read model; the command has a loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, projections_app, [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])["projections"]
    return result.exit_code, answer


async def say(*arguments: str) -> str:
    """What it prints for people."""
    result = await asyncio.to_thread(CliRunner().invoke, projections_app, [*arguments])
    return result.stdout


@pytest.mark.usefixtures("url")
async def test_list_and_status_tell_where_each_stands() -> None:
    code, found = await ask("list")
    assert (code, [one["name"] for one in found]) == (0, NAMES)
    assert {(one["state"], one["lag"]) for one in found} == {("live", 0)}
    assert {one["name"]: one["live_version"] for one in found} == {m.name: m.version for m in READ_MODELS}
    code, (pnl,) = await ask("status", "pnl")
    assert (code, pnl["state"], pnl["dead_letters"], pnl["others"]) == (0, "live", [], [])
    assert pnl["rows"]["orders"] > 0
    assert "lag 0" in await say("list")
    assert "rows: orders" in await say("status", "pnl")


@pytest.mark.usefixtures("url")
async def test_rebuild_swaps_verified_and_keeps_the_old_one_until_drop() -> None:
    code, (built,) = await ask("rebuild", "pnl")
    assert (code, built["generation"], built["verified"], built["dropped"]) == (0, 2, True, 0)
    assert {table["name"]: table["equal"] for table in built["tables"]} == {"orders": True, "daily": True}
    code, (pnl,) = await ask("status", "pnl")
    assert (pnl["generation"], [one["state"] for one in pnl["others"]]) == (2, ["old"])
    assert await ask("drop", "pnl") == (0, [{"name": "pnl", "dropped": 1}])
    code, (built,) = await ask("rebuild", "pnl", "--drop-old", "--skip-verification")
    assert (built["generation"], built["verified"], built["dropped"]) == (3, False, 1)
    assert "answers now" in await say("rebuild", "stories")


async def rebuilt_without_a_terminal(*arguments: str) -> tuple[list[str], list[str]]:
    """The lines on standard output and on standard error."""
    command = [sys.executable, "-m", "daybook", "projections", "rebuild", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.usefixtures("url")
async def test_rebuild_without_a_terminal_tells_its_progress_in_plain_lines() -> None:
    """Each phase once at its end, for whoever reads the file later; the result stands apart."""
    (result,), progress = await rebuilt_without_a_terminal("pnl")
    assert "answers now" in result
    assert [line.split(":")[:2] for line in progress] == [
        ["pnl", f" {phase}"] for phase in ("fold", "verify", "swap")
    ]
    (result,), _ = await rebuilt_without_a_terminal("pnl", "--json")
    assert json.loads(result)["projections"][0]["generation"] == 3


async def test_verify_says_no_and_names_the_row(url: str) -> None:
    code, found = await ask("verify")
    assert (code, [one["equal"] for one in found]) == (0, [True] * len(NAMES))
    connection = await asyncpg.connect(url)
    schema = f"rm_wallet_balances_v{wallet_balances.VERSION}_g1"
    await connection.execute(f"update {schema}.balances set balance = balance + 1")  # noqa: S608 - our own name
    await connection.close()
    code, (balances,) = await ask("verify", "wallet_balances")
    assert (code, balances["equal"]) == (1, False)
    assert "DIFFER" in await say("verify", "wallet_balances")
    assert (await ask("rebuild", "wallet_balances"))[0] == 0
    assert (await ask("verify", "wallet_balances"))[0] == 0


@pytest.mark.usefixtures("url")
async def test_paused_it_rests_until_resumed() -> None:
    assert await ask("pause", "pnl") == (0, [{"name": "pnl", "paused": True, "known": True}])
    assert (await ask("status", "pnl"))[1][0]["state"] == "paused"
    assert await ask("resume", "pnl") == (0, [{"name": "pnl", "paused": False, "known": True}])
    assert (await ask("status", "pnl"))[1][0]["state"] == "live"


async def test_a_halted_one_is_a_no(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "insert into daybook_models.dead_letters "
        "(name, version, generation, position, topic, stream, error, attempts) "
        "select name, version, number, checkpoint + 1, 'order.placed', 'order-1', 'spoiled', 3 "
        "from daybook_models.generations where name = 'pnl'"
    )
    await connection.close()
    code, (pnl,) = await ask("status", "pnl")
    assert (code, pnl["state"], pnl["dead_letters"][0]["error"]) == (1, "halted", "spoiled")
    assert "dead letter" in await say("status", "pnl")


async def test_before_anything_was_folded(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(database)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    assert {one["state"] for one in (await ask("list"))[1]} == {"new"}
    assert (await ask("pause", "pnl"))[0] == 1
    with pytest.raises(ProjectionError, match="never folded"):
        await ask("verify", "pnl")


async def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="wallet_balances, pnl"):
        await ask("status", "profit")


async def test_one_that_cannot_be_compared_hides_no_difference(url: str) -> None:
    """Of all read models each is told of: one was never folded, one was changed by hand."""
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM daybook_models.generations WHERE name = 'opportunities'")
    await connection.execute("UPDATE rm_pnl.daily SET wins = wins + 1")
    await connection.close()
    code, found = await ask("verify")
    told = {one["name"]: one for one in found}
    assert (code, list(told)) == (1, NAMES)
    assert "never folded" in told["opportunities"]["error"]
    assert [told[name]["equal"] for name in ("pnl", "wallet_balances")] == [False, True]
    assert "opportunities: read model" in (said := await say("verify"))
    assert "DIFFER" in said


async def test_one_that_cannot_be_rebuilt_leaves_the_others_to_be(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DROP TRIGGER never_changed ON events")
    await connection.execute(
        "UPDATE events SET data = '{}' "
        "WHERE position = (SELECT min(position) FROM events WHERE type = 'order.landed')"
    )
    await connection.close()
    code, found = await ask("rebuild")
    assert (code, [one["name"] for one in found]) == (1, NAMES)
    assert {"pnl", "wallet_balances"} <= {one["name"] for one in found if "error" not in one}
    assert any("cannot fold" in one.get("error", "") for one in found)
