"""Moves closed market partitions of the log into Parquet files, and brings them back. Domain events stay.

A partition goes in four steps: its file is written while the chain is walked, brought to the disk, read back
and proven; only then is the table detached and dropped, in one transaction with the row in `archives`. A
crash in between leaves the table in place, and the next run writes the file again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import structlog

from adapters.event_files.files import EventFile, open_events, sha256_of
from adapters.event_files.summary import Summary, verified
from adapters.postgres.archive_shelf import Archive, open_archive
from adapters.postgres.bulk import copy_events
from adapters.postgres.connections import CONNECT_TIMEOUT_S, explained
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.exporting import Progress, write_range
from adapters.postgres.rows import StoredEvent
from domain.errors import InvalidInput, LogCorrupt, LogError, SetupError

STATEMENT_TIMEOUT_S: Final = 600.0
"""Counting or loading a partition of ten million rows takes seconds to a minute."""

DETACH_WAIT_MS: Final = 300
"""How long appends may be held up by a detach that waits for a long reader; then it lets them by."""

DETACH_TRIES: Final = 30
DETACH_PAUSE_S: Final = 1.0
"""So a reader that goes on for less than a minute is waited for."""

_LEAVES: Final = """
SELECT relname::text AS name, bounds[1]::bigint AS low, bounds[2]::bigint AS high
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid,
    regexp_match(pg_get_expr(relpartbound, c.oid), 'FROM \\(''(\\d+)''\\) TO \\(''(\\d+)''\\)') AS bounds
WHERE inhparent = 'events_market'::regclass
ORDER BY low
"""
_REMEMBER: Final = """
INSERT INTO archives (partition, low, high, first_position, last_position, rows, path, sha256,
    first_prev_hash, last_hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (partition) DO UPDATE SET first_position = excluded.first_position, path = excluded.path,
    last_position = excluded.last_position, rows = excluded.rows, sha256 = excluded.sha256,
    first_prev_hash = excluded.first_prev_hash, last_hash = excluded.last_hash,
    archived_at = now(), restored_at = NULL
"""
_REMEMBER_STREAMS: Final = """
INSERT INTO archived_streams AS a (stream, version) SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (stream) DO UPDATE SET version = greatest(a.version, excluded.version)
"""
_ARCHIVED: Final = """
SELECT partition, low, high, first_position, last_position, rows, path, sha256, first_prev_hash, last_hash,
    false AS restored
FROM archives WHERE restored_at IS NULL ORDER BY low
"""
_RANGE: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_log = structlog.get_logger(__name__)

OnPhase = Callable[[str, int, int], None]
"""Told a phase, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A market partition: its table, and the positions from `low` to below `high`."""

    name: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Archived:
    """What became a file, or came back from one."""

    partition: str
    path: Path
    summary: Summary


class Archivist:
    """Archives and restores; one at a time for each log. Made by `archivist`.

    Args:
        connection: as the database's owner: only the owner may take a partition out of the log.
        log: to read the rows by.
    """

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], log: PostgresEventLog) -> None:
        self._connection = connection
        self._log = log

    async def closed_leaves(self, before: int | None, older_than_us: int | None) -> list[Leaf]:
        """The partitions that no append will reach any more, oldest first, and hold events.

        Args:
            before: only those wholly below this position.
            older_than_us: only those whose newest event was recorded before, in microseconds since the epoch.
        """
        head = await self._log.head()
        rows = await self._connection.fetch(_LEAVES)
        leaves = [Leaf(row["name"], row["low"], row["high"]) for row in rows]
        end = head + 1 if before is None else min(before, head + 1)
        return [leaf for leaf in leaves if leaf.high <= end and await self._is_older(leaf, older_than_us)]

    async def _is_older(self, leaf: Leaf, than_us: int | None) -> bool:
        recorded_at: int | None = await self._connection.fetchval(
            f'SELECT recorded_at FROM "{leaf.name}" ORDER BY position DESC LIMIT 1'  # noqa: S608 - a name from the catalogue
        )
        return recorded_at is not None and (than_us is None or recorded_at < than_us)

    async def archive(self, leaf: Leaf, folder: Path, on_phase: OnPhase) -> Archived:
        """Move one partition into a file of the folder, and prove the file.

        Args:
            leaf: which one.
            folder: made where it is not there.
            on_phase: told what is being done to it, how far it is, and how far it goes.

        Raises:
            LogCorrupt: the chain does not verify there.
            SetupError: the file cannot be written or does not read back, or this user does not own the log.
            LogError: a reader holds the partition for too long; nothing changed but the file.
        """
        path = _file_of(leaf, folder)
        after = max(leaf.low - 1, 0)
        await self._refuse_foreign(path, leaf)
        with EventFile(path, overwrite=True) as file:
            await write_range(self._log, file, after, leaf.high - 1, _is_market, partial(on_phase, "write"))
            summary = file.finish()
        versions = await asyncio.to_thread(_read_back, path, summary, partial(on_phase, "read back"))
        await self._compare_count(leaf, summary)
        await self._detach(leaf, path, summary, versions)
        return Archived(leaf.name, path, summary)

    async def _refuse_foreign(self, path: Path, leaf: Leaf) -> None:
        """Two logs may have been given one folder: a file of the other is not replaced."""
        claims = _claims_of(path)
        if claims is None:
            return
        found = await self._log.read_rows(claims.last_position - 1, 1, through=claims.last_position)
        if not found or found[0].hash != claims.last_hash:
            raise SetupError(
                f"{path} is the archive of another log, and partition {leaf.name} would go there: give each "
                "log a folder of its own with --to or DAYBOOK_ARCHIVE_DIR"
            )

    async def _compare_count(self, leaf: Leaf, summary: Summary) -> None:
        count = await self._connection.fetchval(f'SELECT count(*) FROM "{leaf.name}"')  # noqa: S608 - as above
        if count != summary.rows:
            raise LogCorrupt(
                leaf.low, f"partition {leaf.name} holds {count} rows and its archive {summary.rows}"
            )

    async def _detach(self, leaf: Leaf, path: Path, summary: Summary, versions: dict[str, int]) -> None:
        digest = await asyncio.to_thread(sha256_of, path)
        row = (
            leaf.name, leaf.low, leaf.high, summary.first_position, summary.last_position, summary.rows,
            str(path), digest, summary.first_prev_hash, summary.last_hash,
        )  # fmt: skip
        for _ in range(DETACH_TRIES):
            try:
                await self._detach_now(leaf, row, versions)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                _log.info("the partition is being read; archiving waits", partition=leaf.name)
                await asyncio.sleep(DETACH_PAUSE_S)
            else:
                return
        raise LogError(
            f"partition {leaf.name} was written to {path} but not dropped: it was being read all the time. "
            "Nothing is lost; look for a long query in pg_stat_activity and run it again"
        )

    async def _detach_now(self, leaf: Leaf, row: tuple[object, ...], versions: dict[str, int]) -> None:
        """Appends stand still for these milliseconds.

        The head's table is locked first: whoever waits there takes its snapshot afterwards, so that no append
        looks a stream up in a table that is gone and an `archived_streams` that is not yet there.
        """
        async with self._connection.transaction():
            await self._connection.execute(f"SET LOCAL lock_timeout = {DETACH_WAIT_MS}")
            await self._connection.execute("LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE")
            await self._connection.execute(f'ALTER TABLE events_market DETACH PARTITION "{leaf.name}"')
            await self._connection.execute(_REMEMBER, *row)
            await self._connection.execute(_REMEMBER_STREAMS, list(versions), list(versions.values()))
            await self._connection.execute(f'DROP TABLE "{leaf.name}"')

    async def archived(self) -> list[Archive]:
        """The archives whose partitions are not in the table, oldest first."""
        return [Archive._make(row) for row in await self._connection.fetch(_ARCHIVED)]

    async def restore(self, archive: Archive, path: Path, progress: Progress) -> Archived:
        """Bring an archive's partition back from its file; the file stays where it is.

        Raises:
            LogCorrupt: the file is not byte for byte what was archived.
            InvalidInput: there is no such file.
        """
        await asyncio.to_thread(_check_bytes, archive, path)
        with open_archive(archive, path) as reader:
            await self._load(archive, verified(reader), progress)
            return Archived(archive.partition, path, reader.summary)

    async def _load(self, archive: Archive, batches: Iterator[list[StoredEvent]], progress: Progress) -> None:
        """Attaching locks out no append; the leaf is complete by then."""
        leaf, done = ("market", archive.partition, archive.low, archive.high), 0
        async with self._connection.transaction():
            await self._connection.execute("SELECT make_leaf($1, $2, $3, $4)", *leaf)
            for rows in batches:
                await copy_events(self._connection, archive.partition, rows)
                done += len(rows)
                progress(done, archive.rows)
            await self._connection.execute("SELECT attach_leaf($1, $2, $3, $4)", *leaf)
            await self._connection.execute(
                "UPDATE archives SET restored_at = now() WHERE partition = $1", archive.partition
            )


@asynccontextmanager
async def archivist(database_url: str) -> AsyncIterator[Archivist]:
    """The only archivist of a log, for as long as it is needed.

    Raises:
        SetupError: the database is not migrated, or this user does not own the log.
        LogError: another archivist is at work.
        LogUnavailable: no server answers.
    """
    with explained():
        connection = await asyncpg.connect(
            database_url, timeout=CONNECT_TIMEOUT_S, command_timeout=STATEMENT_TIMEOUT_S
        )
    try:
        async with await PostgresEventLog.open(database_url) as log:
            if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('daybook.archive'))"):
                raise LogError("archives of this log are being written or restored: wait for that to end")
            try:
                with explained():
                    yield Archivist(connection, log)
            finally:  # a server notices the end of a connection when it likes; the next archivist may be here
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await connection.execute("SELECT pg_advisory_unlock(hashtext('daybook.archive'))")
    except asyncpg.InsufficientPrivilegeError as error:
        raise SetupError(
            f"the archive was refused: {error}; run it as the owner of the database, who ran "
            "`daybook migrate`"
        ) from error
    finally:
        connection.terminate()


def _file_of(leaf: Leaf, folder: Path) -> Path:
    """Made together with its folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"archive folder {folder} cannot be made: {error.strerror}; choose another"
        ) from error
    return folder.absolute() / f"market-{leaf.low:012d}-{leaf.high - 1:012d}.parquet"


def _claims_of(path: Path) -> Summary | None:
    """What a file of that name holds; none where there is none."""
    if not path.exists():
        return None
    try:
        with open_events(path) as reader:
            return reader.summary
    except InvalidInput as error:
        raise SetupError(f"{path} is in the way: {error}; move it away or give another folder") from error


def _check_bytes(archive: Archive, path: Path) -> None:
    if not path.is_file():
        raise InvalidInput(f"{path} is not there: name the file that holds {archive.partition}")
    if sha256_of(path) != archive.sha256:
        raise LogCorrupt(archive.first_position, f"{path} is not the file that was archived: another sha256")


def _is_market(row: StoredEvent) -> bool:
    return row.topic.startswith("market.")


def _read_back(path: Path, written: Summary, progress: Progress) -> dict[str, int]:
    """Prove the file as it stands on the disk; the newest version of each of its streams."""
    versions: dict[str, int] = {}
    done = 0
    try:
        with open_events(path) as reader:
            if reader.summary != written:
                raise InvalidInput(f"{path} says that it holds other events")
            for rows in verified(reader):
                versions.update((row.stream, row.version) for row in rows)
                done += len(rows)
                progress(done, written.rows)
    except InvalidInput as error:
        raise SetupError(
            f"an archive did not read back as it was written: {error}; its partition is still in the "
            "database. Look at the disk, or choose another folder with --to"
        ) from error
    return versions


def choose(archives: list[Archive], what: str) -> list[tuple[Archive, Path]]:
    """The archives a user means, and the files to take them from.

    Args:
        archives: those that are not restored.
        what: a file, wherever it lies now, or a range of positions such as `1-5000`.

    Raises:
        InvalidInput: nothing archived is meant by it.
    """
    span = _RANGE.fullmatch(what)
    if span is None:
        return _of_file(archives, what)
    first, last = int(span[1]), int(span[2])
    if first > last:
        raise InvalidInput(f"{what} is no range of positions: write the lower one first, {last}-{first}")
    meant = [one for one in archives if one.last_position >= first and one.first_position <= last]
    if not meant:
        raise InvalidInput(f"no archive holds positions {first} to {last}: {_listed(archives)}")
    return [(one, Path(one.path)) for one in meant]


def _of_file(archives: list[Archive], what: str) -> list[tuple[Archive, Path]]:
    path = Path(what)
    if not path.is_file():
        raise InvalidInput(
            f"{what!r} is neither a file nor a range of positions such as 1-5000: {_listed(archives)}"
        )
    digest = sha256_of(path)
    meant = [(one, path) for one in archives if one.sha256 == digest]
    if not meant:
        raise InvalidInput(
            f"{what} is no archive of this log, or was changed, or its events are in the database again: "
            f"{_listed(archives)}"
        )
    return meant


def _listed(archives: list[Archive]) -> str:
    if not archives:
        return "nothing is archived, every event of the log is in the database"
    return "archived are positions " + ", ".join(
        f"{one.first_position}-{one.last_position}" for one in archives
    )
