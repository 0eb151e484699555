"""Archives: the log reads, verifies and goes on as if its old market events still stood in the table."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa  # type: ignore[import-untyped] # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # pyarrow ships no types
import pytest
from logged import new_id, pool_updated, to
from partitioned import SPAN, chained, fill, migrate_with_small_partitions, partitions_made_in_time, row

from adapters.event_files.files import EventFile
from adapters.postgres import archiving
from adapters.postgres.archive_shelf import GROUPS_KEPT
from adapters.postgres.archiving import Archived, Archivist, OnPhase, archivist, choose
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.relay_source import RelaySource
from adapters.postgres.rows import StoredEvent
from domain.errors import ConcurrencyError, InvalidInput, LogCorrupt, LogError, SetupError
from domain.events import ANY_VERSION, RecordedEvent

MARKET = ("market.pool_updated",)
ORDERS = ("order.placed",)


@pytest.fixture
async def url(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    await migrate_with_small_partitions(database)
    with partitions_made_in_time(monkeypatch):
        yield database


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresEventLog]:
    async with await PostgresEventLog.open(url) as opened:
        yield opened


@pytest.fixture
async def owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def unseen(_done: int, _total: int) -> None:
    """Progress nobody looks at."""


async def archive_all(
    url: str, folder: Path, before: int | None = None, on_phase: OnPhase = lambda _phase, *_progress: None
) -> list[Archived]:
    async with archivist(url) as works:
        return [
            await works.archive(leaf, folder, on_phase) for leaf in await works.closed_leaves(before, None)
        ]


async def restore(url: str, what: str) -> list[Archived]:
    async with archivist(url) as works:
        meant = choose(await works.archived(), what)
        return [await works.restore(one, path, unseen) for one, path in meant]


async def everything(log: PostgresEventLog, page: int, **how: object) -> list[RecordedEvent]:
    """The log, read page by page."""
    found: list[RecordedEvent] = []
    after = 0
    while events := await log.read(after, page, **how):  # type: ignore[arg-type] # the options of read
        found += events
        after = events[-1].position
    return found


async def test_an_archived_log_reads_as_before(log: PostgresEventLog, url: str, tmp_path: Path) -> None:
    """By any page, by type, up to a position, and following from the beginning."""
    await fill(log, 8 * SPAN)
    before = await log.read(0, 1_000)
    archived = await archive_all(url, tmp_path)
    assert [one.partition for one in archived] == [f"events_market_{n:06d}" for n in range(8)]
    for page in (1, 7, SPAN, 1_000):
        assert await everything(log, page) == before
    assert await log.read(31, 40, through=60) == before[31:60]
    assert await everything(log, 9, topics=MARKET) == [one for one in before if one.topic == MARKET[0]]
    assert await everything(log, 9, topics=ORDERS) == [one for one in before if one.topic == ORDERS[0]]
    assert await everything(log, 9, topics=MARKET + ORDERS) == before
    followed: list[RecordedEvent] = []
    async with asyncio.timeout(20):
        async for batch in log.follow(limit=33):
            followed += batch
            if len(followed) == len(before):
                break
    assert followed == before
    assert await log.verify() == (len(before), (await log.read_rows(len(before) - 1, 1))[0].hash)


async def test_only_closed_market_partitions_go(
    log: PostgresEventLog, owner: asyncpg.Connection, url: str, tmp_path: Path
) -> None:
    """Orders stay where they were; a file tells what it holds; partitions that are out are not made again."""
    await fill(log, 3 * SPAN + 8)
    told: dict[str, tuple[int, int]] = {}
    (first, *_) = await archive_all(
        url, tmp_path, 2 * SPAN, lambda phase, *progress: told.update({phase: progress})
    )
    assert told.keys() == {"write", "read back"}
    assert all(done == total > 0 for done, total in told.values())
    assert first.path.name == "market-000000000000-000000000049.parquet"
    rows = await owner.fetch("SELECT * FROM archives ORDER BY low")
    assert [(row["low"], row["high"]) for row in rows] == [(0, SPAN), (SPAN, 2 * SPAN)]
    assert rows[0]["sha256"] == hashlib.sha256(first.path.read_bytes()).digest()
    assert (
        await owner.fetchval("SELECT count(*) FROM events WHERE category = 'domain'") == (3 * SPAN + 8) // 4
    )
    await owner.execute("SELECT extend_events($1)", 10 * SPAN)
    assert await owner.fetchval("SELECT to_regclass('events_market_000000')") is None
    shelf = [row async for page in log.shelf.rows(1, 3 * SPAN) for row in page]
    assert [row.position for row in shelf] == [n for n in range(1, 2 * SPAN) if n % 4]
    assert await archive_all(url, tmp_path, before=2 * SPAN) == []
    assert [one.partition for one in await archive_all(url, tmp_path)] == ["events_market_000002"]


async def test_age_decides_by_the_newest_event(log: PostgresEventLog, url: str) -> None:
    """A partition is as old as its newest event; an empty one has nothing to archive."""
    for number in range(2 * SPAN):
        await log.append([to("pool-1", at=1_000 * number)], append_id=new_id())
    async with archivist(url) as works:
        assert [leaf.low for leaf in await works.closed_leaves(None, 1_000 * SPAN)] == [0]
        assert [leaf.low for leaf in await works.closed_leaves(None, 1_000)] == []


async def test_a_stream_goes_on_where_its_archive_ends(
    log: PostgresEventLog, url: str, tmp_path: Path
) -> None:
    """Its versions are unique for ever: they make the ids of events."""
    await log.append([to("pool-old", *[pool_updated(n) for n in range(7)])], append_id=new_id())
    await fill(log, 3 * SPAN)
    await archive_all(url, tmp_path)
    async with await PostgresEventLog.open(url) as other:
        for stale in (0, 3):
            with pytest.raises(ConcurrencyError, match="found 7"):
                await other.append([to("pool-old", expected=stale)], append_id=new_id())
        with pytest.raises(LogError, match=r"up to version 7 are archived: read the log by position"):
            await other.read_stream("pool-old")
        await other.append([to("pool-old", expected=7)], append_id=new_id())
        await log.append([to("pool-old", expected=ANY_VERSION)], append_id=new_id())
    assert [one.version for one in await log.read_stream("pool-old", 7)] == [8, 9]
    with pytest.raises(LogError, match="are archived"):
        await log.read_stream("pool-old", 6)
    assert await log.read_stream("pool-never") == []
    await log.verify()


async def test_a_retried_append_finds_its_archived_events(
    log: PostgresEventLog, url: str, tmp_path: Path
) -> None:
    """The answer is the first one, wherever its events are now."""
    id_, events = new_id(), [to("pool-1", *[pool_updated(n) for n in range(2 * SPAN)])]
    first = await log.append(events, append_id=id_)
    await log.append([to("pool-2")], append_id=new_id())
    assert len(await archive_all(url, tmp_path)) == 2
    async with await PostgresEventLog.open(url) as other:
        again = await other.append(events, append_id=id_)
    assert again == first._replace(repeated=True)


async def test_the_relay_reads_archived_events(log: PostgresEventLog, url: str, tmp_path: Path) -> None:
    """A JetStream that was wiped is refilled with them, too."""
    await fill(log, 3 * SPAN)
    rows = await log.read_rows(0, 1_000)
    await archive_all(url, tmp_path)
    source = await RelaySource.open(url)
    try:
        assert await source.read(0, 1_000) == rows
        assert await source.read(30, 40) == rows[30:70]
        assert await source.read(len(rows), 10) == []
        assert await source.event_id_at(2) == rows[1].event_id
        assert await source.event_id_at(len(rows) + 1) is None
    finally:
        source.close()


async def test_a_missing_file_is_named_with_what_to_do(
    log: PostgresEventLog, url: str, tmp_path: Path
) -> None:
    """Nothing is skipped in silence; orders, which are all there, can be read."""
    await fill(log, 4 * SPAN)
    (archived, *_) = await archive_all(url, tmp_path, before=SPAN)
    away = archived.path.rename(tmp_path / "away.parquet")
    for attempt in (log.verify(), log.read(0, 10), log.read(20, 5, topics=MARKET)):
        with pytest.raises(LogError, match=r"archived in .*market-0.* not there: put the file back") as error:
            await attempt
        assert not isinstance(error.value, LogCorrupt)
    assert len(await log.read(0, topics=ORDERS)) == 4 * SPAN // 4
    assert (await log.read(SPAN, 5))[0].position == SPAN + 1
    await restore(url, str(away))
    assert (await log.verify())[0] == 4 * SPAN


def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def alter(path: Path) -> None:
    """A whole, readable file in which somebody changed one event."""
    file = pq.ParquetFile(path)
    table, claims = file.read(), file.schema_arrow.metadata or file.metadata.metadata
    data = table["data"].to_pylist()
    data[10] = data[10].replace(b"Pool1", b"Pool2")
    column = pa.array(data, pa.binary())
    table = table.set_column(table.schema.get_field_index("data"), table.schema.field("data"), column)
    with pq.ParquetWriter(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata({"daybook": file.metadata.metadata[b"daybook"]})
    assert claims is not None


@pytest.mark.parametrize(("damage", "position"), [(flip, None), (cut, 1), (alter, 14)])
async def test_a_damaged_archive_is_found(
    log: PostgresEventLog,
    url: str,
    tmp_path: Path,
    damage: Callable[[Path], None],
    position: int | None,
) -> None:
    """By verifying, which walks through the archives; and it is not taken back into the table."""
    await fill(log, 3 * SPAN)
    (archived, *_) = await archive_all(url, tmp_path)
    damage(archived.path)
    with pytest.raises(LogCorrupt) as caught:
        await log.verify()
    assert 1 <= caught.value.position < SPAN
    assert position in {None, caught.value.position}
    with pytest.raises(LogCorrupt, match="another sha256"):
        await restore(url, f"1-{SPAN - 1}")


async def test_another_archive_in_its_place_is_found(log: PostgresEventLog, url: str, tmp_path: Path) -> None:
    await fill(log, 3 * SPAN)
    one, two, *_ = await archive_all(url, tmp_path)
    shutil.copy(two.path, one.path)
    with pytest.raises(LogCorrupt, match="holds other events than were archived"):
        await log.verify()


async def test_archives_come_back_and_go_again(
    log: PostgresEventLog, owner: asyncpg.Connection, url: str, tmp_path: Path
) -> None:
    """By position or by file; the older one alone changes nothing about the versions of its streams."""
    await fill(log, 4 * SPAN, pools=1)
    before = await log.read(0, 1_000)
    archived = await archive_all(url, tmp_path)
    assert [one.partition for one in await restore(url, "1-3")] == ["events_market_000000"]
    count = await owner.fetchval("SELECT count(*) FROM events_market_000000")
    assert count == archived[0].summary.rows
    async with await PostgresEventLog.open(url) as other:
        assert await other.read(0, 1_000) == before
        expected = len([one for one in before if one.stream == "pool-0"])
        appended = await other.append([to("pool-0", expected=expected)], append_id=new_id())
        assert appended.first_position == len(before) + 1
    copy = shutil.copy(archived[2].path, tmp_path / "copy.parquet")
    assert [one.partition for one in await restore(url, str(copy))] == ["events_market_000002"]
    for restored in (0, 2):  # their files are no longer needed
        archived[restored].path.unlink()
    assert (await log.read(0, 1_000))[:-1] == before
    again = await archive_all(url, tmp_path)
    assert [one.partition for one in again] == ["events_market_000000", "events_market_000002"]
    assert (await log.read(0, 1_000))[:-1] == before
    assert (await log.verify())[0] == len(before) + 1


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (
            "",
            "neither a file nor a range of positions such as 1-5000: archived are positions 1-49, 50-99",
        ),
        ("here.parquet", "'here.parquet' is neither a file nor a range"),
        ("5", "'5' is neither a file nor a range"),
        ("-", "'-' is neither a file nor a range"),
        ("\u00b2-9", "is neither a file nor a range"),
        ("9-1", "9-1 is no range of positions: write the lower one first, 1-9"),
        ("9000-9100", "no archive holds positions 9000 to 9100: archived are positions 1-49, 50-99"),
        (__file__, "is no archive of this log, or was changed, or its events are in the database again"),
    ],
)
async def test_what_is_no_archive_is_not_restored(
    log: PostgresEventLog, url: str, tmp_path: Path, what: str, says: str
) -> None:
    """What was asked for, and what is archived."""
    await fill(log, 2 * SPAN)
    await archive_all(url, tmp_path)
    with pytest.raises(InvalidInput, match=says):
        await restore(url, what)


async def test_a_crash_before_the_drop_costs_nothing(
    log: PostgresEventLog, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, the table too; the next run does it over."""
    await fill(log, 2 * SPAN)
    before = await log.read(0, 1_000)

    async def crash(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as broken:
        broken.setattr(Archivist, "_detach_now", crash)
        with pytest.raises(LogError):
            await archive_all(url, tmp_path)
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208 - pathlib is for those who do not await
    assert await log.shelf.overlapping() == []
    assert await log.read(0, 1_000) == before
    assert len(await archive_all(url, tmp_path)) == 2
    assert await log.read(0, 1_000) == before


async def test_a_written_file_that_does_not_read_back_drops_nothing(
    log: PostgresEventLog, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disks lie: what is dropped was proven as it stands there."""
    await fill(log, 2 * SPAN)
    read_back = archiving._read_back

    def lying_disk(path: Path, *arguments: Any) -> dict[str, int]:  # noqa: ANN401 - as it stands for
        alter(path)
        return read_back(path, *arguments)

    monkeypatch.setattr(archiving, "_read_back", lying_disk)
    with pytest.raises(SetupError, match=r"position 14 is not as it was written.*still in the database"):
        await archive_all(url, tmp_path)
    assert await log.shelf.overlapping() == []
    assert (await log.verify())[0] == 2 * SPAN


async def test_a_long_reader_is_waited_for_and_appends_go_on(
    log: PostgresEventLog,
    owner: asyncpg.Connection,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then archiving gives up with a sentence; nothing is lost."""
    await fill(log, 2 * SPAN)
    monkeypatch.setattr(archiving, "DETACH_TRIES", 2)
    monkeypatch.setattr(archiving, "DETACH_PAUSE_S", 0.01)
    async with owner.transaction():
        await owner.execute("LOCK TABLE events_market_000000 IN ACCESS SHARE MODE")
        archiving_now = asyncio.create_task(archive_all(url, tmp_path, before=SPAN))
        while not archiving_now.done():
            await log.append([to("pool-1")], append_id=new_id())
        with pytest.raises(LogError, match="was being read all the time"):
            await archiving_now
    assert len(await archive_all(url, tmp_path, before=SPAN)) == 1
    await log.verify()


async def test_one_archivist_at_a_time(url: str, tmp_path: Path) -> None:
    async with archivist(url):
        with pytest.raises(LogError, match="wait for that to end"):
            await archive_all(url, tmp_path)


@pytest.mark.parametrize(
    ("made", "says"),
    [("a file of another log", "is the archive of another log"), ("not ours", "is in the way")],
)
async def test_a_file_that_is_in_the_way_is_not_written_over(
    log: PostgresEventLog, url: str, tmp_path: Path, made: str, says: str
) -> None:
    """Two logs may have been given one folder."""
    await fill(log, 2 * SPAN)
    path = tmp_path / f"market-000000000000-{SPAN - 1:012d}.parquet"
    if made == "not ours":
        path.write_text(made)
    else:
        with EventFile(path) as file:
            for one, before in chained([row(1, "pool-1", 1, b"{}")]):
                file.add(one, before)
            file.finish()
    content = path.read_bytes()
    with pytest.raises(SetupError, match=says):
        await archive_all(url, tmp_path)
    assert path.read_bytes() == content


async def test_only_the_owner_archives(
    log: PostgresEventLog, owner: asyncpg.Connection, url: str, tmp_path: Path
) -> None:
    """Whoever may only append cannot take a partition away."""
    await fill(log, 2 * SPAN)
    async with log.pool.acquire() as writer:
        for statement in (
            "ALTER TABLE events_market DETACH PARTITION events_market_000000",
            "INSERT INTO archives SELECT 'x', 1, 2, 1, 2, 2, 'x', '', '', ''",
            "INSERT INTO archived_streams VALUES ('pool-1', 9)",
            "SELECT make_leaf('market', 'x', 1, 2)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writer.execute(statement)
    guest = f"guest_{new_id().hex}"
    await owner.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'guest' IN ROLE daybook_writer")
    try:
        with pytest.raises(SetupError, match="run it as the owner of the database"):
            await archive_all(re.sub("//.*@", f"//{guest}:guest@", url), tmp_path)
    finally:
        await owner.execute(f"DROP ROLE {guest}")
    assert (await log.verify())[0] == 2 * SPAN


async def test_writers_cross_partitions_while_others_are_archived(
    log: PostgresEventLog, url: str, tmp_path: Path
) -> None:
    """Two logs' writers over some twenty edges: no append fails, a follower misses nothing."""
    total = 20 * SPAN
    async with await PostgresEventLog.open(url) as other:

        async def write(through: PostgresEventLog, name: str) -> None:
            for number in range(total // 8):
                await through.append([to(f"pool-{name}", expected=number)], append_id=new_id())

        writers = asyncio.gather(*(write(one, f"{id(one)}-{n}") for one in (log, other) for n in range(4)))
        seen: list[int] = []

        async def look() -> None:
            async for batch in log.follow(limit=20):
                seen.extend(record.position for record in batch)
                if len(seen) >= total:
                    return

        async with asyncio.timeout(60):
            follower = asyncio.create_task(look())
            archived = []
            while not writers.done():
                archived += await archive_all(url, tmp_path)
                await asyncio.sleep(0)
            await writers
            await follower
    assert seen == list(range(1, total + 1))
    assert len(archived) >= 3
    assert (await log.verify())[0] == total


async def test_pages_come_from_the_group_they_are_in(
    log: PostgresEventLog, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of many row groups is read where the page is, and little of it is kept."""
    monkeypatch.setattr("adapters.event_files.files.GROUP_ROWS", 4)
    await fill(log, 2 * SPAN)
    before = await log.read_rows(0, 1_000)
    await archive_all(url, tmp_path)
    for after in (0, 3, 17, 48, 49, 50, 98):
        for limit in (1, 5, 60):
            expected: list[StoredEvent] = before[after : after + limit]
            assert await log.read_rows(after, limit) == expected
    assert len(log.shelf._groups) <= GROUPS_KEPT
