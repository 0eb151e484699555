"""Walks a range of the log, proves every event on the way, and puts the wanted ones into a file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from adapters.event_files.files import EventFile
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import GENESIS, ChainWalk
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput

PAGE: Final = 1_000
"""Rows in memory at a time, besides a row group of the file."""

Progress = Callable[[int, int], None]
"""Told how far it is, and how far it goes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are wanted; empty means all.

    Attributes:
        topics: event types.
        streams: names of streams.
        category: `market` or `domain`; none for both.
        since, until: recorded at or after, and before, in microseconds since the epoch.
    """

    topics: Collection[str] = ()
    streams: Collection[str] = ()
    category: str | None = None
    since: int | None = None
    until: int | None = None

    def wants(self, row: StoredEvent) -> bool:
        """Whether this one is wanted."""
        return (
            (not self.topics or row.topic in self.topics)
            and (not self.streams or row.stream in self.streams)
            and (self.category is None or (self.category == "market") == row.topic.startswith("market."))
            and (self.since is None or row.recorded_at >= self.since)
            and (self.until is None or row.recorded_at < self.until)
        )


async def write_range(
    log: PostgresEventLog,
    file: EventFile,
    after: int,
    through: int,
    wanted: Callable[[StoredEvent], bool],
    progress: Progress,
) -> None:
    """Put the wanted events with `after` < position <= `through` into a file.

    Raises:
        LogCorrupt: naming the first position that does not verify: nothing unproven is passed on.
        LogError: an archive that holds part of the range is not in its place.
        InvalidInput: the range does not lie within the log.
        SetupError: the file cannot be written.
    """
    head = await log.head()
    refuse_beyond(head, after)
    if not 0 <= after <= through:
        raise InvalidInput(
            f"there are no positions above {after} and up to {through}: give a range of the log"
        )
    if through > head:
        raise InvalidInput(
            f"events up to position {through} were asked for, and {_end(head)}: ask for fewer, or leave the "
            "end out to get all there are"
        )
    walk = ChainWalk(after, await _hash_at(log, after))
    while walk.position < through and (rows := await log.read_rows(walk.position, PAGE, through=through)):
        for row in rows:
            before = walk.hash
            walk.step(row)
            if wanted(row):
                file.add(row, before)
        progress(walk.position - after, through - after)
    walk.finish(through, walk.hash)


def refuse_beyond(head: int, after: int) -> None:
    """Refuse to look above a position that the log has not reached.

    Raises:
        InvalidInput: it has not.
    """
    if after > head:
        raise InvalidInput(
            f"events above position {after} were asked for, and {_end(head)}: look whether this is the log "
            "that was meant, or give a lower position"
        )


def _end(head: int) -> str:
    return f"the log ends at position {head}" if head else "the log is empty"


async def _hash_at(log: PostgresEventLog, position: int) -> bytes:
    """The hash the chain has at a position."""
    rows = await log.read_rows(position - 1, 1, through=position) if position else []
    return rows[0].hash if rows else GENESIS
