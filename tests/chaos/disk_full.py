"""The disk fills up under load, PostgreSQL's and JetStream's; refused clearly, nothing lost, and it goes on.

    make chaos NAME=disk_full

Needs root and loop devices. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from chaos.parts.books import held_by
from chaos.parts.disks import disk, missing
from logged import pool_updated, to
from nats_server import NatsServer
from waiting import until

from adapters.embedded.stack import attach
from adapters.jetstream.relay import Relay
from adapters.jetstream.streams import STREAMS
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from domain.errors import DaybookError, LogCorrupt, LogUnavailable

DATABASE_MB: Final = 300
LEFT_MB: Final = 24
STREAM_MB: Final = 24
EVENTS: Final = 100
CALLERS: Final = 4
PATIENCE_S: Final = 1.5
FULL_S: Final = 120.0
BACK_S: Final = 120.0
ALONE_S: Final = 20.0


class Load:
    """Callers that append until the first refusal, and what they were told."""

    def __init__(self, log: PostgresEventLog, seed: int) -> None:
        self.log = log
        self.random = Random(seed)
        self.acknowledged: dict[UUID, tuple[int, int]] = {}
        self.refused: dict[UUID, str] = {}

    async def until_refused(self) -> None:
        """All callers, each until its first refusal."""
        async with asyncio.timeout(FULL_S):
            await asyncio.gather(*(self._call(n) for n in range(CALLERS)))

    async def _call(self, number: int) -> None:
        while not self.refused:
            await self.append(UUID(int=self.random.getrandbits(128)), number)

    async def append(self, append_id: UUID, number: int) -> bool:
        """One append; false when it was refused."""
        events = [pool_updated(self.random.getrandbits(60)) for _ in range(EVENTS)]
        try:
            answer = await self.log.append([to(f"pool-{number}-{append_id}", *events)], append_id=append_id)
        except LogUnavailable as error:
            self.refused[append_id] = str(error)
            return False
        self.acknowledged[append_id] = (answer.first_position, answer.last_position)
        return True

    async def figures(self) -> dict[str, Any]:
        """Acknowledged appends against the log."""
        rows = await self.log.pool.fetch("SELECT append_id, first_position, last_position FROM appends")
        stands = {row["append_id"]: (row["first_position"], row["last_position"]) for row in rows}
        try:
            chain, events = "verified", (await self.log.verify())[0]
        except LogCorrupt as error:
            chain, events = str(error), 0
        lost = sum(stands.get(append_id) != place for append_id, place in self.acknowledged.items())
        return {
            "acknowledged": len(self.acknowledged),
            "lost_appends": lost,
            "unknown_appends": len(set(stands) - set(self.acknowledged)),
            "events": events,
            "expected_events": EVENTS * len(stands),
            "chain": chain,
        }


async def postgres_full(folder: Path, seed: int) -> dict[str, Any]:
    """The whole stack on a small disk, and the record runs out of space."""
    with disk(folder, DATABASE_MB) as small:
        async with attach(small.place / "stack") as urls:
            await migrate(urls.database_url)
            async with await PostgresEventLog.open(urls.database_url, unavailable_after_s=PATIENCE_S) as log:
                load = Load(log, seed)
                await load.append(UUID(int=1), 0)
                small.fill(LEFT_MB)
                await load.until_refused()
                while_full = len(load.acknowledged)
                small.free()
                freed = time.monotonic()
                refused = list(load.refused.items())
                await until(lambda: load.append(refused[0][0], 0), timeout_s=BACK_S)
                back_s = time.monotonic() - freed
                for append_id, _ in refused[1:]:
                    await load.append(append_id, 0)
                figures = await load.figures()
    return {
        "acknowledged_before_full": while_full,
        "refused": len(refused),
        "refusal": refused[0][1],
        **figures,
        "back_after_s": round(back_s, 1),
        "passed": figures["lost_appends"] == 0 == figures["unknown_appends"]
        and figures["chain"] == "verified"
        and figures["events"] == figures["expected_events"]
        and "disk space" in refused[0][1],
    }


async def jetstream_full(
    folder: Path, database_url: str, seed: int, *, alone_s: float = ALONE_S
) -> dict[str, Any]:
    """JetStream on a small disk: the relay waits, the log goes on, and all is delivered in the end.

    A nats-server that has met a full disk takes no message again until it is restarted, however much space
    there is (2.15.1): after `alone_s` it is.
    """
    await migrate(database_url)
    with disk(folder, STREAM_MB) as small:
        server = NatsServer(small.place)
        await server.start()
        relay = Relay(database_url, server.url)
        running = asyncio.create_task(relay.run())
        try:
            async with await PostgresEventLog.open(database_url) as log:
                load = Load(log, seed)
                small.fill(4)
                for number in range(120):  # several times what fits
                    await load.append(UUID(int=number + 1), number)
                await until(lambda: not relay.active, timeout_s=FULL_S)
                held = await relay.lag()
                small.free()
                freed = time.monotonic()
                restarted = await _caught_up(relay, server, alone_s)
                back_s = time.monotonic() - freed
                figures = await load.figures()
                delivered = await held_by(server.url, STREAMS["market"].name)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            server.stop()
    positions = [position for position, _ in delivered]
    return {
        **figures,
        "undelivered_while_full": held,
        "delivered": len(positions),
        "server_restarted": restarted,
        "back_after_s": round(back_s, 1),
        "passed": figures["lost_appends"] == 0
        and held > 0
        and positions == list(range(1, figures["events"] + 1)),
    }


async def _caught_up(relay: Relay, server: NatsServer, alone_s: float) -> bool:
    """Until all is delivered; whether the server had to be started again for that."""

    async def settled() -> bool:
        with contextlib.suppress(DaybookError):
            return await relay.lag() == 0
        return False

    try:
        await until(settled, timeout_s=alone_s)
    except TimeoutError:
        server.stop()
        await server.start()
        await until(settled, timeout_s=BACK_S)
        return True
    return False


async def run(folder: Path, seed: int) -> dict[str, Any]:
    """Both, one after the other."""
    postgres = await postgres_full(folder / "postgres", seed)
    async with attach(folder / "stack") as urls:
        jetstream = await jetstream_full(folder / "jetstream", urls.database_url, seed)
    return {
        "passed": postgres["passed"] and jetstream["passed"],
        "postgres": postgres,
        "jetstream": jetstream,
        "seed": seed,
    }


def main() -> int:
    """Run once and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if reason := missing():
        print(json.dumps({"skipped": reason}))  # noqa: T201 - the result
        return 2
    with tempfile.TemporaryDirectory(prefix="daybook-full-") as folder:
        figures = asyncio.run(run(Path(folder), arguments.seed))
    print(json.dumps(figures))  # noqa: T201 - the result
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
