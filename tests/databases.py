"""Makes empty databases for tests; for fixtures of a wider scope than `database` of conftest.py."""

from __future__ import annotations

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
        await _execute(owner_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
