"""`daybook events export|import|archive|restore`: what they print, how they exit, what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from databases import fresh_database
from partitioned import SPAN, fill, migrate_with_small_partitions, partitions_made_in_time
from typer.testing import CliRunner

from adapters.embedded.stack import StackUrls
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from daybook.cli.events import events_app
from daybook.cli.output import NO
from domain.errors import InvalidInput, LogUnavailable, SetupError

runner = CliRunner()


@pytest.fixture
async def log_url(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log of four partitions and a bit, in the database of the settings."""
    await migrate_with_small_partitions(database)
    with partitions_made_in_time(monkeypatch):
        async with await PostgresEventLog.open(database) as log:
            await fill(log, 4 * SPAN + 8)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    return database


async def run(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and the object of the last line; a daybook error is raised, as the command line gets it."""
    result = await asyncio.to_thread(runner.invoke, events_app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return result.exit_code, answer


async def says(*arguments: str | Path, code: int = 0) -> str:
    """What is printed for people."""
    result = await asyncio.to_thread(runner.invoke, events_app, [*map(str, arguments)])
    assert result.exit_code == code, result.exception
    return result.output


@pytest.mark.usefixtures("log_url")
@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
async def test_out_and_in_again(
    stack: StackUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The whole log into an empty database: the same head, the same hash."""
    path = tmp_path / f"log.{kind}"
    code, out = await run("export", "--out", path)
    assert (code, out["rows"], out["contiguous"], out["path"]) == (0, 208, True, str(path))
    assert f"208 events, every event from position 1 to 208, last hash {out['last_hash']}" in await says(
        "export", "--out", path, "--force"
    )
    async with fresh_database(stack.database_url) as other_url:
        await migrate(other_url)
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", other_url)
        assert await run("import", path) == (0, {key: out[key] for key in out if key != "contiguous"})
        async with await PostgresEventLog.open(other_url) as log:
            count, digest = await log.verify()
        assert (count, digest.hex()) == (208, out["last_hash"])
        with pytest.raises(InvalidInput, match="stands at position 208"):
            await run("import", path)


@pytest.mark.usefixtures("log_url")
async def test_selections(tmp_path: Path) -> None:
    """Every filter, alone and together."""

    async def rows(*filters: str) -> int:
        _, out = await run("export", "--out", tmp_path / "some.ndjson", "--force", *filters)
        assert isinstance(out["rows"], int)
        return out["rows"]

    assert await rows("--category", "market") == 156
    assert await rows("--type", "order.placed", "--type", "market.pool_updated") == 208
    assert await rows("--type", "order.placed", "--after", "100") == 27
    assert await rows("--stream", "pool-1", "--stream", "order-2") == 34
    assert await rows("--through", "10", "--category", "domain") == 2
    assert await rows("--since", "2023-11-14T22:13:20Z", "--until", "2023-11-14T22:13:21") == 208
    assert await rows("--until", "2023-11-14T22:13:20+00:00") == 0


@pytest.mark.usefixtures("log_url")
async def test_an_export_of_nothing_writes_nothing(tmp_path: Path) -> None:
    """It says so with exit code 1; a file that was there before is left as it was."""
    path = tmp_path / "none.ndjson"
    nothing = ("export", "--out", path, "--type", "order.lost")
    assert f"no event is as asked for: {path} was not written\n" in await says(*nothing, code=NO)
    assert not path.exists()
    path.write_text("mine")
    code, out = await run(*nothing, "--force")
    assert (code, out["path"], out["rows"], out["contiguous"]) == (NO, None, 0, False)
    assert path.read_text() == "mine"
    assert (await run("export", "--out", tmp_path / "new.ndjson", "--after", "208"))[0] == NO


@pytest.mark.usefixtures("log_url")
@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
async def test_a_changed_file_is_refused_as_a_file(
    stack: StackUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What was found in it, that nothing was imported, what to do; the log is not spoken of as broken."""
    path = tmp_path / f"log.{kind}"
    await run("export", "--out", path)
    content = bytearray(path.read_bytes())
    place = len(content) // 3
    content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    async with fresh_database(stack.database_url) as other_url:
        await migrate(other_url)
        monkeypatch.setenv("DAYBOOK_DATABASE_URL", other_url)
        with pytest.raises(InvalidInput, match=r"nothing was imported.*get an intact copy") as error:
            await run("import", path)
        assert str(error.value).startswith(f"{path}, ")
        assert "the log" not in str(error.value)
        async with await PostgresEventLog.open(other_url) as log:
            assert await log.head() == 0


@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--follow"), ("export", "--out", "log.ndjson"), ("restore", "1-9")]
)
async def test_a_dead_server_is_no_failed_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Who reads is told to try again, not how to append."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://daybook@127.0.0.1:1/daybook")
    with pytest.raises(LogUnavailable, match="then try again") as error:
        await run(*arguments)
    assert "append" not in str(error.value)


@pytest.mark.usefixtures("log_url")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--out", "log.csv"], "neither .parquet nor .ndjson"),
        (["export", "--out", "log.ndjson", "--since", "yesterday"], "'yesterday' is not a time"),
        (
            ["export", "--out", "log.ndjson", "--through", "999"],
            "the log ends at position 208: ask for fewer",
        ),
        (["export", "--out", "log.ndjson", "--after", "999"], "above position 999 .* ends at position 208"),
        (["export", "--out", "log.ndjson", "--after", "9", "--through", "9"], "give a higher --through"),
        (["list", "--after", "999"], "above position 999 were asked for, and the log ends at position 208"),
        (["import", "nothing.parquet"], "is not there"),
        (["archive", "--before", "9", "--older-than", "1"], "choose one"),
        (["restore", "1-9"], "nothing is archived, every event of the log is in the database"),
    ],
)
async def test_what_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    """In one sentence, before anything is done."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        await run(*arguments)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib is for those who do not await


async def test_archive_and_restore(log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By age of the settings, by position; into the folder of the settings, or one that is named."""
    monkeypatch.setenv("DAYBOOK_ARCHIVE_DIR", str(tmp_path / "archive"))
    _, done = await run("archive", "--before", str(SPAN))
    assert [(one["partition"], one["rows"]) for one in done["archived"]] == [("events_market_000000", 37)]
    text = await says("archive", "--to", tmp_path / "elsewhere")
    assert text.count("market events, positions") == 3
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3
    assert "nothing to archive" in await says("archive")
    async with await PostgresEventLog.open(log_url) as log:
        assert (await log.verify())[0] == 208
    _, exported = await run("export", "--out", tmp_path / "log.parquet")
    assert (exported["rows"], exported["contiguous"]) == (208, True)
    _, back = await run("restore", tmp_path / "archive" / "market-000000000000-000000000049.parquet")
    assert [one["partition"] for one in back["restored"]] == ["events_market_000000"]
    assert (await says("restore", "51-200")).count("are in the database again") == 3


async def test_what_was_moved_is_told_though_the_next_one_fails(log_url: str, tmp_path: Path) -> None:
    """A file in the way of the second partition; the first one is out of the database, and back again."""
    assert log_url
    (tmp_path / "market-000000000050-000000000099.parquet").write_text("mine")
    archive = ["archive", "--to", str(tmp_path), "--json"]
    result = await asyncio.to_thread(runner.invoke, events_app, archive)
    assert isinstance(result.exception, SetupError)
    (told,) = (json.loads(line)["archived"] for line in result.stdout.splitlines())
    assert [one["partition"] for one in told] == ["events_market_000000"]
    again = await asyncio.to_thread(runner.invoke, events_app, archive)
    assert isinstance(again.exception, SetupError)
    assert again.stdout == ""
    (tmp_path / "market-000000000050-000000000099.parquet").unlink()
    assert len((await run("archive", "--to", tmp_path))[1]["archived"]) == 3
    (tmp_path / "market-000000000050-000000000099.parquet").rename(tmp_path / "elsewhere.parquet")
    result = await asyncio.to_thread(runner.invoke, events_app, ["restore", "1-200"])
    assert isinstance(result.exception, InvalidInput)
    assert result.stdout.count("are in the database again") == 1


async def test_what_is_young_is_not_archived(log_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' events are of November 2023; somebody keeps a century."""
    monkeypatch.setenv("DAYBOOK_ARCHIVE_AFTER_DAYS", "36500")
    assert await run("archive") == (0, {"archived": []})
    owner = await asyncpg.connect(log_url)
    assert await owner.fetchval("SELECT count(*) FROM archives") == 0
    await owner.close()
