"""The writer in trouble: closed, refused, overtaken or mistaken, it answers everybody and writes once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import asyncpg
import pytest
from logged import AT, new_id, order_placed, pool_updated, to

from adapters.postgres import writer
from adapters.postgres.batch import Known, Plan, Request, plan
from adapters.postgres.chaining import Chain, Link
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.hash_chain import GENESIS
from adapters.postgres.leases import PostgresLeases
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import encode_appends
from adapters.postgres.session import LogSession
from adapters.postgres.waiting import Waiting
from adapters.postgres.wire import copied
from adapters.postgres.writer import CoalescingWriter
from commands.ports import Appended, StreamAppend
from domain.errors import ConcurrencyError, FencedOut, LogError, LogUnavailable
from domain.events import ANY_VERSION, Cause

PATIENCE_S = 30.0
"""What is told at once comes long before, on the busiest machine; what hangs does not come."""

MANY = [pool_updated(n) for n in range(600)]
"""Enough to be copied, in three pieces."""


@pytest.fixture
async def url(database: str) -> str:
    await migrate(database)
    return database


async def test_an_append_that_cannot_be_chained_is_refused_alone(url: str) -> None:
    """It is met while the rows before it are copied: they are taken back, and written without it."""
    nonsense = Cause("no uuid", None, "planner")  # type: ignore[arg-type] # what a caller without types may send
    async with await PostgresEventLog.open(url) as log, asyncio.timeout(PATIENCE_S):
        accepted, refused = await asyncio.gather(
            log.append([to("pool-1", *MANY, expected=0)], append_id=new_id()),
            log.append([StreamAppend("pool-0", 0, MANY, nonsense, AT)], append_id=new_id()),
            return_exceptions=True,
        )
        assert isinstance(refused, LogError)
        assert "nothing was written" in str(refused)
        assert isinstance(accepted, Appended)
        assert (await log.verify())[0] == len(MANY)


@pytest.mark.parametrize("piece", [1, 2, 3])
async def test_closing_while_rows_are_copied_ends_at_once(
    url: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told, and nothing of it stands in the log."""
    log = await PostgresEventLog.open(url)
    count = 0

    def until_closed(links: Iterable[Link]) -> bytes:
        nonlocal count
        count += 1
        if count == piece:
            asyncio.get_running_loop().call_soon(log._tasks[0].cancel)
        return copied(links)

    monkeypatch.setattr("adapters.postgres.session.copied", until_closed)
    waiting = asyncio.create_task(log.append([to("pool-1", *MANY)], append_id=new_id()))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LogUnavailable, match="closed"):
            await waiting
        await log.close()
    async with await PostgresEventLog.open(url) as again:
        assert await again.head() == 0
        assert await again.read() == []


async def test_a_log_that_is_closed_before_it_began_takes_no_append(url: str) -> None:
    """Nobody waits for a writer that never ran."""
    log = await PostgresEventLog.open(url)
    await log.close()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LogUnavailable, match="closed"):
            await log.append([to("pool-1")], append_id=new_id())


async def test_closing_ends_though_the_connection_breaks_at_that_moment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rolling back fails then, and its error hides that the writer was cancelled."""
    under_way = asyncio.Event()

    async def broken(*_: object) -> None:
        under_way.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise asyncpg.InterfaceError("the connection is closed") from None

    monkeypatch.setattr(LogSession, "write", broken)
    log = await PostgresEventLog.open(url)
    waiting = asyncio.create_task(log.append([to("pool-1")], append_id=new_id()))
    async with asyncio.timeout(PATIENCE_S):
        await under_way.wait()
        await log.close()
        with pytest.raises(LogUnavailable, match="closed"):
            await waiting


async def test_closing_tells_those_who_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, however many more than there is room for."""
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 2)
    monkeypatch.setattr(LogSession, "open", _never)
    written = CoalescingWriter("", unavailable_after_s=60, rung=lambda _: None)
    running = asyncio.create_task(written.run())
    appends = encode_appends([to("pool-1")])

    async def append() -> Appended:
        return await written.append(appends, new_id())

    waiting = [asyncio.create_task(append()) for _ in range(9)]
    await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, LogUnavailable) and "closed" in str(answer) for answer in answers)


async def test_large_appends_wait_for_room_before_there_are_many() -> None:
    """However large one is, it is let in; the next only when there is less than the limit again."""
    small, large = (encode_appends([to("pool-1", *MANY[:count])]) for count in (1, 600))
    answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
    one, many = (Request(appends, new_id(), answer, deadline=0.0) for appends in (small, large))
    waiting = Waiting(limit=10, limit_bytes=2 * one.size)
    assert [waiting.offer(request) for request in (one, many, one)] == [True, True, False]
    assert waiting.size == one.size + many.size
    waiting.take()
    assert not waiting.offer(one)
    waiting.take()
    assert [waiting.offer(one) for _ in range(3)] == [True, True, False]


async def _never(_url: str) -> LogSession:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("count", [1, 500])
async def test_a_lease_is_taken_before_or_after_an_append_that_is_decided_on_a_survey(
    url: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever way its rows go: once the lease is taken, nothing of the former holder's commits any more."""
    async with await PostgresEventLog.open(url) as log:
        leases = PostgresLeases(log.pool)
        old = await leases.take("executor", "first")
        heads: list[int] = []

        async def take() -> None:
            await leases.take("executor", "second")
            heads.append(await log.head())

        taking: list[asyncio.Task[None]] = []
        survey = LogSession._survey

        async def taken_meanwhile(self: LogSession, batch: Sequence[Request]) -> Known:
            known = await survey(self, batch)
            taking.append(asyncio.create_task(take()))
            await asyncio.wait(taking, timeout=0.3)
            return known

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(LogSession, "_survey", taken_meanwhile)
            await log.append([to("pool-1", *MANY[:count])], append_id=new_id(), fence=old)
        await taking[0]
        assert heads == [count]
        with pytest.raises(FencedOut):
            await log.append([to("pool-1", *MANY[:count])], append_id=new_id(), fence=old)


async def test_what_was_believed_of_an_empty_log_is_forgotten_with_it(url: str) -> None:
    """Another process appends first: also versions that this writer believes without asking are new."""
    async with await PostgresEventLog.open(url) as log, await PostgresEventLog.open(url) as other:
        with pytest.raises(ConcurrencyError):
            await log.append([to("order-1", expected=7)], append_id=new_id())
        await other.append([to("order-1", expected=0)], append_id=new_id())
        await log.append([to("pool-2", expected=ANY_VERSION)], append_id=new_id())
        with pytest.raises(ConcurrencyError, match="found 1"):
            await log.append([to("order-1", order_placed("order-1"), expected=0)], append_id=new_id())


async def test_a_writer_of_large_appends_forgets_streams_too(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is bounded, whatever way the events go."""
    monkeypatch.setattr(writer, "MAX_KNOWN_STREAMS", 10)
    async with await PostgresEventLog.open(url) as log:
        for begin in (0, 600):
            many = [to(f"pool-{begin + n}", expected=0) for n in range(600)]
            await log.append(many, append_id=new_id())
        known = log._writer._known
        assert known is not None
        assert len(known.versions) <= 10
        await log.append([to("pool-700", expected=1)], append_id=new_id())
        assert (await log.verify())[0] == 1_201


async def test_what_was_on_its_way_stays_before_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch fails, and with it the next: a third does not pass that one."""
    log = _Log()

    async def opened(_url: str) -> _Log:
        return log

    monkeypatch.setattr(LogSession, "open", opened)
    written = CoalescingWriter("", unavailable_after_s=60, rung=lambda _: None)
    running = asyncio.create_task(written.run())

    async def append(*streams: str) -> Appended:
        return await written.append(encode_appends([to(stream) for stream in streams]), new_id())

    async with asyncio.timeout(PATIENCE_S):
        log.busy.clear()
        opened_both = await _sent(append("a", "b"), append("c"))
        log.busy.set()
        await asyncio.gather(*opened_both)
        log.busy.clear()
        appends = await _sent(*(append(stream) for stream in "aba"))
        log.refused = 3
        log.busy.set()
        await asyncio.gather(*appends)
    running.cancel()
    assert log.written == ["a", "b", "c", "a", "b", "a"]


async def _sent(*appends: Coroutine[Any, Any, Appended]) -> list[asyncio.Task[Appended]]:
    """Appends that are on their way in batches of their own, as far as there are lanes."""
    tasks = []
    for append in appends:
        tasks.append(asyncio.create_task(append))
        for _ in range(10):  # steps of the loop, more than it takes
            await asyncio.sleep(0)
    return tasks


class _Log:
    """Both of the writer's sessions, and their log.

    Attributes:
        head: position and hash.
        written: the streams that were appended to, in order.
        busy: while it is not set, batches stay on their way.
        refused: the head on which a batch is refused until that is locked, as for a repeated id.
    """

    def __init__(self) -> None:
        self.head = (0, GENESIS)
        self.written: list[str] = []
        self.busy = asyncio.Event()
        self.busy.set()
        self.refused = -1

    async def extend(self) -> int:
        return 0

    def terminate(self) -> None:
        pass

    async def insert(self, made: Plan, _links: Sequence[Link], hash_: bytes) -> bool:
        await self.busy.wait()
        if made.before != self.head or made.before[0] == self.refused:
            return False
        self._append(made, hash_)
        return True

    async def write(self, batch: Sequence[Request], _believed: Known | None) -> tuple[Known, Plan, Chain]:
        await self.busy.wait()
        await asyncio.sleep(0)
        streams = {
            append.stream: self.written.count(append.stream) for one in batch for append in one.appends
        }
        known = Known(*self.head, streams)
        made = plan(batch, known)
        chain = Chain(made)
        chain.links(made.placed)
        self._append(made, chain.hash)
        return known, made, chain

    def _append(self, made: Plan, hash_: bytes) -> None:
        self.head = (made.position, hash_)
        self.written += [append.stream for append, _, _ in made.placed]
