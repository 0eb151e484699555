"""Export, import and bulk appends: what comes in is what went out, or nothing."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import asyncpg
import pyarrow as pa  # type: ignore[import-untyped] # pyarrow ships no types
import pytest
from databases import fresh_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged import new_id, order_landed, order_placed, pool_updated, to
from partitioned import chained, fill, row

from adapters.embedded.stack import StackUrls
from adapters.event_files.files import EventFile, open_events
from adapters.event_files.summary import Summary
from adapters.postgres.bulk import bulk_load
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.exporting import Selection, write_range
from adapters.postgres.importing import import_events
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import Row, StoredEvent
from domain.errors import ConcurrencyError, DaybookError, InvalidInput, LogCorrupt, LogError

FORMATS = ("parquet", "ndjson")


@pytest.fixture
async def url(database: str) -> str:
    await migrate(database)
    return database


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresEventLog]:
    async with await PostgresEventLog.open(url) as opened:
        yield opened


@asynccontextmanager
async def empty_log(stack: StackUrls) -> AsyncIterator[tuple[str, PostgresEventLog]]:
    """Another one."""
    async with fresh_database(stack.database_url) as url:
        await migrate(url)
        async with await PostgresEventLog.open(url) as log:
            yield url, log


def unseen(_done: int, _total: int) -> None:
    """Progress nobody looks at."""


async def export(
    log: PostgresEventLog,
    path: Path,
    after: int = 0,
    through: int | None = None,
    wanted: Callable[[StoredEvent], bool] = lambda _row: True,
) -> Summary:
    with EventFile(path) as file:
        end = await log.head() if through is None else through
        await write_range(log, file, after, end, wanted, unseen)
        return file.finish()


async def take(url: str, path: Path) -> Summary:
    with open_events(path) as reader:
        return await import_events(url, reader, unseen)


async def load(url: str, rows: Sequence[Row]) -> None:
    """Rows with any bytes into an empty log."""
    linked = [one for one, _ in chained(rows)]
    async with bulk_load(url, len(rows)) as loading:
        await loading.copy(linked)


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_log_in_pieces_becomes_the_same_log(
    log: PostgresEventLog, stack: StackUrls, tmp_path: Path, kind: str
) -> None:
    """Row by row, with the head; appends, followers and files go on from there."""
    await fill(log, 400)
    pieces = [(0, 150), (150, 151), (151, 400)]
    for after, through in pieces:
        claims = await export(log, tmp_path / f"{after}.{kind}", after, through)
        assert (claims.first_position, claims.last_position, claims.contiguous) == (after + 1, through, True)
    async with empty_log(stack) as (other_url, other):
        for after, _ in pieces:
            await take(other_url, tmp_path / f"{after}.{kind}")
        assert await other.read_rows(0, 1_000) == await log.read_rows(0, 1_000)
        assert await other.verify() == await log.verify()
        for one in (log, other):
            await one.append([to("pool-1", expected=60)], append_id=new_id())
        assert await other.verify() == await log.verify()
        await export(log, tmp_path / f"more.{kind}", 400)
        with pytest.raises(InvalidInput, match=r"stands at position 401 and the file ends at 401"):
            await take(other_url, tmp_path / f"more.{kind}")


SOME_DATA = st.binary(max_size=60) | st.sampled_from(
    [b"null", b"{}", b'{"a": 1}', b' {"a":1}', b'{"a":1}\n', b'"\xff"', b'{"x":"\xc3\xa9"}', b"1e400", b"01"]
)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.lists(SOME_DATA, min_size=1, max_size=30), kind=st.sampled_from(FORMATS))
async def test_any_bytes_survive_the_journey(
    stack: StackUrls, tmp_path_factory: pytest.TempPathFactory, data: list[bytes], kind: str
) -> None:
    """The hash covers the bytes, JSON or not, so they come back bit by bit."""
    path = tmp_path_factory.mktemp("journey") / f"log.{kind}"
    topics = ("market.pool_updated", "order.placed")
    rows = [row(n, f"pool-{n}", 1, given_data, topics[n % 2]) for n, given_data in enumerate(data, 1)]
    async with empty_log(stack) as (url, log), empty_log(stack) as (other_url, other):
        await load(url, rows)
        await export(log, path)
        await take(other_url, path)
        assert (
            await other.read_rows(0, 100) == await log.read_rows(0, 100) == [one for one, _ in chained(rows)]
        )
        assert await other.verify() == await log.verify()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "selection",
    [
        Selection(topics=("order.placed",)),
        Selection(streams=("pool-1", "order-3")),
        Selection(category="market"),
        Selection(category="domain", streams=("pool-1",)),
        Selection(since=1_700_000_000_000_010, until=1_700_000_000_000_020),
    ],
    ids=["type", "stream", "category", "nothing", "time"],
)
async def test_a_selection_proves_itself_and_is_no_log(
    log: PostgresEventLog, url: str, tmp_path: Path, selection: Selection, kind: str
) -> None:
    """Each of its rows is proven by the hash before it, which the file carries where it left rows out."""
    for number in range(30):
        order = f"order-{number}"
        await log.append(
            [
                to(f"pool-{number % 3}", *[pool_updated()] * 2, at=1_700_000_000_000_000 + number),
                to(order, order_placed(order), order_landed(order, 2), expected=0),
            ],
            append_id=new_id(),
        )
    rows = [one for one in await log.read_rows(0, 1_000) if selection.wants(one)]
    path = tmp_path / f"some.{kind}"
    claims = await export(log, path, wanted=selection.wants)
    assert claims.rows == len(rows)
    assert not claims.contiguous
    with open_events(path) as reader:
        assert [one for batch in reader.batches() for one, _ in batch] == rows
    with pytest.raises(InvalidInput, match=r"selection|holds no events"):
        await take(url, path)


async def test_an_export_takes_bounded_memory(url: str, log: PostgresEventLog, tmp_path: Path) -> None:
    """Sixty megabytes pass through; a few row groups are in memory."""
    random = Random(1)
    await load(url, [row(n, "pool-1", n, random.randbytes(6_000)) for n in range(1, 10_001)])
    arrow_before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    try:
        claims = await export(log, tmp_path / "big.parquet")
        _, python_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert claims.rows == 10_000
    assert (tmp_path / "big.parquet").stat().st_size > 60_000_000
    assert python_peak < 40_000_000
    assert pa.default_memory_pool().max_memory() < max(arrow_before, 64_000_000)


async def test_what_does_not_verify_is_not_passed_on(log: PostgresEventLog, url: str, tmp_path: Path) -> None:
    """The export stops at the altered event, and no file appears."""
    await fill(log, 40)
    owner = await asyncpg.connect(url)
    await owner.execute("ALTER TABLE events_market_000000 DISABLE TRIGGER USER")
    await owner.execute("UPDATE events SET actor = 'somebody' WHERE position = 7")
    await owner.close()
    with pytest.raises(LogCorrupt, match="at position 7:"):
        await export(log, tmp_path / "log.parquet")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib is for those who do not await
    assert (await export(log, tmp_path / "rest.parquet", 8)).rows == 32


@pytest.mark.parametrize(
    ("after", "through", "says"),
    [
        (0, 41, "up to position 41 were asked for, and the log ends at position 40"),
        (41, 41, "above position 41 were asked for, and the log ends at position 40"),
        (-1, 5, "no positions above -1 and up to 5"),
        (20, 10, "no positions above 20 and up to 10"),
    ],
)
async def test_a_range_outside_the_log_is_refused(
    log: PostgresEventLog, tmp_path: Path, after: int, through: int, says: str
) -> None:
    """What was asked for, and what the log has."""
    await fill(log, 40)
    with pytest.raises(InvalidInput, match=says):
        await export(log, tmp_path / "log.parquet", after, through)


async def written(path: Path, rows: Sequence[tuple[StoredEvent, bytes]]) -> Path:
    with EventFile(path) as file:
        for one, before in rows:
            file.add(one, before)
        file.finish()
    return path


async def refused(url: str, path: Path, error: type[DaybookError], says: str) -> None:
    """The import is refused and the log is as it was."""
    async with await PostgresEventLog.open(url) as log:
        before = await log.verify()
        with pytest.raises(error, match=says):
            await take(url, path)
        assert await log.verify() == before
        assert await log.read_rows(before[0], 10) == []


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_file_that_does_not_follow_is_refused(
    log: PostgresEventLog, url: str, tmp_path: Path, kind: str
) -> None:
    """Another log's, a piece too early, a piece too late."""
    await fill(log, 40)
    ours = chained([row(n, "pool-x", n, b"{}") for n in range(1, 60)])
    late = await written(tmp_path / f"late.{kind}", ours[45:])
    await refused(url, late, InvalidInput, "begins at position 46 and the log would go on with 41")
    early = await written(tmp_path / f"early.{kind}", ours[10:])
    await refused(url, early, InvalidInput, "begins at position 11 and the log would go on with 41")
    other = await written(tmp_path / f"other.{kind}", ours[40:])
    await refused(url, other, InvalidInput, "the file continues another log")


async def test_a_file_that_begins_late_is_not_taken_into_an_empty_log(url: str, tmp_path: Path) -> None:
    """A log begins with its first event, whose past is nothing."""
    ours = chained([row(n, "pool-x", n, b"{}") for n in range(1, 9)])
    late = await written(tmp_path / "late.parquet", ours[4:])
    await refused(url, late, InvalidInput, "begins at position 5 and the log would go on with 1")
    forged = await written(tmp_path / "forged.parquet", chained([row(1, "pool-x", 1, b"{}")], b"x" * 32))
    await refused(url, forged, InvalidInput, "the file does not begin a log")


@pytest.mark.parametrize("kind", FORMATS)
async def test_streams_must_go_on_where_they_stand(url: str, tmp_path: Path, kind: str) -> None:
    """A chain somebody put together himself may hash well and still be nonsense."""
    rows = [row(1, "pool-x", 1, b"{}"), row(2, "pool-y", 1, b"{}"), row(3, "pool-x", 3, b"{}")]
    path = await written(tmp_path / f"nonsense.{kind}", chained(rows))
    await refused(
        url, path, LogError, r"position 3 holds version 3 of stream 'pool-x', which goes on with version 2"
    )


async def test_an_import_that_breaks_late_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when thousands of rows were copied already."""
    monkeypatch.setattr("adapters.event_files.files.GROUP_ROWS", 100)
    linked = chained([row(n, "pool-x", n, b"{}") for n in range(1, 1_000)])
    bad = linked[950][0]._replace(actor="somebody")
    linked[950] = (bad, linked[950][1])
    path = await written(tmp_path / "late.parquet", linked)
    says = r"late\.parquet, row 951: the event of position 951 is not as it was written.*nothing was imported"
    await refused(url, path, InvalidInput, says)


async def test_a_bulk_append_is_an_append(log: PostgresEventLog) -> None:
    """Same versions, conflicts, chain and repeated ids; single appends go on around it."""
    first = new_id()
    many = [to(f"pool-{n}", *[pool_updated(n)] * 100, expected=0) for n in range(30)]
    appended = await log.bulk_append(many, append_id=first)
    assert (appended.first_position, appended.last_position) == (1, 3_000)
    again = await log.bulk_append(many, append_id=first)
    assert again == appended._replace(repeated=True)
    single = await log.append([to("pool-1", expected=100)], append_id=new_id())
    assert single.first_position == 3_001
    with pytest.raises(ConcurrencyError, match="found 101"):
        await log.bulk_append([to("pool-1", *[pool_updated()] * 9, expected=100)], append_id=new_id())
    assert (await log.bulk_append([to("pool-1")], append_id=new_id())).last_position == 3_002
    assert (await log.append(many, append_id=first)).repeated
    assert (await log.verify())[0] == 3_002


async def test_a_bulk_append_has_a_bound_and_survives_a_lost_connection(
    log: PostgresEventLog, url: str
) -> None:
    """What is too much is refused; a broken connection is replaced."""
    with pytest.raises(InvalidInput, match="more than 200000 events: split it"):
        await log.bulk_append([to("pool-1", *[pool_updated()] * 200_001)], append_id=new_id())
    await log.bulk_append([to("pool-1")], append_id=new_id())
    owner = await asyncpg.connect(url)
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await owner.close()
    assert (await log.bulk_append([to("pool-1")], append_id=new_id())).last_position == 2
