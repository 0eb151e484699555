"""Makes empty databases for tests; for fixtures of a wider scope than `database` of conftest.py."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import asyncpg


@contextlib.asynccontextmanager
async def fresh_database(owner_url: str, template: str = "template1") -> AsyncIterator[str]:
    """A database of its own name, empty or a copy; dropped at the end, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    await _execute(owner_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield owner_url.replace("/daybook?", f"/{name}?")
    finally:
        await _drop(owner_url, name)


async def _drop(owner_url: str, name: str) -> None:
    """The server's own vacuum may be at work in it, which only a superuser may end; it ends by itself."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await _execute(owner_url, f"DROP DATABASE {name} WITH (FORCE)")
            except asyncpg.InsufficientPrivilegeError:
                await asyncio.sleep(0.1)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
