"""A writing process for chaos: callers that append whole trades, event by event, until told to stop.

Now and then one appends more pool states at once than fit a statement: the log copies them.

    python stories.py '{"url": ..., "name": ..., "callers": 4, "seed": 1, "notes": FILE}'

It notes `intended ID COUNT` before each append and, after its answer, `acknowledged ID POSITION EVENT_ID` for
each of its events. Where the controls are wanted, one runs beside: a writer that says yes before the commit.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from builders import POOL_A, History, Story
from chaos.parts import naive
from waiting import until_open

from adapters.postgres.session import COPY_FROM
from commands.ports import StreamAppend
from daybook.cli.selftest.outcomes import Notebook
from domain.chain import USDC, WSOL, Address, Slot
from domain.errors import LogUnavailable
from domain.events import RecordedEvent, derived_id
from domain.market.events import PoolFees, PoolUpdated

PLOTS = ("declined", "abandoned", "landed", "landed", "failed", "open")
FINISH_S = 30.0
BURST_SHARE = 0.01
"""Of a caller's trades."""


@dataclass(slots=True)
class OwnHistory(History):
    """A history whose pool and stories belong to one caller alone."""

    name: str = ""

    def market(self, pool: Address = POOL_A, reserve_a: int = 10**12) -> RecordedEvent:
        """A pool of this caller's was seen."""
        return self._seen(derived_id("story", self.name, len(self.events)), pool, reserve_a)

    def burst(self, count: int) -> list[RecordedEvent]:
        """It was seen many times at once."""
        root = derived_id("story", self.name, len(self.events))
        return [self._seen(root, POOL_A, 10**12 + number) for number in range(count)]

    def _seen(self, root: UUID, pool: Address, reserve_a: int) -> RecordedEvent:
        self.slot += 1
        own = Address(f"{pool[:5]}{self.name}")
        fees = PoolFees(2_500, 120_000, 40_000)
        seen = PoolUpdated(
            "raydium_cpmm", own, Slot(self.slot), WSOL, USDC, reserve_a, 150 * 10**9, fees, open=True
        )
        return self.record(
            f"pool-{own}", lambda _: seen, correlation=root, causation=None, actor="recorder", slot=self.slot
        )


def endless(name: str, random: Random) -> Iterator[list[RecordedEvent]]:
    """What one caller appends, for ever: the events of its trades, and sometimes many at once."""
    history = OwnHistory(name=name)
    wallet = Address(f"Wallet{name}")
    history.open_wallet(wallet)
    told, number = 0, 0
    while True:
        yield from ([event] for event in history.events[told:])
        if random.random() < BURST_SHARE:
            yield history.burst(random.randint(COPY_FROM, COPY_FROM + 100))
        told, number = len(history.events), number + 1
        story = Story(
            history,
            f"{name}-{number}",
            wallet=wallet,
            input_lamports=random.randrange(1_000_000, 10**9),
            profit_lamports=random.randrange(-20_000, 200_000),
        ).found()
        _end(story, random.choice(PLOTS))


def _end(story: Story, plot: str) -> None:
    if plot == "declined":
        story.declined()
    elif plot == "abandoned":
        story.placed().abandoned()
    elif plot == "landed":
        story.placed().signed().submitted().observed().landed()
    elif plot == "failed":
        story.placed().signed().submitted().observed("custom program error: 0x1775").failed()
    else:
        story.placed().signed()


async def write(config: dict[str, Any]) -> None:
    """Run the callers until standard input closes."""
    notes, ending = Notebook(Path(config["notes"])), asyncio.Event()
    async with await until_open(config["url"]) as log:

        async def call(name: str) -> None:
            random = Random(f"{config['seed']}/{name}")
            for events in endless(name, random):
                first, facts = events[0], [event.event for event in events]
                append_id = derived_id("append", first.event_id)
                step = StreamAppend(
                    first.stream, first.version - 1, facts, first.cause, first.recorded_at, first.slot
                )
                notes.note("intended", append_id, len(events))
                while True:
                    if ending.is_set():
                        return
                    try:
                        answer = await log.append([step], append_id=append_id)
                    except LogUnavailable:
                        continue
                    for position, event in enumerate(events, answer.first_position):
                        notes.note("acknowledged", append_id, position, event.event_id)
                    break

        calls = [call(f"{config['name']}x{n}") for n in range(config["callers"])]
        control = [naive.writer(config["url"], notes, ending)] if config["controls"] else []
        work = asyncio.gather(*calls, *control)
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait({work, closed}, return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        await asyncio.wait_for(work, FINISH_S)


if __name__ == "__main__":
    asyncio.run(write(json.loads(sys.argv[1])))
