"""A database of the self-test's own: the user's log is never touched."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from adapters.embedded.stack import attach
from adapters.postgres.connections import CONNECT_TIMEOUT_S, explained
from daybook.settings import Settings
from domain.errors import SetupError

PREFIX: Final = "daybook_selftest_"
DROP_TIMEOUT_S: Final = 30.0
"""Dropping a database removes its files: a second for each few gigabytes."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where a self-test runs.

    Attributes:
        url: of an empty database, dropped at the end.
        stack_folder: of the embedded servers it runs on, which may be killed; none on a server of the user's.
    """

    url: str
    stack_folder: Path | None


@contextlib.asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[Scratch]:
    """An empty database: on DAYBOOK_DATABASE_URL where that is set, else on embedded servers of its own.

    Args:
        settings: name the user's server, if there is one, and the folder in whose folder `selftest` the
            embedded servers are.

    Raises:
        SetupError: no database can be made there, or another self-test is at work there.
        LogUnavailable: no server answers.
    """
    if settings.database_url is not None:
        async with _database(settings.database_url) as url:
            yield Scratch(url, None)
        return
    folder = settings.data_dir / "selftest"
    async with attach(folder) as urls:
        with _alone(folder):
            await _drop_left_over(urls.database_url)
            async with _database(urls.database_url) as url:
                yield Scratch(url, folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two on the same servers would take each other's kills for the log's faults."""
    with (folder / "selftest.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"another self-test runs in {folder}: wait for it, or name another folder with --data-dir"
            ) from None
        yield


@contextlib.asynccontextmanager
async def _database(server_url: str) -> AsyncIterator[str]:
    name = f"{PREFIX}{secrets.token_hex(6)}"
    try:
        await execute(server_url, f"CREATE DATABASE {name}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise SetupError(
            f"the self-test wanted a database of its own and was refused: {error}; name a user who may "
            "CREATE DATABASE in DAYBOOK_DATABASE_URL, or unset it to use the embedded servers"
        ) from error
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _drop_left_over(server_url: str) -> None:
    """What a killed self-test left in its own folder; nobody else puts databases of this name there."""
    with explained():
        connection = await asyncpg.connect(server_url, timeout=CONNECT_TIMEOUT_S)
        try:
            found = await connection.fetch(
                "SELECT d.datname FROM pg_database d WHERE starts_with(d.datname, $1) AND NOT EXISTS "
                "(SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)",
                PREFIX,
            )
            for row in found:
                await connection.execute(f"DROP DATABASE IF EXISTS {row['datname']}", timeout=DROP_TIMEOUT_S)
        finally:
            connection.terminate()


async def execute(url: str, statement: str) -> None:
    """Run one statement on a connection of its own.

    Raises:
        SetupError, LogUnavailable: as the log.
    """
    with explained():
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=DROP_TIMEOUT_S)
        try:
            await connection.execute(statement)
        finally:
            connection.terminate()
