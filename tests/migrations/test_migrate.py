"""Migrations: from nothing to today, twice without harm, two at once, never backwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

import migrations
from adapters.embedded.stack import StackUrls
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import OLDEST_SERVER, Migrated, migrate, refuse_old, render
from domain.errors import LogUnavailable, SetupError

NEWEST = max(path.name[:4] for path in (Path(migrations.__path__[0]) / "versions").glob("[0-9]*.py"))


async def test_an_empty_database_comes_to_the_newest_revision(database: str) -> None:
    """And a second run finds nothing to do."""
    assert await migrate(database) == Migrated(None, NEWEST)
    again = await migrate(database)
    assert (again, again.changed) == (Migrated(NEWEST, NEWEST), False)


async def test_two_at_once_do_the_work_once(database: str) -> None:
    """The second waits for the first, then finds the work done."""
    done = await asyncio.gather(*(migrate(database) for _ in range(3)))
    assert sorted(one.changed for one in done) == [False, False, True]


async def test_a_database_of_a_newer_daybook_is_refused(database: str) -> None:
    """The sentence names both revisions."""
    await migrate(database)
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(SetupError, match=rf"revision 9999.*up to {NEWEST}"):
        await migrate(database)


async def test_a_failed_migration_leaves_nothing(database: str) -> None:
    """A table in the way stops it; of what was made before that, nothing remains."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE bookmarks (mine int)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(database)
    assert await connection.fetchval("SELECT to_regclass('events')") is None
    assert await connection.fetchval("SELECT to_regclass('alembic_version')") is None
    await connection.close()


async def test_the_log_says_when_it_is_not_migrated(database: str) -> None:
    """Opening it names the command."""
    with pytest.raises(SetupError, match="daybook migrate"):
        await PostgresEventLog.open(database)


async def test_a_user_without_rights_is_told_so(database: str) -> None:
    """A role that may neither create roles nor tables: the sentence says who should do what."""
    owner = await asyncpg.connect(database)
    await owner.execute("DROP ROLE IF EXISTS nobody_special")
    await owner.execute("CREATE ROLE nobody_special LOGIN PASSWORD 'x'")
    _, _, place = database.rpartition("@")
    try:
        with pytest.raises(SetupError, match="as the database's owner"):
            await migrate(f"postgresql://nobody_special:x@{place}")
    finally:
        await owner.execute("DROP ROLE nobody_special")
        await owner.close()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://me@127.0.0.1:1/x", LogUnavailable),
        ("postgresql://me@/x?host=/nowhere", LogUnavailable),
        ("mysql://me@127.0.0.1/x", SetupError),
    ],
)
async def test_a_wrong_url_is_a_sentence(url: str, error: type[Exception]) -> None:
    """Nobody there, or not a PostgreSQL URL at all."""
    with pytest.raises(error, match=r"PostgreSQL|database"):
        await migrate(url)


async def test_a_database_that_is_not_there_is_a_sentence(database: str) -> None:
    """The name is in it."""
    with pytest.raises(SetupError, match="no_such_database"):
        await migrate(database.replace("/test_", "/no_such_database_"))


def test_the_script_is_plain_sql_with_percent_signs_as_written() -> None:
    """Rendering must not touch function bodies."""
    script, newest = render(None)
    assert newest == NEWEST
    assert "format('events_%s_%s'" in script
    assert render(NEWEST) == ("", NEWEST)


def test_the_command_migrates_the_embedded_database(stack: StackUrls, stack_folder: Path) -> None:
    """With --json the last line is one object; the second run has nothing to do."""
    assert stack.database_url
    command = [sys.executable, "-m", "daybook", "migrate", "--json", "--data-dir", str(stack_folder)]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        for _ in range(2)
    )
    assert json.loads(first.splitlines()[-1])["to"] == NEWEST
    assert json.loads(second.splitlines()[-1]) == {"from": NEWEST, "to": NEWEST, "changed": False}


def test_a_server_that_is_too_old_is_refused_in_a_sentence() -> None:
    """Before anything is changed."""
    refuse_old(OLDEST_SERVER)
    with pytest.raises(SetupError, match="PostgreSQL 17 and daybook needs 18 or newer"):
        refuse_old(17)
