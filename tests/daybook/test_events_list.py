"""`daybook events list`: what it prints, through which filters, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from databases import fresh_database
from logged import AT, CAUSE, new_id, order_placed, pool_updated, to
from typer.testing import CliRunner

from adapters.embedded.stack import StackUrls
from adapters.postgres import listing
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.history import ROOT_WINDOW
from adapters.postgres.migrate import migrate
from daybook.cli.events import events_app
from daybook.cli.events_list import LISTED
from daybook.cli.moments import iso
from domain.errors import InvalidInput
from domain.events import Cause

OTHER = Cause(new_id(), None, "others")


async def fill(url: str) -> None:
    """Five events: two pools, two orders, two stories, three times."""
    await migrate(url)
    async with await PostgresEventLog.open(url) as log:
        await log.append([to("pool-1", pool_updated(1), pool_updated(2))], append_id=new_id())
        await log.append([to("pool-2", at=AT + 10, cause=OTHER)], append_id=new_id())
        for n, cause in ((1, CAUSE), (2, OTHER)):
            placed = to(f"order-{n}", order_placed(f"order-{n}"), expected=0, at=AT + 10 * n, cause=cause)
            await log.append([placed], append_id=new_id())


@pytest.fixture
async def filled(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    await fill(database)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    return database


async def listed(*arguments: str) -> tuple[list[int], dict[str, Any]]:
    """Positions of what was printed, and the last line."""
    result = await asyncio.to_thread(CliRunner().invoke, events_app, ["list", "--json", *arguments])
    assert result.exception is None, result.exception
    *events, last = [json.loads(line) for line in result.stdout.splitlines()]
    return [event["position"] for event in events], last


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["--after", "1", "--limit", "2"], [2, 3]),
        (["--type", "order.placed"], [4, 5]),
        (["--stream", "pool-1", "--after", "1"], [2]),
        (["--stream", "pool-1", "--stream", "order-2"], [1, 2, 5]),
        (["--correlation", str(OTHER.correlation_id)], [3, 5]),
        (["--since", iso(AT + 10)], [3, 4, 5]),
        (["--since", iso(AT + 10), "--until", iso(AT + 20), "--type", "order.placed"], [4]),
        (["--until", "1999-01-01"], []),
        (["--follow", "--after", "2", "--limit", "3"], [3, 4, 5]),
    ],
)
async def test_filters_leave_what_is_asked_for(
    filled: str, arguments: list[str], positions: list[int]
) -> None:
    """Alone and together; the last line counts."""
    assert filled
    found, summary = await listed(*arguments)
    assert found == positions
    assert summary == {
        "listed": len(positions), "last_position": positions[-1] if positions else 0, "head": 5
    }  # fmt: skip


async def test_people_get_a_line_an_event(filled: str) -> None:
    """Position, time, type, place, who, and the facts."""
    assert filled
    result = await asyncio.to_thread(CliRunner().invoke, events_app, ["list", "--type", "order.placed"])
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first.startswith(f"        4 {iso(AT + 10)} order.placed order-1@1 tests " + '{"timestamp":')
    assert "order-2@1 others" in second
    refused = await asyncio.to_thread(
        CliRunner().invoke, events_app, ["list", "--follow", "--until", "2026-01-01"]
    )
    assert isinstance(refused.exception, InvalidInput)
    swapped = ["list", "--since", "2026-02-01", "--until", "2026-01-01"]
    refused = await asyncio.to_thread(CliRunner().invoke, events_app, swapped)
    assert "--since 2026-02-01 and before --until 2026-01-01: swap them" in str(refused.exception)


async def test_a_story_is_listed_whole(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of market events alone, begun long before its first decision, or longer than many pages."""
    await migrate(database)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    monkeypatch.setattr(listing, "STRETCH", 700)
    monkeypatch.setattr(listing, "PAGE", 20)
    idle, slow, long = (Cause(new_id(), None, "tests") for _ in range(3))
    async with await PostgresEventLog.open(database) as log:
        for cause in (idle, slow):
            await log.append([to("pool-1", cause=cause)], append_id=new_id())
        busy = [pool_updated(n) for n in range(ROOT_WINDOW + 10)]
        await log.append([to("pool-2", *busy, cause=OTHER)], append_id=new_id())
        decided = slow._replace(causation_id=(await log.read(1, 1))[0].event_id)
        for n, cause in enumerate([decided, *[long] * 30]):
            placed = to(f"order-{n}", order_placed(f"order-{n}"), expected=0, cause=cause)
            await log.append([placed], append_id=new_id())
    first = ROOT_WINDOW + 13
    assert (await listed("--correlation", str(idle.correlation_id)))[0] == [1]
    assert (await listed("--correlation", str(slow.correlation_id)))[0] == [2, first]
    assert (await listed("--correlation", str(slow.correlation_id), "--after", "2"))[0] == [first]
    assert (await listed("--correlation", str(long.correlation_id)))[0] == [*range(first + 1, first + 31)]
    everything = await listed("--correlation", str(OTHER.correlation_id), "--limit", "9000")
    assert everything[0] == [*range(3, first)]


@pytest.mark.parametrize(
    ("arguments", "lines", "hint"),
    [
        (["--type", "market.gap"], 0, "no event is as asked for\n"),
        (
            ["--type", "order.placd", "--type", "order.placed"],
            2,
            "this daybook knows no event type 'order.placd': did you mean order.placed?\n",
        ),
        (["--limit", "2"], 2, "these were the first 2: raise --limit to see whether there are more\n"),
    ],
)
async def test_people_are_told_what_a_list_is_not(
    filled: str, arguments: list[str], lines: int, hint: str
) -> None:
    """Nothing, or perhaps not all; on standard error, so that the list can be piped."""
    assert filled
    result = await asyncio.to_thread(CliRunner().invoke, events_app, ["list", *arguments])
    assert (len(result.stdout.splitlines()), result.stderr) == (lines, hint)


async def test_a_follower_prints_what_is_appended_and_ends_on_ctrl_c(stack: StackUrls) -> None:
    """History, more of it than a list shows, then live, without a gap; the summary is still printed."""
    many = [pool_updated(n) for n in range(LISTED)]
    old = [1, 2, 3, *range(6, 6 + LISTED)]
    async with fresh_database(stack.database_url) as url:
        await fill(url)
        async with await PostgresEventLog.open(url) as log:
            await log.append([to("pool-3", *many)], append_id=new_id())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "daybook", "events", "list", "--follow", "--json",
            "--type", "market.pool_updated",
            env={"DAYBOOK_DATABASE_URL": url, "PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(60):
            seen = [json.loads(await process.stdout.readline())["position"] for _ in old]
            async with await PostgresEventLog.open(url) as log:
                await log.append([to("order-3", order_placed("order-3"), expected=0)], append_id=new_id())
                await log.append([to("pool-4")], append_id=new_id())
            seen.append(json.loads(await process.stdout.readline())["position"])
            process.send_signal(2)
            rest = (await process.stdout.read()).decode().splitlines()
            assert await process.wait() == 0
    newest = old[-1] + 2
    assert seen == [*old, newest]
    assert json.loads(rest[-1]) == {"listed": len(seen), "last_position": newest, "head": newest}
