"""Archived rows by position, read from their files as if they still stood in the table."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import asyncpg

from adapters.postgres.connections import explained
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput, LogCorrupt, LogError

if TYPE_CHECKING:
    from adapters.event_files.parquet import ParquetReader

OPEN_FILES: Final = 4
"""Archives kept open; a reader goes through them one after the other."""

GROUPS_KEPT: Final = 4
"""Row groups kept in memory, at most some 9 MB each: one for each of a few readers."""

PAGE: Final = 1_000
"""Rows of one read while walking a range."""

_OVERLAPPING: Final = """
SELECT partition, low, high, first_position, last_position, rows, path, sha256, first_prev_hash, last_hash,
    restored_at IS NOT NULL AS restored
FROM archives
WHERE last_position > $1 AND first_position <= $2
    AND (restored_at IS NULL OR restored_at > now() - interval '1 minute')
ORDER BY first_position
"""
_END: Final = 2**63 - 1

Fetcher: TypeAlias = "asyncpg.Pool[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"


class Archive(NamedTuple):
    """A market partition in a file; the order of `_OVERLAPPING`.

    Attributes:
        partition: its table's name.
        low, high: it held the positions from `low` to below `high`.
        first_position, last_position, rows: what it holds.
        path: where the file was put.
        sha256: of the file.
        first_prev_hash, last_hash: the hash before its first row, and of its last.
        restored: it stands in the table again.
    """

    partition: str
    low: int
    high: int
    first_position: int
    last_position: int
    rows: int
    path: str
    sha256: bytes
    first_prev_hash: bytes
    last_hash: bytes
    restored: bool


def is_whole(
    rows: Sequence[StoredEvent], after: int, limit: int, through: int | None, topics: Collection[str] | None
) -> bool:
    """Whether a page of the table leaves nothing out, so that no archive needs to be asked.

    Positions are contiguous, so a page without gaps is whole; a selection cannot tell by itself. Only market
    events are ever archived, and never the newest ones.
    """
    return is_complete(len(rows), rows[-1].position if rows else after, after, limit, through, topics)


def is_complete(
    count: int, last: int, after: int, limit: int, through: int | None, topics: Collection[str] | None
) -> bool:
    """As `is_whole`, of a page of so many rows up to the position `last`."""
    if topics is not None:
        return not any(topic.startswith("market.") for topic in topics)
    if not count or last - after != count:
        return False
    return count == limit or through is None or last >= through


class ArchiveShelf:
    """Every archive of one log. Safe for several tasks at once.

    Args:
        fetcher: a pool or connection of the log's database, in any role that reads the log.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._files: OrderedDict[bytes, ParquetReader] = OrderedDict()
        self._groups: OrderedDict[tuple[bytes, int], Any] = OrderedDict()

    async def overlapping(self, after: int = 0, through: int = _END) -> list[Archive]:
        """The archives with positions in a range, by position."""
        with explained():
            return [Archive._make(row) for row in await self._fetcher.fetch(_OVERLAPPING, after, through)]

    async def merged(
        self,
        live: Sequence[StoredEvent],
        after: int,
        limit: int,
        through: int | None,
        topics: Collection[str] | None,
    ) -> list[StoredEvent]:
        """A page of the table together with what archives hold of that page.

        The table must have been read before: an archive that comes into being in between is seen here.

        Raises:
            LogError: an archive's file is not where it was put.
            LogCorrupt: an archive's file is damaged, or another one.
        """
        end = _END if through is None else through
        archived: list[StoredEvent] = []
        for archive in await self.overlapping(after, end):
            if len(archived) < limit:
                more = (archive, after, end, limit - len(archived), topics)
                archived += await asyncio.to_thread(self._page, *more)
        standing = {row.position for row in live}
        absent = [row for row in archived if row.position not in standing]
        return list(heapq.merge(live, absent, key=attrgetter("position")))[:limit]

    async def rows(self, first: int, last: int) -> AsyncIterator[list[StoredEvent]]:
        """The archived rows alone from position `first` through `last`, in order, a page at a time.

        Raises:
            LogError, LogCorrupt: as `merged`.
        """
        after = first - 1
        while page := await self.merged((), after, PAGE, last, None):
            yield page
            after = page[-1].position

    def _page(
        self, archive: Archive, after: int, through: int, limit: int, topics: Collection[str] | None
    ) -> list[StoredEvent]:
        from adapters.event_files.parquet import page  # noqa: PLC0415 - pyarrow only where there are archives

        with self._lock:
            rows: list[StoredEvent] = []
            reader = self._opened(archive)
            if reader is None:
                return rows
            number = reader.group_after(after)
            while number is not None and number < reader.groups and len(rows) < limit:
                if reader.first_of(number) > through:
                    break
                group = self._group(archive, reader, number)
                rows += page(group, after, through, limit - len(rows), topics)
                number += 1
            return rows

    def _group(self, archive: Archive, reader: ParquetReader, number: int) -> Any:  # noqa: ANN401 - an untyped pyarrow.Table
        key = (archive.sha256, number)
        if key not in self._groups:
            self._groups[key] = reader.group(number)
            if len(self._groups) > GROUPS_KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def _opened(self, archive: Archive) -> ParquetReader | None:
        """The archive's file; none where a restored one was taken away."""
        reader = self._files.get(archive.sha256)
        if reader is None:
            if not Path(archive.path).is_file():
                if archive.restored:
                    return None
                raise LogError(_missing(archive))
            reader = self._files[archive.sha256] = open_archive(archive, Path(archive.path))
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].__exit__(None, None, None)
        self._files.move_to_end(archive.sha256)
        return reader


def open_archive(archive: Archive, path: Path) -> ParquetReader:
    """The file of an archive, wherever it is now.

    Raises:
        LogCorrupt: it is damaged, or another one.
    """
    from adapters.event_files.parquet import ParquetReader  # noqa: PLC0415 - as in ArchiveShelf._page

    try:
        reader = ParquetReader(path)
    except InvalidInput as error:
        raise LogCorrupt(archive.first_position, f"its archive is damaged: {error}") from error
    found = reader.summary
    if (found.first_position, found.rows, found.last_hash) != (
        archive.first_position,
        archive.rows,
        archive.last_hash,
    ):
        reader.__exit__(None, None, None)
        raise LogCorrupt(archive.first_position, f"{path} holds other events than were archived")
    return reader


def _missing(archive: Archive) -> str:
    return (
        f"the market events from position {archive.first_position} to {archive.last_position} are archived "
        f"in {archive.path}, which is not there: put the file back in its place, or bring the events back "
        "into the database from a copy with `daybook events restore FILE`"
    )
