"""The library's events and ours in one log: same rows where they are ours, honest strangers where not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from eventsourcing.utils import Environment
from given import a_wallet
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import CAUSE, new_id, order_placed, pool_updated, to
from waiting import until

from adapters.eventsourcing.factory import LogFactory
from adapters.eventsourcing.recorders import LogProcessRecorder
from adapters.postgres.batch import Track
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.foreign import ForeignEvent, pack, unpack
from adapters.postgres.mapper import LogMapper
from adapters.postgres.rows import EncodedAppend
from domain.errors import AlreadyTracked, InvalidInput, LogUnavailable
from domain.wallets.wallet import Wallet

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'daybook' AND datname = current_database()
"""
EXAMPLE = Path(__file__).parents[3] / "examples" / "dogs.py"


@pytest.fixture
def url(new_log: Callable[..., str]) -> str:
    return new_log()


@pytest.fixture
def factory(url: str) -> Iterator[LogFactory]:
    opened = LogFactory(Environment(env={"DAYBOOK_DATABASE_URL": url}))
    yield opened
    opened.close()


@pytest.fixture
def recorder(factory: LogFactory) -> LogProcessRecorder:
    made = factory.process_recorder()
    assert isinstance(made, LogProcessRecorder)
    return made


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresEventLog]:
    async with await PostgresEventLog.open(url) as opened:
        yield opened


class Ledger(Application[str]):
    """An application of the library whose aggregates are ours."""

    env = {  # noqa: RUF012 - as the library documents
        "MAPPER_TOPIC": "adapters.postgres.mapper:LogMapper",
        "PERSISTENCE_MODULE": "adapters.eventsourcing.factory",
    }


async def test_what_the_library_saves_of_ours_is_what_we_would_append(
    log: PostgresEventLog, url: str
) -> None:
    """A wallet saved by an Application is read as typed events, and folds to the same wallet."""

    def use() -> Wallet:
        with Ledger(env={"DAYBOOK_DATABASE_URL": url}) as ledger:
            wallet = a_wallet()
            recordings = ledger.save(wallet)
            assert [one.notification.id for one in recordings] == [1, 2]
            return ledger.repository.get(wallet.id)

    wallet = await asyncio.to_thread(use)
    records = await log.read_stream(wallet.id)
    assert [(one.topic, one.cause.actor) for one in records] == [
        ("wallet.opened", "library"),
        ("wallet.transferred", "library"),
    ]
    assert (await log.verify())[0] == 2
    again: Wallet | None = None
    for record in records:
        again = record.event.mutate(again)
    assert again == wallet


async def test_our_events_are_the_librarys_notifications(
    log: PostgresEventLog, recorder: LogProcessRecorder
) -> None:
    """Market events too, by position and by topic."""
    await log.append([to("pool-1", pool_updated(1))], append_id=new_id())
    await log.append([to("order-1", order_placed("order-1"), expected=0)], append_id=new_id())
    seen = await asyncio.to_thread(recorder.select_notifications, 1, 10)
    assert [(one.id, one.originator_id, one.topic) for one in seen] == [
        (1, "pool-1", "market.pool_updated"),
        (2, "order-1", "order.placed"),
    ]
    (order,) = await asyncio.to_thread(recorder.select_notifications, 1, 10, None, ["order.placed"])
    assert LogMapper[str]().to_domain_event(order) == order_placed("order-1")


async def test_strangers_are_told_apart_and_shown(
    log: PostgresEventLog, recorder: LogProcessRecorder
) -> None:
    """Their rows are JSON in the view, and typed readers get them as they are."""
    id_ = uuid4()
    given_ = [
        StoredEvent(id_, 1, "kennel:Dog.Registered", b'{"name": "Fido"}'),
        StoredEvent(id_, 2, "market.looks.like:Ours", b"\x00\xff not json"),
        StoredEvent(id_, 3, "order.placed", b"{}"),
    ]
    await asyncio.to_thread(recorder.insert_events, given_)
    assert await asyncio.to_thread(recorder.select_events, id_) == given_
    records = await log.read()
    assert [(one.stream, one.topic) for one in records] == [
        (f"library-{id_}", f"library.{one.topic}") for one in given_
    ]
    assert [one.event for one in records] == [ForeignEvent(one.topic, one.state) for one in given_]
    shown = await log.pool.fetch("SELECT data::text FROM events_json ORDER BY position")
    assert shown[0]["data"] == '{"json": {"name": "Fido"}}'
    assert len(shown) == 3


@pytest.mark.parametrize("first", [0, 1])
def test_a_sequence_may_begin_at_nought(recorder: LogProcessRecorder, first: int) -> None:
    """It goes on, conflicts and is selected by its own versions."""
    id_ = uuid4()
    events = [StoredEvent(id_, first + n, "t", b"%d" % n) for n in range(5)]
    for event in events[:3]:
        recorder.insert_events([event])
    recorder.insert_events(events[3:])
    assert recorder.select_events(id_) == events
    assert recorder.select_events(id_, gt=first, lte=first + 2) == events[1:3]
    assert recorder.select_events(id_, lte=first + 3, desc=True, limit=2) == [events[3], events[2]]
    for bad in (events[4:], [StoredEvent(id_, first + 7, "t", b"x")]):
        with pytest.raises(IntegrityError):
            recorder.insert_events(bad)
    assert recorder.max_notification_id() == 5


def test_events_of_several_sequences_get_their_ids_in_the_order_given(recorder: LogProcessRecorder) -> None:
    """Interleaved ones too: all or nothing."""
    one, two = uuid4(), uuid4()
    given_ = [StoredEvent(id_, version, "t", b"1") for version in (1, 2) for id_ in (one, two)]
    ids = recorder.insert_events(given_)
    assert ids is not None
    seen = {note.id: note for note in recorder.select_notifications(1, 10)}
    assert [(seen[id_].originator_id, seen[id_].originator_version) for id_ in ids] == [
        (event.originator_id, event.originator_version) for event in given_
    ]
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"1"), StoredEvent(two, 2, "t", b"1")])
    assert recorder.max_notification_id() == 4


def test_a_position_is_refused_with_its_events(recorder: LogProcessRecorder) -> None:
    """One transaction: what was processed before is not appended again."""
    recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"1")], tracking=Tracking("up", 5))
    with pytest.raises(IntegrityError, match="stands at 5"):
        recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"1")], tracking=Tracking("up", 5))
    assert (recorder.max_notification_id(), recorder.max_tracking_id("up")) == (1, 5)


async def test_followers_in_one_batch_are_decided_one_by_one(log: PostgresEventLog) -> None:
    """Of ten appends that process the same position one is written; the bystanders do not notice."""

    def append(name: str) -> EncodedAppend:
        return EncodedAppend(name, 0, [("library.t", 1, pack(b"1", 1))], CAUSE, 1, None)

    racing = [log.append_rows([append(f"r{n}")], append_id=new_id(), track=Track("up", 1)) for n in range(10)]
    others = [log.append_rows([append(f"o{n}")], append_id=new_id()) for n in range(10)]
    results = await asyncio.gather(*racing, *others, return_exceptions=True)
    assert sum(isinstance(one, AlreadyTracked) for one in results[:10]) == 9
    assert not any(isinstance(one, BaseException) for one in results[10:])
    assert await log.head() == 11


async def test_a_view_that_commits_slowly_holds_up_no_append(
    recorder: LogProcessRecorder, log: PostgresEventLog, url: str
) -> None:
    """Not even one that moves the same follower: its statements hang, and events go on being appended."""
    keeper, lock = await asyncpg.connect(url), "pg_advisory_xact_lock(7)"
    try:
        async with keeper.transaction():
            await keeper.execute(f"SELECT {lock}")
            hanging = [(f"SELECT {lock}", ())]
            slow = asyncio.create_task(asyncio.to_thread(recorder.commit, Tracking("view", 1), hanging))
            waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            await until(lambda: keeper.fetchval(waits))
            async with asyncio.timeout(5):
                for name in ("process", "view"):
                    new, tracking = [StoredEvent(uuid4(), 1, "t", b"1")], Tracking(name, 1)
                    await asyncio.to_thread(recorder.insert_events, new, tracking=tracking)
                await log.append([to("a-1")], append_id=new_id())
        with pytest.raises(IntegrityError, match="stands at 1"):
            await slow
    finally:
        await keeper.close()


@pytest.mark.parametrize(
    "event",
    [
        StoredEvent(UUID(int=1), 1, "x" * 200, b"1"),
        StoredEvent("library-me", 1, "t", b"1"),
        StoredEvent(UUID(int=1), 1, "t", b"x" * 1_000_000),
        StoredEvent("order-1", 1, "order.placed", b"{}"),
        StoredEvent("order-1", 1, "order.rolled_back", b'{"timestamp":1,"slot":1,"attempt":1}'),
    ],
    ids=["long topic", "taken name", "large state", "not our event", "not our encoding"],
)
def test_what_our_log_refuses_is_the_librarys_data_error(
    recorder: LogProcessRecorder, event: StoredEvent
) -> None:
    """With our sentence."""
    with pytest.raises(DataError):
        recorder.insert_events([event])
    assert recorder.max_notification_id() is None


def test_a_closed_log_says_so(factory: LogFactory) -> None:
    """Rather than wait for ever."""
    recorder = factory.application_recorder()
    factory.close()
    with pytest.raises(ProgrammingError, match="after it was closed"):
        recorder.max_notification_id()


def test_a_factory_without_a_database_says_which_setting() -> None:
    """And one with a wrong class, which."""
    with pytest.raises(InfrastructureFactoryError, match="DAYBOOK_DATABASE_URL is not set"):
        LogFactory(Environment(env={})).application_recorder()
    with pytest.raises(InfrastructureFactoryError, match="PROCESS_RECORDER_TOPIC names"):
        LogFactory(Environment(env={"PROCESS_RECORDER_TOPIC": "builtins:int"})).process_recorder()
    with pytest.raises(OperationalError, match="PostgreSQL runs"):
        LogFactory(
            Environment(env={"DAYBOOK_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"})
        ).process_recorder()


async def test_cut_connections_are_mended(
    log: PostgresEventLog, recorder: LogProcessRecorder, url: str
) -> None:
    """The writer connects again by itself; what was saved is there once, and so is the position."""
    owner = await asyncpg.connect(url)
    for number in range(1, 6):
        saved = StoredEvent(uuid4(), 1, "t", b"1")
        await asyncio.to_thread(recorder.insert_events, [saved], tracking=Tracking("up", number))
        await owner.execute(CUT)
    await owner.close()
    await until(lambda: asyncio.to_thread(_stands_at, recorder, 5))
    await until(lambda: _holds(log, 5))


async def _holds(log: PostgresEventLog, head: int) -> bool:
    """The same of a reader in this loop."""
    try:
        return await log.head() == head
    except LogUnavailable:
        return False


def _stands_at(recorder: LogProcessRecorder, position: int) -> bool:
    """Asked again while a cut connection of the pool is found out."""
    try:
        return recorder.max_tracking_id("up") == position
    except OperationalError:
        return False


def test_the_example_runs(url: str) -> None:
    """As the how-to says, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "DAYBOOK_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "Fido can roll over",
        "1 __main__:Dog.Registered",
        "2 __main__:Dog.TrickAdded",
    ]


def test_an_application_goes_on_where_it_stood(url: str) -> None:
    """Another one on the same log loads what the first saved."""
    env = {"PERSISTENCE_MODULE": "adapters.eventsourcing.factory", "DAYBOOK_DATABASE_URL": url}
    aggregate = Aggregate()
    for _ in range(2):
        with Application[UUID](env=env) as app:
            aggregate.trigger_event(Aggregate.Event)
            app.save(aggregate)
            loaded: Aggregate = app.repository.get(aggregate.id)
            assert loaded.version == aggregate.version


async def test_raw_rows_are_checked_as_events_are(log: PostgresEventLog) -> None:
    """Names and sizes."""
    for topic, why in (("", "is not a name"), ("a\nb", "is not a name"), ("a ", "ends with a blank")):
        row = EncodedAppend("s-1", 0, [(topic, 1, b"{}")], CAUSE, 1, None)
        with pytest.raises(InvalidInput, match=f"type.*{why}"):
            await log.append_rows([row], append_id=new_id())
    assert await log.head() == 0


@settings(deadline=None)
@given(state=st.one_of(st.binary(), st.from_regex(rb'\{"a": ?("[^"]*"|[0-9]{1,4})\}\s?', fullmatch=True)))
def test_any_bytes_come_back(state: bytes) -> None:
    """Whatever they are, and as JSON in the row."""
    assert unpack("library.t", pack(state, 0)) == ForeignEvent("t", state, 0)
