"""The control: positions drawn by an identity column before the commit, and a reader of `position > last`.

It is what most event tables do. The self-test runs it in the same harness to show that the harness notices.

    python -m daybook.cli.selftest.naive '{"url": ..., "name": ..., "callers": ..., "seed": ...}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import asyncpg
import uvloop

from adapters.postgres.connections import AWAY, CONNECT_TIMEOUT_S
from daybook.cli.output import print_json
from daybook.cli.selftest.orders import until_told_to_end
from daybook.cli.selftest.outcomes import Notebook

TABLE: Final = """
CREATE TABLE naive_events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,
    append_id uuid NOT NULL UNIQUE
)
"""
POLL_S: Final = 0.001
LONGEST_TRANSACTION_S: Final = 0.004
"""What else an ordinary application does between its INSERT and its COMMIT."""

AWAY_S: Final = 0.1
COMMAND_TIMEOUT_S: Final = 10.0
_INSERT: Final = (
    "INSERT INTO naive_events (stream, version, append_id) VALUES ($1, $2, $3) "
    "ON CONFLICT (append_id) DO UPDATE SET version = excluded.version RETURNING position"
)
_PAGE: Final = (
    "SELECT position, stream, version, append_id FROM naive_events "
    "WHERE position > $1 ORDER BY position LIMIT 1000"
)


async def follow(url: str) -> AsyncIterator[list[tuple[int, str, int, bytes]]]:
    """Everything behind the last position seen, again and again; while the server is away it waits."""
    last = 0
    while True:
        with contextlib.suppress(*AWAY):
            async with _connected(url) as connection:
                while True:
                    rows = await connection.fetch(_PAGE, last)
                    if rows:
                        last = rows[-1]["position"]
                        yield [(r["position"], r["stream"], r["version"], r["append_id"].bytes) for r in rows]
                    else:
                        await asyncio.sleep(POLL_S)
        await asyncio.sleep(AWAY_S)


async def write(config: dict[str, Any]) -> None:
    """Run the callers until standard input closes."""
    notebook = Notebook(Path(config["outcomes"]))
    ending = asyncio.Event()
    work = asyncio.gather(
        *(_call(config, f"{config['name']}-{n}", notebook, ending) for n in range(config["callers"]))
    )
    print_json({"ready": True})
    await until_told_to_end(work)
    ending.set()
    await asyncio.wait_for(work, COMMAND_TIMEOUT_S)


async def _call(config: dict[str, Any], name: str, notebook: Notebook, ending: asyncio.Event) -> None:
    random, version = Random(f"{config['seed']}/{name}"), 1  # noqa: S311 - repeatable, not secret
    append_id = UUID(int=random.getrandbits(128))
    while not ending.is_set():
        with contextlib.suppress(*AWAY):
            async with _connected(config["url"]) as connection:
                while not ending.is_set():
                    position = await _append(connection, name, version, append_id, random)
                    notebook.note("acknowledged", append_id, position, position)
                    append_id, version = UUID(int=random.getrandbits(128)), version + 1
            return
        notebook.note("outage")
        await asyncio.sleep(AWAY_S)


async def _append(
    connection: asyncpg.Connection[asyncpg.Record], name: str, version: int, append_id: UUID, random: Random
) -> int:
    async with connection.transaction():
        position: int = await connection.fetchval(_INSERT, f"pool-{name}", version, append_id)
        await asyncio.sleep(random.random() * LONGEST_TRANSACTION_S)
    return position


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"application_name": "daybook"},
    )
    try:
        yield connection
    finally:
        connection.terminate()


def main() -> None:
    """Run a writing process of the control."""
    with contextlib.suppress(TimeoutError):  # a caller that waits for a killed server when the end comes
        uvloop.run(write(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
