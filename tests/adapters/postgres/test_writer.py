"""The writer in trouble: closed, refused, overtaken or mistaken, it answers everybody and writes once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from logged import AT, new_id, pool_updated, to

from adapters.postgres.batch import Known, Request
from adapters.postgres.chaining import Link
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.leases import PostgresLeases
from adapters.postgres.migrate import migrate
from adapters.postgres.session import LogSession
from adapters.postgres.wire import copied
from commands.ports import Appended, StreamAppend
from domain.errors import FencedOut, LogError, LogUnavailable
from domain.events import Cause

PATIENCE_S = 30.0
"""What is told at once comes long before, on the busiest machine; what hangs does not come."""

MANY = [pool_updated(n) for n in range(600)]
"""Enough to be copied, in three pieces."""


@pytest.fixture
async def url(database: str) -> str:
    await migrate(database)
    return database


async def test_an_append_that_cannot_be_chained_is_refused_alone(url: str) -> None:
    """It is met while the rows before it are copied: they are taken back, and written without it."""
    nonsense = Cause("no uuid", None, "planner")  # type: ignore[arg-type] # what a caller without types may send
    async with await PostgresEventLog.open(url) as log, asyncio.timeout(PATIENCE_S):
        accepted, refused = await asyncio.gather(
            log.append([to("pool-1", *MANY, expected=0)], append_id=new_id()),
            log.append([StreamAppend("pool-0", 0, MANY, nonsense, AT)], append_id=new_id()),
            return_exceptions=True,
        )
        assert isinstance(refused, LogError)
        assert "nothing was written" in str(refused)
        assert isinstance(accepted, Appended)
        assert (await log.verify())[0] == len(MANY)


@pytest.mark.parametrize("piece", [1, 2, 3])
async def test_closing_while_rows_are_copied_ends_at_once(
    url: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told, and nothing of it stands in the log."""
    log = await PostgresEventLog.open(url)
    count = 0

    def until_closed(links: Iterable[Link]) -> bytes:
        nonlocal count
        count += 1
        if count == piece:
            asyncio.get_running_loop().call_soon(log._tasks[0].cancel)
        return copied(links)

    monkeypatch.setattr("adapters.postgres.session.copied", until_closed)
    waiting = asyncio.create_task(log.append([to("pool-1", *MANY)], append_id=new_id()))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LogUnavailable, match="closed"):
            await waiting
        await log.close()
    async with await PostgresEventLog.open(url) as again:
        assert await again.head() == 0
        assert await again.read() == []


@pytest.mark.parametrize("count", [1, 500])
async def test_a_lease_is_taken_before_or_after_an_append_that_is_decided_on_a_survey(
    url: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever way its rows go: once the lease is taken, nothing of the former holder's commits any more."""
    async with await PostgresEventLog.open(url) as log:
        leases = PostgresLeases(log.pool)
        old = await leases.take("executor", "first")
        heads: list[int] = []

        async def take() -> None:
            await leases.take("executor", "second")
            heads.append(await log.head())

        taking: list[asyncio.Task[None]] = []
        survey = LogSession._survey

        async def taken_meanwhile(self: LogSession, batch: Sequence[Request]) -> Known:
            known = await survey(self, batch)
            taking.append(asyncio.create_task(take()))
            await asyncio.wait(taking, timeout=0.3)
            return known

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(LogSession, "_survey", taken_meanwhile)
            await log.append([to("pool-1", *MANY[:count])], append_id=new_id(), fence=old)
        await taking[0]
        assert heads == [count]
        with pytest.raises(FencedOut):
            await log.append([to("pool-1", *MANY[:count])], append_id=new_id(), fence=old)
