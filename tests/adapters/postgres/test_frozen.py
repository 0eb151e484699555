"""A process or a server that freezes instead of failing: whoever waits for it is answered in time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from logged import new_id, to

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate

FREEZER = Path(__file__).with_name("freezer.py")

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
