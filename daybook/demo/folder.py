"""The demo's data folder: begun anew each time, so it must never be one that holds a real log."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from nats.js.errors import NotFoundError

from adapters.embedded.folder import existing_folder
from adapters.embedded.postgres import DATABASE
from adapters.embedded.stack import StackUrls, attach
from adapters.jetstream.streams import STREAMS
from adapters.postgres.migrate import migrate
from domain.errors import SetupError

MARK: Final = "DEMO"
EMPTY_S: Final = 30.0
"""Dropping a database waits for those who are in it, a vacuum for the longest: seconds."""


@asynccontextmanager
async def demo_servers(folder: Path) -> AsyncIterator[StackUrls]:
    """Embedded servers in a folder of the demo's own, with an empty log and empty streams.

    Raises:
        SetupError: the folder holds a log that is not the demo's, another demo runs there, or a server
            does not start.
    """
    refuse_real_log(folder)
    async with attach(folder) as urls:
        with _alone(folder):
            (folder / MARK).touch()
            await _empty_log(urls.database_url)
            await _empty_streams(urls.nats_url)
            yield urls


def refuse_real_log(folder: Path) -> None:
    """Refuse a folder that is not the demo's, before anything is started.

    Raises:
        SetupError: it is of another format, open to others, or holds a log that is not the demo's.
    """
    existing_folder(folder)
    if (folder / "FORMAT").exists() and not (folder / MARK).exists():
        raise SetupError(
            f"the demo begins with an empty log, and {folder} holds one that is not the demo's: "
            "name another folder with --data-dir"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"another demo runs in {folder}: wait for it, or name another folder with --data-dir"
            ) from None
        yield


async def _empty_log(database_url: str) -> None:
    """A new database in the place of the old one; a vacuum of the server's, at work there, ends by itself."""
    connection = await asyncpg.connect(urlunsplit(urlsplit(database_url)._replace(path="/postgres")))
    try:
        async with asyncio.timeout(EMPTY_S):
            while not await _dropped(connection):  # noqa: ASYNC110 - a vacuum that ends sets no event
                await asyncio.sleep(0.1)
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
    finally:
        await connection.close()
    await migrate(database_url)


async def _dropped(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    with suppress(asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        return True
    return False


async def _empty_streams(nats_url: str) -> None:
    client = await nats.connect(nats_url, connect_timeout=5, allow_reconnect=False)
    try:
        jetstream = client.jetstream()
        for stream in STREAMS.values():
            try:
                await jetstream.delete_stream(stream.name)
            except NotFoundError:
                continue
    finally:
        await client.close()
