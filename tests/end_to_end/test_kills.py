"""Everything is killed -9 while trades are written: a short run of tests/chaos/kills.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import kills
from chaos.parts import books
from logged import new_id, pool_updated, to

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate


@pytest.mark.timeout(300)  # seven processes that load daybook, five kills or more, and the time to catch up
async def test_whatever_is_killed_nothing_acknowledged_is_lost_and_all_copies_agree(tmp_path: Path) -> None:
    """Acks, streams, chain, read models and JetStream agree; what remembers its place apart does not."""
    figures = await kills.run(3, 3, tmp_path)
    assert figures["passed"], figures
    assert min(figures["killed"].values()) > 0
    assert figures["control_acknowledged_early_lost"] > 0, figures  # the other two need luck, or a longer run


async def test_an_append_that_was_stored_again_is_counted_though_its_events_are_new(database: str) -> None:
    """Under new versions its events have new ids; but the log holds more than was to be appended."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as log:
        append_id = new_id()
        await log.append([to("pool-1", *map(pool_updated, range(3)))], append_id=append_id)
        intended = {str(append_id): 3}
        assert (await books.log_figures(log, intended, []))["double_appends"] == 0
        await log.append([to("pool-1", *map(pool_updated, range(3)))], append_id=new_id())
        figures = await books.log_figures(log, intended, [])
    assert (figures["double_events"], figures["double_appends"]) == (0, 3)
