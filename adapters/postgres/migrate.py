"""Brings a database to the revision this version of daybook needs; safe to call by several at once."""

from __future__ import annotations

import importlib.resources
import io
from dataclasses import dataclass
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from adapters.postgres.connections import CONNECT_TIMEOUT_S, explained
from domain.errors import SetupError

OLDEST_SERVER: Final = 18
"""PostgreSQL's major version."""

MIGRATION_TIMEOUT_S: Final = 600.0
"""A migration may rewrite a table of millions of rows; the log itself is never rewritten."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did.

    Attributes:
        from_revision: where the database stood; none when it was empty.
        to_revision: where it stands now.
    """

    from_revision: str | None
    to_revision: str

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.from_revision != self.to_revision


async def migrate(database_url: str) -> Migrated:
    """Bring the database to this version's revision, in one transaction; nothing happens when it is there.

    Args:
        database_url: of the database's owner.

    Raises:
        SetupError: the database is not there, may not be changed by this user, or is newer than this daybook.
        LogUnavailable: no server answers.
    """
    with explained():
        connection = await asyncpg.connect(
            database_url, timeout=CONNECT_TIMEOUT_S, command_timeout=MIGRATION_TIMEOUT_S
        )
        try:
            refuse_old(connection.get_server_version().major)
            return await _migrate(connection)
        except asyncpg.InsufficientPrivilegeError as error:
            raise SetupError(
                f"migrating was refused: {error}; run `daybook migrate` as the database's owner, and let a "
                "superuser run `CREATE ROLE daybook_writer; GRANT daybook_writer TO <owner>` once"
            ) from error
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)


def refuse_old(major: int) -> None:
    """The log's statements are of PostgreSQL 18.

    Raises:
        SetupError: the server is older.
    """
    if major < OLDEST_SERVER:
        raise SetupError(
            f"the server is PostgreSQL {major} and daybook needs {OLDEST_SERVER} or newer (RETURNING gives "
            "the head as it was): upgrade it, or leave DAYBOOK_DATABASE_URL unset to use the embedded one"
        )


async def _migrate(connection: asyncpg.Connection[asyncpg.Record]) -> Migrated:
    """Under a lock: the second of two at once finds the work done."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('daybook.migrate'))")
        before = await _revision(connection)
        script, newest = render(before)
        if script:
            await connection.execute(script)
        return Migrated(before, newest)


async def _revision(connection: asyncpg.Connection[asyncpg.Record]) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision


def render(before: str | None) -> tuple[str, str]:
    """The SQL from a revision to the newest, empty when there is none to run, and the newest revision.

    Raises:
        SetupError: when `before` is a revision this daybook does not know.
    """
    output = io.StringIO()
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(importlib.resources.files("migrations")))
    scripts = ScriptDirectory.from_config(config)
    newest = scripts.get_current_head()
    if newest is None:
        raise SetupError("this installation of daybook has no migrations: install it again")
    if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
        raise SetupError(
            f"the database is at revision {before}, this daybook knows revisions up to {newest}: "
            "a newer daybook migrated it; install that version or a newer one"
        )
    if before != newest:
        command.upgrade(config, f"{before or 'base'}:{newest}", sql=True)
    return output.getvalue(), newest
