"""The log in PostgreSQL: several processes, crashes, lost answers, tampering, partitions."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from logged import STORY, new_id, order_placed, pool_updated, to
from waiting import until

from adapters.embedded.stack import attach, status
from adapters.postgres.batch import Known, Request, plan
from adapters.postgres.chaining import Chain
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import GENESIS
from adapters.postgres.leases import PostgresLeases
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import MAX_DATA_BYTES, encode_appends
from adapters.postgres.session import LogSession
from commands.ports import Appended, StreamAppend
from domain.chain import Address, Slot
from domain.errors import ConcurrencyError, LogCorrupt, LogError, LogUnavailable, SetupError
from domain.events import Cause

APPENDER = Path(__file__).with_name("appender.py")


SWAP = (
    "UPDATE events e SET data = o.data, stream = o.stream, version = o.version, event_id = o.event_id "
    "FROM events o WHERE o.position = 15 - e.position AND e.position IN (7, 8)"
)


@pytest.fixture
async def url(database: str) -> str:
    await migrate(database)
    return database


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresEventLog]:
    async with await PostgresEventLog.open(url) as opened:
        yield opened


@pytest.fixture
async def owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def appender(url: str, name: str, callers: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(APPENDER), url, name, str(callers), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def acknowledged(process: subprocess.Popen[str]) -> list[tuple[str, int]]:
    output, _ = process.communicate(timeout=60)
    lines = [line.split(",") for line in output.splitlines()]
    return [(append_id, int(position)) for append_id, position in lines]


async def assert_whole(log: PostgresEventLog, acked: list[tuple[str, int]]) -> None:
    """Every acknowledged append stands where it was said to, once; the log is contiguous and verifies."""
    head = await log.head()
    count, _ = await log.verify()
    assert count >= head  # what an appender had on its way when it was stopped may still be committed
    rows = await log.pool.fetch("SELECT append_id::text, first_position FROM appends")
    stored = {row["append_id"]: row["first_position"] for row in rows}
    assert len({append_id for append_id, _ in acked}) == len(acked)
    for append_id, position in acked:
        assert stored[append_id] == position
    versions = await log.pool.fetch("SELECT max(version) = count(*) AS whole FROM events GROUP BY stream")
    assert all(row["whole"] for row in versions)


async def test_two_processes_write_one_order(log: PostgresEventLog, url: str) -> None:
    """Both coalesce; positions stay contiguous, nothing is lost, a follower misses nothing."""
    processes = [appender(url, name, 8, 40) for name in ("one", "two")]
    seen: list[int] = []
    async with asyncio.timeout(60):
        async for batch in log.follow():
            seen += [record.position for record in batch]
            if len(seen) == 640:
                break
    acked = [ack for process in processes for ack in acknowledged(process)]
    assert len(acked) == 640
    assert seen == list(range(1, 641))
    await assert_whole(log, acked)


async def test_the_log_is_there_after_it_was_closed(url: str) -> None:
    """Head, versions and chain go on where they stood."""
    for version in range(3):
        async with await PostgresEventLog.open(url) as log:
            await log.append([to("pool-1", expected=version)], append_id=new_id())
            assert (await log.verify())[0] == version + 1


async def test_a_server_killed_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The whole PostgreSQL, twice: callers retry by id, and what was acknowledged is there once."""
    folder = tmp_path / "stack"
    async with attach(folder) as urls:
        await migrate(urls.database_url)
        process = appender(urls.database_url, "crash", 8, 0)
        async with await PostgresEventLog.open(urls.database_url) as log:
            for _ in range(2):
                before = await _grown(log, 0)
                _kill_postgres(folder)
                await _grown(log, before)
            acked = acknowledged(process)
            assert len(acked) > 50
            await assert_whole(log, acked)


async def _grown(log: PostgresEventLog, above: int) -> int:
    """Until some more events are in the log, whatever becomes of the server meanwhile."""
    async with asyncio.timeout(40):
        while True:
            with contextlib.suppress(LogUnavailable):
                if (head := await log.head()) > above + 100:
                    return head
            await asyncio.sleep(0.02)


def _kill_postgres(folder: Path) -> None:
    (pid,) = [server.pid for server in status(folder) if server.name == "postgres"]
    assert pid is not None
    postmaster = psutil.Process(pid)
    for process in [*postmaster.children(recursive=True), postmaster]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.parametrize("count", [1, 30, 900])
async def test_a_repeated_id_is_found_whatever_the_writer_believes(log: PostgresEventLog, count: int) -> None:
    """At any version nothing but the id tells a repetition, and the writer does not ask for it beforehand."""
    first_id, many = new_id(), [pool_updated(n) for n in range(count)]
    first = await log.append([to("pool-1", *many)], append_id=first_id)
    for _ in range(3):  # by then both connections of the writer know the stream
        await log.append([to("pool-1", *many)], append_id=new_id())
    again = await log.append([to("pool-1", *many)], append_id=first_id)
    assert again == first._replace(repeated=True)
    assert await log.head() == 4 * count
    assert (await log.verify())[0] == 4 * count


async def test_large_events_are_copied_in_pieces_that_fit(log: PostgresEventLog) -> None:
    """Some of the largest size among many small ones."""
    events = [pool_updated(n) for n in range(900)]
    wide = replace(events[0], pool=Address("7" * (MAX_DATA_BYTES - 1_000)))
    events[100:110] = [wide] * 10
    await log.append([to("pool-1", *events)], append_id=new_id())
    assert (await log.verify())[0] == 900
    assert [record.event for record in await log.read(limit=1_000)] == events


async def test_an_answer_lost_after_the_commit_is_found_again(
    log: PostgresEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks between commit and answer: asked by append id, nothing is written twice."""
    for version in range(2):  # once on each of the writer's connections
        await log.append([to("pool-1", expected=version)], append_id=new_id())
    insert = LogSession.insert
    losses = iter([True])

    async def committed_but_lost(self: LogSession, *planned: Any) -> bool:  # noqa: ANN401 - passed on
        done = await insert(self, *planned)
        if next(losses, False):
            raise ConnectionResetError
        return done

    monkeypatch.setattr(LogSession, "insert", committed_but_lost)
    appended = await log.append([to("pool-1", expected=2)], append_id=new_id())
    assert appended.repeated
    assert (appended.first_position, await log.head()) == (3, 3)


@pytest.mark.parametrize("count", [1, 7, 900])
async def test_every_way_to_the_table_writes_the_same(log: PostgresEventLog, count: int) -> None:
    """Alone, in an array and by COPY: with and without slot and cause, in any alphabet, as the chain says."""
    written: list[tuple[str, Cause, Slot | None, Appended]] = []
    for slot in (None, Slot(2**63 - 1)):
        for cause in (Cause(new_id(), None, "planner"), Cause(new_id(), new_id(), "pl\u00e4ner")):
            stream = f"pool-\u00fc{len(written)}"
            events = [pool_updated(n) for n in range(count)]
            await log.append([StreamAppend(stream, 0, events[:1], cause, 5, slot)], append_id=new_id())
            appended = await log.append([StreamAppend(stream, 1, events, cause, 5, slot)], append_id=new_id())
            written.append((stream, cause, slot, appended))
    assert (await log.verify())[0] == 4 * (count + 1)
    for stream, cause, slot, appended in written:
        read = (await log.read_stream(stream))[1:]
        assert read[0].position == appended.first_position
        assert read[-1].position == appended.last_position
        assert {(event.cause, event.slot, event.recorded_at) for event in read} == {(cause, slot, 5)}
        assert [event.event for event in read] == [pool_updated(n) for n in range(count)]


async def test_many_callers_at_once_keep_their_order(log: PostgresEventLog) -> None:
    """Batches that are sent before those they follow on have committed: no conflict, no gap."""

    async def caller(stream: str) -> list[int]:
        return [
            (await log.append([to(stream, expected=version)], append_id=new_id())).first_position
            for version in range(20)
        ]

    positions = await asyncio.gather(*(caller(f"pool-{n}") for n in range(64)))
    assert sorted(position for each in positions for position in each) == list(range(1, 64 * 20 + 1))
    assert all(each == sorted(each) for each in positions)
    assert (await log.verify())[0] == 64 * 20


async def test_an_append_that_cannot_be_written_is_refused_alone(log: PostgresEventLog) -> None:
    """A caller's mistake that only the writer meets ends neither the writer nor the others' appends."""
    for version in range(2):  # once on each of the writer's connections
        await log.append([to("pool-1", expected=version)], append_id=new_id())
    nonsense = Cause("no uuid", None, "planner")  # type: ignore[arg-type] # what a caller without types may send
    bad = log.append([StreamAppend("pool-2", 0, [pool_updated()], nonsense, 5)], append_id=new_id())
    good = [log.append([to(f"pool-{n}", expected=0)], append_id=new_id()) for n in range(3, 9)]
    refused, *accepted = await asyncio.gather(bad, *good, return_exceptions=True)
    assert isinstance(refused, LogError)
    assert "nothing was written" in str(refused)
    assert all(isinstance(each, Appended) for each in accepted)
    assert (await log.verify())[0] == 8


async def test_an_append_is_given_up_after_its_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told that nothing is known; the same id may be tried again, and then is written once."""
    async with await PostgresEventLog.open(url, unavailable_after_s=0.3) as log:
        id_ = new_id()
        with monkeypatch.context() as broken:
            broken.setattr(LogSession, "write", _unreachable)
            with pytest.raises(LogUnavailable, match="with its append id"):
                await log.append([to("pool-1")], append_id=id_)
        assert not (await log.append([to("pool-1")], append_id=id_)).repeated


async def _unreachable(*_: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


async def test_closing_tells_those_who_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hangs."""
    log = await PostgresEventLog.open(url)
    monkeypatch.setattr(LogSession, "write", _unreachable)
    waiting = asyncio.create_task(log.append([to("pool-1")], append_id=new_id()))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(LogUnavailable, match="closed"):
        await waiting
    with pytest.raises(LogUnavailable, match="closed"):
        await log.append([to("pool-1")], append_id=new_id())


async def test_one_poisonous_append_is_refused_alone(
    log: PostgresEventLog, owner: asyncpg.Connection
) -> None:
    """The server refuses a row of one caller: the others of its batch are written."""
    await owner.execute("ALTER TABLE events_market ADD CONSTRAINT poison CHECK (actor <> 'poison')")
    good = [log.append([to(f"pool-{n}")], append_id=new_id()) for n in range(5)]
    bad = to("pool-bad", cause=Cause(STORY, None, "poison"))
    results = await asyncio.gather(*good, log.append([bad], append_id=new_id()), return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False] * 5 + [True]
    assert "poison" in str(results[-1])
    assert (await log.verify())[0] == 5


async def test_another_process_in_between_is_noticed(log: PostgresEventLog, url: str) -> None:
    """Two writers on one stream in turns: what each believes is compared, a stale expectation is refused."""
    async with await PostgresEventLog.open(url) as other:
        for version in range(6):
            writer, stale = (log, other) if version % 2 else (other, log)
            await writer.append([to("pool-1", expected=version)], append_id=new_id())
            with pytest.raises(ConcurrencyError, match=f"found {version + 1}"):
                await stale.append([to("pool-1", expected=version)], append_id=new_id())
        assert (await log.verify())[0] == 6


async def test_a_stream_not_seen_since_the_start_is_compared_all_the_same(url: str) -> None:
    """The writer believes an expectation it cannot know of, and the log compares it in the same statement."""
    async with await PostgresEventLog.open(url) as log:
        await log.append([to("pool-1")], append_id=new_id())
    async with await PostgresEventLog.open(url) as log:
        await log.append([to("pool-2", expected=0)], append_id=new_id())
        with pytest.raises(ConcurrencyError, match="expected version 0 but found 1"):
            await log.append([to("pool-1", expected=0)], append_id=new_id())
    async with await PostgresEventLog.open(url) as log:
        await log.append([to("pool-2", expected=1)], append_id=new_id())
        await log.append([to("pool-1", expected=1)], append_id=new_id())
        assert (await log.verify())[0] == 4


async def test_taking_a_lease_waits_for_the_append_under_it(
    log: PostgresEventLog, url: str, owner: asyncpg.Connection
) -> None:
    """Once a lease is taken, no append of the former epoch commits any more: not even one under way."""
    leases = PostgresLeases(log.pool)
    old = await leases.take("executor", "first")
    session = await LogSession.open(url)
    answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
    request = Request(encode_appends([to("pool-1")]), new_id(), answer, deadline=0.0, fence=old)
    made = plan([request], Known(0, GENESIS, {"pool-1": 0}))
    async with session._connection.transaction():
        chain = Chain(made)
        assert await session.insert(made, chain.links(made.placed), chain.hash)
        taking = asyncio.create_task(leases.take("executor", "second"))
        waits = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not await owner.fetchval(waits):  # noqa: ASYNC110 - the server tells only who asks
            await asyncio.sleep(0.01)
        assert not taking.done()
    assert (await taking).epoch == old.epoch + 1
    session.terminate()
    assert await log.head() == 1


@pytest.mark.parametrize(
    ("tampering", "position"),
    [
        ("UPDATE events SET data = set_byte(data, 20, get_byte(data, 20) # 1) WHERE position = 7", 7),
        ("UPDATE events SET actor = 'somebody' WHERE position = 7", 7),
        ("UPDATE events SET slot = 5 WHERE position = 7", 7),
        ("UPDATE events SET causation_id = correlation_id WHERE position = 7", 7),
        ("UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 7", 7),
        ("UPDATE events SET hash = sha256(data) WHERE position = 7", 7),
        ("UPDATE events SET event_id = gen_random_uuid() WHERE position = 7", 7),
        ("DELETE FROM events WHERE position = 7", 7),
        ("DELETE FROM events WHERE position = 20", 20),
        ("DELETE FROM events", 1),
        (SWAP, 7),
    ],
    ids=["bit", "actor", "slot", "cause", "time", "hash", "id", "deleted", "last", "all", "swapped"],
)  # fmt: skip
async def test_tampering_is_found_at_its_position(
    log: PostgresEventLog, owner: asyncpg.Connection, tampering: str, position: int
) -> None:
    """Even by the owner, who can switch the triggers off."""
    for n in range(20):
        await log.append([to(f"pool-{n}", pool_updated(n))], append_id=new_id())
    unique = "events_market_000000_stream_version_key"
    await owner.execute(f"ALTER TABLE events_market_000000 DROP CONSTRAINT {unique}")
    await owner.execute("ALTER TABLE events_market_000000 DISABLE TRIGGER USER")
    await owner.execute(tampering)
    with pytest.raises(LogCorrupt, match=f"at position {position}:") as caught:
        await log.verify()
    assert caught.value.position == position


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'x'",
        "UPDATE events_market_000000 SET actor = 'x'",
        "DELETE FROM events WHERE position = 1",
        "DELETE FROM events_market_000000",
        "TRUNCATE events",
        "TRUNCATE events_market_000000",
        "TRUNCATE events_domain",
        "UPDATE appends SET first_position = 9",
        "DELETE FROM appends",
        "TRUNCATE appends",
    ],
)
async def test_nobody_changes_the_record(
    log: PostgresEventLog, owner: asyncpg.Connection, statement: str
) -> None:
    """Not even the owner, by any door but switching the triggers off."""
    await log.append([to("pool-1")], append_id=new_id())
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="never changed or removed"):
        await owner.execute(statement)
    async with log.pool.acquire() as writer:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"denied|must be owner"):
            await writer.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TABLE events",
        "INSERT INTO events_market_000000 SELECT * FROM events",
        "SET session_replication_role = replica",
        "DELETE FROM log_head",
        "DELETE FROM leases",
        "CREATE TABLE mine (x int)",
    ],
)
async def test_the_writers_role_may_insert_and_read_only(log: PostgresEventLog, statement: str) -> None:
    """Whatever runs in daybook's connections cannot loosen its own bonds."""
    async with log.pool.acquire() as writer:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(statement)


async def test_positions_go_on_over_the_edge_of_a_partition(
    log: PostgresEventLog, owner: asyncpg.Connection
) -> None:
    """Partitions are there before they are needed; a page reads across them in order, by index alone."""
    await owner.execute("UPDATE log_head SET position = 9999996")

    async def both(n: int) -> Appended:
        order = to(f"order-{n}", order_placed(f"order-{n}"), expected=0)
        return await log.append([to(f"pool-{n}"), order], append_id=new_id())

    results = await asyncio.gather(*(both(n) for n in range(3)))
    assert max(result.last_position for result in results) == 10_000_002
    assert [record.position for record in await log.read()] == list(range(9_999_997, 10_000_003))
    assert len(await log.read_stream("order-2")) == 1
    leaves = await owner.fetch("SELECT DISTINCT tableoid::regclass::text AS leaf FROM events ORDER BY 1")
    assert [row["leaf"] for row in leaves] == [
        f"events_{kind}_00000{n}" for kind in ("domain", "market") for n in (0, 1)
    ]
    async with log.pool.acquire() as reader:
        plan = await reader.fetch("EXPLAIN SELECT * FROM events WHERE position > 9 ORDER BY position LIMIT 9")
    text = "\n".join(row[0] for row in plan)
    assert "Merge Append" in text
    assert "Sort  " not in text
    assert "Seq Scan" not in text


async def test_a_topic_of_one_category_leaves_the_other_unread(log: PostgresEventLog) -> None:
    """A planner that wants market events does not page through orders."""
    async with log.pool.acquire() as reader:
        plan = await reader.fetch(
            "EXPLAIN SELECT * FROM events WHERE position > 0 AND category = 'market' ORDER BY position"
        )
    assert "events_domain" not in "\n".join(row[0] for row in plan)


async def test_the_view_shows_the_log_to_people(log: PostgresEventLog, owner: asyncpg.Connection) -> None:
    """Data as jsonb, time as time, hash in hex."""
    await log.append([to("pool-1", pool_updated(42))], append_id=new_id())
    row = await owner.fetchrow(
        "SELECT data->>'reserve_a' AS reserve, recorded_at::text AS at, length(hash) AS hash, type "
        "FROM events_json"
    )
    assert row is not None
    assert (row["reserve"], row["hash"], row["type"]) == ("42", 64, "market.pool_updated")
    assert row["at"].startswith("2023-11-14 22:13:20.000001")


async def test_a_follower_outlives_the_server(log: PostgresEventLog, owner: asyncpg.Connection) -> None:
    """Every connection is cut: the follower waits and goes on."""
    seen: list[int] = []

    async def follow() -> None:
        async for batch in log.follow():
            seen.extend(record.position for record in batch)

    follower = asyncio.create_task(follow())
    await log.append([to("pool-1")], append_id=new_id())
    await until(lambda: seen == [1])
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await log.append([to("pool-1")], append_id=new_id())
    await until(lambda: seen == [1, 2])
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)


async def test_a_role_that_is_missing_is_a_sentence(database: str) -> None:
    """A database that was never migrated, on a server where the role may or may not exist."""
    with pytest.raises(SetupError, match="daybook migrate"):
        await PostgresEventLog.open(database)
