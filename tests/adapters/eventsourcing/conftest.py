"""Migrated databases for synchronous tests: cloned from a template, on a loop of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from adapters.embedded.stack import StackUrls
from adapters.postgres.migrate import migrate


def _run(call: Coroutine[Any, Any, Any]) -> None:
    """To its end, off the thread whose loop belongs to the other tests."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, call).result(60)


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template(stack: StackUrls) -> Iterator[tuple[str, str]]:
    """The owner's URL, and the name of a migrated, empty database."""
    name = f"template_{uuid.uuid4().hex}"
    _run(_execute(stack.database_url, f"CREATE DATABASE {name}"))
    _run(_migrated(stack.database_url.replace("/daybook?", f"/{name}?")))
    yield stack.database_url, name
    _run(_execute(stack.database_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _migrated(url: str) -> None:
    await migrate(url)


@pytest.fixture
def new_log(template: tuple[str, str]) -> Iterator[Callable[..., str]]:
    """Makes migrated, empty databases; called with SQL, it runs that in the new one. Gone after the test."""
    owner_url, original = template
    made: list[str] = []

    def make(*statements: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        _run(_execute(owner_url, f"CREATE DATABASE {name} TEMPLATE {original}"))
        made.append(name)
        url = owner_url.replace("/daybook?", f"/{name}?")
        _run(_execute(url, *statements))
        return url

    yield make
    _run(_execute(owner_url, *(f"DROP DATABASE {name} WITH (FORCE)" for name in made)))
