"""Reading on: every event once, the next page under way while one is decoded, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.paging import WHOLE_PAGES_AHEAD, Fetched, pages
from domain.errors import LogUnavailable


class Numbers:
    """A log whose events are their positions; a third of them are of topic "third"."""

    def __init__(self, head: int) -> None:
        self._head = head
        self.done: list[str] = []
        self.under_way = 0
        self.away_after = head

    async def fetch(
        self, after: int, limit: int, *, through: int | None = None, topics: Collection[str] | None = None
    ) -> Fetched[int]:
        self.done.append(f"asked after {after}")
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            if after >= self.away_after:
                raise LogUnavailable("away")
        finally:
            self.under_way -= 1
        last = self._head if through is None else min(through, self._head)
        found = [n for n in range(after + 1, last + 1) if topics is None or n % 3 == 0][:limit]

        def decoded() -> list[int]:
            self.done.append(f"decoded after {after}")
            return found

        return Fetched(len(found), found[-1] if found else after, decoded)

    async def head(self) -> int:
        return self._head


@given(
    head=st.integers(0, 60),
    after=st.integers(0, 60),
    through=st.integers(0, 60),
    limit=st.integers(1, 12),
    selected=st.booleans(),
)
def test_every_event_comes_once_and_pages_say_how_far_they_go(
    head: int, after: int, through: int, limit: int, *, selected: bool
) -> None:
    through = min(through, head)
    wanted = [n for n in range(after + 1, through + 1) if not selected or n % 3 == 0]

    async def read() -> None:
        seen: list[int] = []
        ends = [after]
        async for page, end in pages(Numbers(head), after, through, {"third"} if selected else None, limit):
            assert len(page) <= limit
            seen += page
            assert all(ends[-1] < n <= end for n in page)
            ends.append(end)
        assert seen == wanted
        assert ends[-1] == max(after, through)

    asyncio.run(read())


@pytest.mark.parametrize(("topics", "ahead"), [({"third"}, 1), (None, WHOLE_PAGES_AHEAD)])
async def test_the_next_page_is_asked_for_before_this_one_is_decoded(
    topics: Collection[str] | None, ahead: int
) -> None:
    log = Numbers(1_000)
    async with aclosing(pages(log, 0, 1_000, topics, 10)) as read:
        await anext(read)
    asked = [said for said in log.done[: log.done.index("decoded after 0")] if said.startswith("asked")]
    assert len(asked) == 1 + ahead


async def test_what_is_on_its_way_is_called_back_when_the_reader_stops_or_the_log_fails() -> None:
    log = Numbers(1_000)
    async with aclosing(pages(log, 0, 1_000, None, 10)) as read:
        await anext(read)
        assert log.under_way
    assert not log.under_way

    log.away_after = 20
    seen: list[int] = []

    async def read_on() -> None:
        async for page, _ in pages(log, 0, 1_000, None, 10):
            seen.extend(page)

    with pytest.raises(LogUnavailable):
        await read_on()
    assert seen == [*range(1, 21)]
    assert not log.under_way
