"""A connection cut in the middle of a COPY is told to whoever copies, and not to the world."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import asyncpg
import pytest
import uvloop

from adapters.embedded.stack import StackUrls
from adapters.postgres.lost_copies import keep_quiet_about_lost_copies


async def cut_in_the_middle(url: str) -> None:
    """Copies 20 MB; the connection goes after the third."""
    copying, cutting = await asyncpg.connect(url), await asyncpg.connect(url)

    async def rows() -> AsyncIterator[bytes]:
        for number in range(20):
            if number == 3:
                await cutting.execute("SELECT pg_terminate_backend($1)", copying.get_server_pid())
                await asyncio.sleep(0.1)
            yield (b"x" * 999 + b"\n") * 1_000

    try:
        await copying.execute("CREATE TEMP TABLE filled (row text)")
        with pytest.raises(asyncpg.InterfaceError):
            async with copying.transaction():
                await copying.copy_to_table("filled", source=rows())
    finally:
        copying.terminate()
        await cutting.close()
        gc.collect()


@pytest.mark.parametrize("quiet", [True, False])
def test_only_a_loop_that_was_not_told_reports_it(
    stack: StackUrls, caplog: pytest.LogCaptureFixture, *, quiet: bool
) -> None:
    async def run() -> None:
        if quiet:
            keep_quiet_about_lost_copies()
        await cut_in_the_middle(stack.database_url)

    uvloop.run(run())
    assert ("never retrieved" in caplog.text) is not quiet


def test_all_else_is_reported_as_before(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        keep_quiet_about_lost_copies()
        asyncio.get_running_loop().create_future().set_exception(ValueError("looked at by nobody"))
        gc.collect()

    uvloop.run(run())
    assert "looked at by nobody" in caplog.text
