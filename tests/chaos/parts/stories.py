"""A writing process for chaos: callers that append whole trades, event by event, until told to stop.

    python stories.py '{"url": ..., "name": ..., "callers": 4, "seed": 1, "notes": FILE}'

It notes `intended ID` before each append and `acknowledged ID FIRST EVENT_ID` after its answer. The first of
the two is the control: a writer that says yes before the commit.
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

from builders import POOL_A, History, Story
from waiting import until_open

from commands.ports import StreamAppend
from daybook.cli.selftest.outcomes import Notebook
from domain.chain import USDC, WSOL, Address, Slot
from domain.errors import LogUnavailable
from domain.events import RecordedEvent, derived_id
from domain.market.events import PoolFees, PoolUpdated

PLOTS = ("declined", "abandoned", "landed", "landed", "failed", "open")
FINISH_S = 30.0


@dataclass(slots=True)
class OwnHistory(History):
    """A history whose pool and stories belong to one caller alone."""

    name: str = ""

    def market(self, pool: Address = POOL_A, reserve_a: int = 10**12) -> RecordedEvent:
        """A pool of this caller's was seen."""
        self.slot += 1
        own = Address(f"{pool[:5]}{self.name}")
        fees = PoolFees(2_500, 120_000, 40_000)
        seen = PoolUpdated(
            "raydium_cpmm", own, Slot(self.slot), WSOL, USDC, reserve_a, 150 * 10**9, fees, open=True
        )
        root = derived_id("story", self.name, len(self.events))
        return self.record(
            f"pool-{own}", lambda _: seen, correlation=root, causation=None, actor="recorder", slot=self.slot
        )


def endless(name: str, random: Random) -> Iterator[RecordedEvent]:
    """The events of one caller's trades, for ever."""
    history = OwnHistory(name=name)
    wallet = Address(f"Wallet{name}")
    history.open_wallet(wallet)
    told, number = 0, 0
    while True:
        yield from history.events[told:]
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
            for event in endless(name, random):
                append_id = derived_id("append", event.event_id)
                step = StreamAppend(
                    event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
                )
                notes.note("intended", append_id)
                while True:
                    if ending.is_set():
                        return
                    try:
                        answer = await log.append([step], append_id=append_id)
                    except LogUnavailable:
                        continue
                    notes.note("acknowledged", append_id, answer.first_position, event.event_id)
                    break

        work = asyncio.gather(*(call(f"{config['name']}x{n}") for n in range(config["callers"])))
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait({work, closed}, return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        await asyncio.wait_for(work, FINISH_S)


if __name__ == "__main__":
    asyncio.run(write(json.loads(sys.argv[1])))
