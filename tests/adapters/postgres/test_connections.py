"""A connection that cannot be used after all is not left open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NoReturn

import asyncpg
import pytest
from logged import new_id, pool_updated, to
from waiting import until

from adapters.embedded.stack import StackUrls
from adapters.postgres.connections import connect, explain, explained, open_pool
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from adapters.postgres.relay_source import RelaySource
from adapters.postgres.rows import encode_appends
from adapters.postgres.session import LogSession
from adapters.postgres.writer import CoalescingWriter
from domain.errors import LogUnavailable, SetupError

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def nobody_connected(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval(_OPEN) == 0)
    finally:
        await connection.close()


async def cancelled(*_arguments: object) -> NoReturn:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("opened", "step"), [(LogSession.open, "prepare"), (RelaySource.open, "add_listener")]
)
async def test_who_is_stopped_while_he_opens_drops_his_connection(
    opened: Callable[[str], Awaitable[object]], step: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has connected, and is not ready yet."""
    await migrate(database)
    monkeypatch.setattr(asyncpg.Connection, step, cancelled)
    with pytest.raises(asyncio.CancelledError):
        await opened(database)
    await until(lambda: nobody_connected(database))


BAD_URLS = [
    "nonsense",
    "postgresql://u:p@127.0.0.1:port/db",
    "postgresql://127.0.0.1:99999999/db",
    "postgresql://u@[::1/db",
    "postgresql://a..b:1/db",
    "postgresql://127.0.0.1/db?sslmode=strange",
]


async def asked_by_a_pool(url: str) -> None:
    async with await open_pool(url) as pool:
        with explained():
            await pool.fetch("SELECT 1")


@pytest.mark.parametrize("url", BAD_URLS)
async def test_a_bad_url_is_told_how_to_write_it(url: str) -> None:
    """At once, or by a pool when it first connects."""
    with pytest.raises(SetupError, match=r"is not a PostgreSQL URL: .*; write it as postgresql://user"):
        await connect(url)
    with pytest.raises(SetupError, match="is not a PostgreSQL URL"):
        await asked_by_a_pool(url)


def test_another_value_error_is_not_the_url() -> None:
    """What a caller got wrong is his own to explain."""
    wrong = ValueError("year 99999 is out of range")
    with pytest.raises(ValueError, match="year 99999") as caught, explained():
        raise wrong
    assert caught.value is wrong
    assert explain(wrong) is wrong


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            asyncpg.LockNotAvailableError("canceling: lock timeout"),
            "is busy .*another process",
        ),
        (asyncpg.InterfaceError("cannot call Connection.fetch(): released"), r"answer \(the connection was"),
    ],
)
def test_what_the_driver_says_is_told_in_our_words(error: Exception, says: str) -> None:
    """A lock that was not free is not a server that is away; nobody wants to know the driver's methods."""
    told = explain(error)
    assert isinstance(told, LogUnavailable)
    assert re.search(says, str(told))
    assert "Connection.fetch" not in str(told)


async def test_only_who_appends_is_told_how_to_append_again() -> None:
    """A reader has no append id."""
    with pytest.raises(LogUnavailable, match=r"then try again$") as caught:
        await connect("postgresql://daybook@127.0.0.1:1/daybook")
    assert "append" not in str(caught.value)
    writer = CoalescingWriter(
        "postgresql://daybook@127.0.0.1:1/daybook", unavailable_after_s=0.01, rung=lambda _head: None
    )
    writing = asyncio.create_task(writer.run())
    with pytest.raises(LogUnavailable, match=r"may be retried with its append id$"):
        await writer.append(encode_appends([to("pool-1", pool_updated(1))]), new_id())
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_read_models_of_a_database_that_is_not_there_are_refused(stack: StackUrls) -> None:
    """As the log's are, with what to look at."""
    with pytest.raises(SetupError, match="check DAYBOOK_DATABASE_URL"):
        async with open_read_store(stack.database_url.replace("/daybook?", "/nowhere?")):
            pass
