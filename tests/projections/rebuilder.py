"""A process that rebuilds slowly, to be killed: python rebuilder.py DATABASE_URL SEED STORIES."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from builders import random_history
from list_log import ListLog

from adapters.postgres.read_store import open_read_store
from domain.events import RecordedEvent
from projections import trade_history
from projections.rebuild import rebuild


class SlowLog(ListLog):
    """Every page takes a while."""

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """As the port says, but slowly."""
        await asyncio.sleep(0.05)
        return await super().read(after, limit, through=through, topics=topics)


async def main(database_url: str, seed: int, stories: int) -> None:
    """Rebuild the trade history, ten events at a time."""
    log = SlowLog(random_history(seed, stories).events)
    async with open_read_store(database_url) as store:
        await rebuild(trade_history.READ_MODEL, log, store, batch=10)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
