"""Kill -9 of writers, relay, projector, PostgreSQL and NATS under load; then every event is looked up.

    make chaos NAME=kills ARGS="--seconds 60 --seed 1"

The last line is one JSON object. Beside ours run its controls, under the same kills: a writer that says yes
before the commit, a relay and a projector that remember their place in a second step. They must be wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg
from chaos.parts import books, naive
from waiting import until, until_open

from adapters.embedded import stack
from adapters.embedded.stack import StackUrls, attach
from adapters.jetstream.relay import Relay
from adapters.postgres.connections import AWAY
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from domain.errors import DaybookError
from projections.catalogue import READ_MODELS

PARTS: Final = Path(__file__).parent / "parts"
VICTIMS: Final = ("writer", "relay", "projector", "postgres", "nats")
PAUSE_S: Final = (0.3, 1.2)
START_S: Final = 120.0
CATCH_UP_S: Final = 300.0


class Stage:
    """The processes of a run, and what was done to them."""

    def __init__(self, urls: StackUrls, folder: Path, random: Random, seed: int, *, controls: bool) -> None:
        self.urls, self.folder, self.random, self.seed = urls, folder, random, seed
        self.controls = controls
        self.processes: dict[str, list[asyncio.subprocess.Process]] = {
            "writer": [], "relay": [], "projector": [],
        }  # fmt: skip
        self.kills = dict.fromkeys(VICTIMS, 0)
        self.writers = 0

    async def start(self, kind: str) -> None:
        """One more of a kind, waited for until it is at work."""
        if kind == "writer":
            self.writers += 1
            name = f"w{self.writers}"
            config = {
                "url": self.urls.database_url, "name": name, "callers": 4, "seed": self.seed,
                "notes": str(self.folder / f"{name}.notes"), "controls": self.controls,
            }  # fmt: skip
            arguments = [str(PARTS / "stories.py"), json.dumps(config)]
        else:
            config = {"database_url": self.urls.database_url, "nats_url": self.urls.nats_url}
            arguments = [str(PARTS / "service.py"), kind, json.dumps(config)]
        found = os.pathsep.join((str(PARTS.parents[1]), os.environ.get("PYTHONPATH", "")))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": found},
        )  # fmt: skip
        self.processes[kind].append(process)
        if process.stdout is not None:
            said = await asyncio.wait_for(process.stdout.readline(), START_S)
            assert said == b"ready\n", f"{kind} did not start: {said!r}"

    async def kill(self, victim: str) -> None:
        """Kill -9; a process of ours is started again, a server by its supervisor."""
        if victim in self.processes:
            await _end(self.processes[victim].pop(0))
            await self.start(victim)
        else:
            os.kill(await self._server(victim), signal.SIGKILL)
        self.kills[victim] += 1

    async def _server(self, name: str) -> int:
        while True:
            for server in await asyncio.to_thread(stack.status, self.folder / "servers"):
                if server.name == name and server.pid is not None:
                    return server.pid
            await asyncio.sleep(0.1)

    async def stop_writers(self) -> None:
        """Let them finish what is under way."""
        for process in self.processes["writer"]:
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), START_S) == 0

    async def end(self) -> None:
        """Leave no process behind."""
        for process in (one for kind in self.processes.values() for one in kind):
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def run(seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    """One run in a folder; all figures."""
    random = Random(seed)
    async with attach(folder / "servers") as urls, staged(urls, folder, random, seed) as stage:
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            for victim in random.sample(VICTIMS, len(VICTIMS)):
                await asyncio.sleep(random.uniform(*PAUSE_S))
                await stage.kill(victim)
        await stage.stop_writers()
        wrote_s = time.monotonic() - started
        async with await until_open(urls.database_url) as log:
            recovered_s = await caught_up(urls, log)
            figures = await look_up(urls, log, folder)
    return {
        "passed": passed(figures),
        "controls_failed": controls_failed(figures),
        "kills": sum(stage.kills.values()),
        "killed": stage.kills,
        **figures,
        "recovered_s": round(recovered_s, 1),
        "seconds": round(wrote_s, 1),
        "seed": seed,
    }


@contextlib.asynccontextmanager
async def staged(urls: StackUrls, folder: Path, random: Random, seed: int) -> AsyncIterator[Stage]:
    """Everything runs while the block does."""
    await migrate(urls.database_url)
    connection = await asyncpg.connect(urls.database_url)
    await connection.execute(naive.TABLES)
    await connection.close()
    stage = Stage(urls, folder, random, seed, controls=True)
    try:
        for kind in ("relay", "projector", "writer", "writer"):
            await stage.start(kind)
        yield stage
    finally:
        await stage.end()


async def caught_up(urls: StackUrls, log: PostgresEventLog) -> float:
    """I9: until relay and read models have everything, without any help; how long that took."""
    started, head = time.monotonic(), await log.head()
    relay = Relay(urls.database_url, urls.nats_url)

    async def settled() -> bool:
        try:
            async with open_read_store(urls.database_url, connections=1) as reads:
                behind = [await reads.checkpoint(model.name) < head for model in READ_MODELS]
            return not any(behind) and await relay.lag() == 0 and await relay.delivered() >= head
        except (DaybookError, *AWAY):
            return False

    async def controls_settled() -> bool:
        owner = await asyncpg.connect(urls.database_url)
        places = await owner.fetch("SELECT position FROM naive_checkpoints")
        await owner.close()
        return all(row["position"] >= head for row in places)

    await until(settled, timeout_s=CATCH_UP_S)
    took = time.monotonic() - started
    await until(controls_settled, timeout_s=CATCH_UP_S)
    return took


async def look_up(urls: StackUrls, log: PostgresEventLog, folder: Path) -> dict[str, Any]:
    """All invariants, as figures."""
    noted = books.noted(folder)
    return {
        "acknowledged": len(noted.acknowledged),
        **await books.log_figures(log, noted.intended, noted.acknowledged),
        **await books.early_figures(urls.database_url, noted.early),
        **await books.read_model_figures(urls.database_url, log),
        **await books.jetstream_figures(urls.nats_url, log),
    }


def passed(figures: dict[str, Any]) -> bool:
    """Whether ours kept every promise, on a log that was worth the trouble."""
    zero = (
        "lost_appends", "double_events", "double_appends", "stream_gaps", "read_model_differences",
        "dead_letters", "delivery_missing", "delivery_double", "delivery_disordered",
    )  # fmt: skip
    whole = figures["chain"] == "verified" and figures["delivered"] == figures["appended"]
    return whole and not any(figures[name] for name in zero) and figures["acknowledged"] > 0


def controls_failed(figures: dict[str, Any]) -> bool:
    """Whether all three controls were wrong, as they must be."""
    names = ("control_acknowledged_early_lost", "control_projector_off_by", "control_relay_off_by")
    return all(figures[name] != 0 for name in names)


def main() -> int:
    """Run once and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daybook-kills-") as folder:
        figures = asyncio.run(run(arguments.seconds, arguments.seed, Path(folder)))
    print(json.dumps(figures))  # noqa: T201 - the result
    return 0 if figures["passed"] and figures["controls_failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
