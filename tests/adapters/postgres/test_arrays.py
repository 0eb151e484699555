"""Arrays go out as the server reads them, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from adapters.postgres import arrays


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    opened = await asyncpg.connect(database)
    await arrays.speak(opened)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", []),
        ("text", ["a", "", "Zürich, \u6771\u4eac", "x" * 100_000]),
        ("text", [None, "a", None]),
        ("int8", [0, -1, 2**63 - 1, -(2**63)]),
        ("int8", [None, 7]),
        ("bool", [True, False, None]),
        ("bool", [False]),
    ],
)
async def test_the_server_reads_what_was_sent(
    connection: asyncpg.Connection[asyncpg.Record], kind: str, values: list[str | int | bool | None]
) -> None:
    said = await connection.fetchval(f"select to_json($1::{kind}[])::text", values)
    assert json.loads(said) == values


@pytest.mark.parametrize(
    ("kind", "values"), [("text", [1]), ("int8", [2**63]), ("int8", ["a"]), ("bool", ["yes"])]
)
async def test_a_value_that_does_not_fit_is_refused(
    connection: asyncpg.Connection[asyncpg.Record], kind: str, values: list[str | int]
) -> None:
    with pytest.raises(asyncpg.DataError):
        await connection.fetchval(f"select $1::{kind}[]", values)
    assert await connection.fetchval("select 1") == 1
