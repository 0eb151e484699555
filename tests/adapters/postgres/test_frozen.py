"""A process or a server that freezes instead of failing: whoever waits for it is answered in time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from cable import HOST, Cable
from logged import new_id, pool_updated, to
from waiting import until

from adapters.postgres import connections
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from domain.errors import LogUnavailable, ReadStoreUnavailable

FREEZER = Path(__file__).with_name("freezer.py")

PATIENCE_S = 1.0
"""Of the callers whose server freezes."""

AT_ONCE_S = 1.5
"""Later than promised on the busiest machine, and long before any timeout of the connections' own."""

COPIED = 600
"""Events of an append that goes by COPY."""


@pytest.fixture
async def url(database: str) -> str:
    await migrate(database)
    return database


@contextmanager
def frozen(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped in the middle of a COPY."""
    command = [sys.executable, str(FREEZER), url, str(COPIED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "frozen\n"
            yield process
        finally:
            process.kill()


async def test_a_process_that_freezes_inside_a_copy_stops_nobody_for_long(url: str) -> None:
    """Who waits for the head cuts it off, within his patience; going on, it writes its append once."""
    async with await PostgresEventLog.open(url) as log:
        await log.append([to("pool-1")], append_id=new_id())
        with frozen(url) as process:
            appended = await log.append([to("pool-1")], append_id=new_id())
            assert appended.first_position == 2
            process.send_signal(signal.SIGCONT)
            output, _ = await asyncio.to_thread(process.communicate, timeout=30)
        assert output == "3\n"
        assert (await log.verify())[0] == 2 + COPIED
        assert await log.pool.fetchval("SELECT count(*) FROM appends") == 3


async def test_only_who_lets_the_head_wait_for_his_rows_is_ended(url: str) -> None:
    """Not who holds it between two statements, whom the server ends itself; a writer may ask, nobody else."""
    async with await PostgresEventLog.open(url) as log:
        holder = await asyncpg.connect(url)
        await holder.execute("BEGIN; SELECT FROM log_head FOR UPDATE")
        assert await log.pool.fetchval("SELECT free_log_head()") == 0
        assert await holder.fetchval("SELECT true")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await holder.execute("CREATE ROLE passer_by; SET ROLE passer_by; SELECT free_log_head()")
        await holder.close()  # and with it the role


@asynccontextmanager
async def cabled(url: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to the database, and the URL by which it is reached over it."""
    parts = urlsplit(url)
    where = parse_qs(parts.query)
    async with Cable(f"{where['host'][0]}/.s.PGSQL.{where.get('port', ['5432'])[0]}") as cable:
        yield cable, f"postgresql://{parts.username}:{parts.password}@{HOST}:{cable.port}{parts.path}"


@pytest.mark.parametrize(
    ("stream", "count", "at"),
    [
        ("pool-1", 1, b""),
        ("pool-2", 1, b"BEGIN"),
        ("pool-2", COPIED, b"COPY "),
        ("pool-2", COPIED, b"COMMIT"),
    ],
)
async def test_an_append_is_answered_in_time_by_a_server_that_freezes(
    url: str, stream: str, count: int, at: bytes
) -> None:
    """Whatever it was at, and whoever waits behind it too. Retried with its id, it is there once."""
    append_id, loop = new_id(), asyncio.get_running_loop()
    mine = to(stream, *map(pool_updated, range(count)))
    async with cabled(url) as (cable, over_it):
        async with await PostgresEventLog.open(over_it, unavailable_after_s=PATIENCE_S) as log:
            await log.append([to("pool-1")], append_id=new_id())
            cable.freeze(at)
            started = loop.time()
            waiting = [asyncio.create_task(log.append([mine], append_id=append_id))]
            await until(lambda: cable.frozen)
            waiting.append(asyncio.create_task(log.append([to("pool-3")], append_id=new_id())))
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert loop.time() - started < PATIENCE_S + AT_ONCE_S
            assert all(isinstance(answer, LogUnavailable) for answer in answers)
            assert str(answers[0]).endswith("not known; the append may be retried with its append id")
            cable.thaw()
        async with await PostgresEventLog.open(url) as log:
            first = await log.append([mine], append_id=append_id)
            assert await log.append([mine], append_id=append_id) == first._replace(repeated=True)
            streams = [event.stream for event in await log.read(limit=2 * COPIED)]
            assert streams.count(stream) == count + (stream == "pool-1")
            assert (await log.verify())[0] == len(streams)


async def test_a_read_is_answered_in_time_by_a_server_that_freezes(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is dropped: it would not answer when asked to stop either."""
    limit_s = 2 * AT_ONCE_S
    monkeypatch.setitem(connections._OPTIONS, "command_timeout", limit_s)
    loop = asyncio.get_running_loop()
    async with cabled(url) as (cable, over_it), await PostgresEventLog.open(over_it) as log:
        cable.freeze()
        started = loop.time()
        with pytest.raises(LogUnavailable):
            await log.head()
        assert loop.time() - started < limit_s + AT_ONCE_S
        cable.thaw()
        assert await log.head() == 0


async def test_waiting_for_a_read_model_keeps_its_limit_though_the_server_freezes(url: str) -> None:
    """What a connection may take is far longer."""
    loop = asyncio.get_running_loop()
    async with cabled(url) as (cable, over_it), open_read_store(over_it) as store:
        assert await store.checkpoint("pnl") == 0
        cable.freeze()
        started = loop.time()
        with pytest.raises(ReadStoreUnavailable, match=r"did not answer within 0\.2 s"):
            await store.wait_for("pnl", 1, timeout_s=0.2)
        assert loop.time() - started < AT_ONCE_S
        cable.thaw()
        assert await store.checkpoint("pnl") == 0
