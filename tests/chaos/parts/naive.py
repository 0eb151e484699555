"""The controls that run beside ours under the same kills: what is usually built, and what becomes of it.

A writer that says yes and then commits; a relay that publishes and then remembers how far it was; a projector
that writes its rows and then its checkpoint. Each is correct until somebody dies between the two steps.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid4

import asyncpg
from nats.js.api import StreamConfig

from adapters.jetstream.streams import AWAY as NATS_AWAY
from adapters.jetstream.streams import connected
from adapters.postgres.connections import AWAY
from daybook.cli.selftest.outcomes import Notebook
from domain.errors import DaybookError

STREAM: Final = "NAIVE"
TABLES: Final = """
CREATE TABLE naive_checkpoints (name text PRIMARY KEY, position bigint NOT NULL);
INSERT INTO naive_checkpoints VALUES ('relay', 0), ('projector', 0);
CREATE TABLE naive_appends (append_id uuid PRIMARY KEY);
CREATE TABLE naive_counts (type text PRIMARY KEY, events bigint NOT NULL);
"""
PAGE: Final = 100
PAUSE_S: Final = 0.02
EARLY_S: Final = 0.001
"""Far below a commit: whenever the writer dies, something was acknowledged and not committed."""

_APPEND: Final = "INSERT INTO naive_appends SELECT unnest($1::uuid[])"
_ROWS: Final = "SELECT position, type, data FROM events WHERE position > $1 ORDER BY position LIMIT $2"
_LOAD: Final = "SELECT position FROM naive_checkpoints WHERE name = $1"
_SAVE: Final = "UPDATE naive_checkpoints SET position = $2 WHERE name = $1"
_COUNT: Final = """
INSERT INTO naive_counts AS c SELECT type, count(*) FROM unnest($1::text[]) AS type GROUP BY type
ON CONFLICT (type) DO UPDATE SET events = c.events + excluded.events
"""


async def writer(database_url: str, notes: Notebook, ending: asyncio.Event) -> None:
    """Say yes, then write, until the end: by then all is written that did not meet a kill."""
    waiting: list[UUID] = []
    saying = asyncio.create_task(_say_yes(waiting, notes, ending))
    while waiting or not ending.is_set():
        try:
            connection = await asyncpg.connect(database_url, timeout=5)
            try:
                while waiting or not ending.is_set():
                    taken = [waiting.pop() for _ in range(len(waiting))]
                    await connection.execute(_APPEND, taken)
                    await asyncio.sleep(PAUSE_S)
            finally:
                connection.terminate()
        except AWAY:
            await asyncio.sleep(0.2)
    await saying


async def _say_yes(waiting: list[UUID], notes: Notebook, ending: asyncio.Event) -> None:
    while not ending.is_set():
        append_id = uuid4()
        notes.note("early", append_id)
        waiting.append(append_id)
        await asyncio.sleep(EARLY_S)


async def relay(database_url: str, nats_url: str) -> None:
    """Publish, then remember; for ever."""
    while True:
        try:
            async with connected(nats_url) as client:
                jetstream = client.jetstream(timeout=2)
                await jetstream.add_stream(StreamConfig(name=STREAM, subjects=["naive.>"]))
                connection = await asyncpg.connect(database_url, timeout=5)
                try:
                    while True:
                        last = await connection.fetchval(_LOAD, "relay")
                        for row in await connection.fetch(_ROWS, last, PAGE):
                            await jetstream.publish("naive.events", row["data"])
                            last = row["position"]
                        await connection.execute(_SAVE, "relay", last)
                        await asyncio.sleep(PAUSE_S)
                finally:
                    connection.terminate()
        except (*AWAY, *NATS_AWAY, DaybookError):
            await asyncio.sleep(0.2)


async def projector(database_url: str) -> None:
    """Count the events of each type, then remember; for ever."""
    while True:
        try:
            connection = await asyncpg.connect(database_url, timeout=5)
            try:
                while True:
                    last = await connection.fetchval(_LOAD, "projector")
                    rows = await connection.fetch(_ROWS, last, PAGE)
                    if rows:
                        await connection.execute(_COUNT, [row["type"] for row in rows])
                        await asyncio.sleep(PAUSE_S)
                        await connection.execute(_SAVE, "projector", rows[-1]["position"])
                    await asyncio.sleep(PAUSE_S)
            finally:
                connection.terminate()
        except AWAY:
            await asyncio.sleep(0.2)
