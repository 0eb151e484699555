"""Looks everything up afterwards: acknowledgements, streams, chain, read models and JetStream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import nats.errors
from chaos.parts import naive
from nats.js.api import ConsumerConfig, DeliverPolicy

from adapters.jetstream.streams import STREAMS, connected
from adapters.memory.read_store import MemoryReadStore
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.read_store import open_read_store
from domain.errors import LogCorrupt
from projections.catalogue import READ_MODELS
from projections.ports import ReadStore, Row
from projections.runner import ProjectionRunner

EVERYTHING = 10_000_000


@dataclass(slots=True)
class Noted:
    """What the writers noted.

    Attributes:
        intended: append ids, and how many events each was to hold.
        acknowledged: append id, position and event id of events that are in the log, as was said.
        early: append ids that the control said yes to.
    """

    intended: dict[str, int] = field(default_factory=dict)
    acknowledged: list[tuple[str, int, str]] = field(default_factory=list)
    early: set[str] = field(default_factory=set)


def noted(folder: Path) -> Noted:
    """The notes of all writers; a last line cut short by a kill says nothing."""
    found = Noted()
    for path in folder.glob("*.notes"):
        for line in path.read_text().splitlines(keepends=True):
            words = line.split()
            if not line.endswith("\n"):
                continue
            if words[0] == "intended":
                found.intended[words[1]] = int(words[2])
            elif words[0] == "early":
                found.early.add(words[1])
            else:
                found.acknowledged.append((words[1], int(words[2]), words[3]))
    return found


async def log_figures(
    log: PostgresEventLog, intended: Mapping[str, int], acknowledged: Iterable[tuple[str, int, str]]
) -> dict[str, Any]:
    """I1 and I2: each acknowledged append once, streams without gaps, the chain whole."""
    stands: dict[int, str] = {}
    versions: dict[str, int] = {}
    position, gaps = 0, 0
    while rows := await log.read_rows(position, 1_000):
        for row in rows:
            stands[row.position] = str(row.event_id)
            gaps += versions.get(row.stream, 0) + 1 != row.version
            versions[row.stream] = row.version
        position = rows[-1].position
    known = {str(row["append_id"]) for row in await log.pool.fetch("SELECT append_id FROM appends")}
    lost = [ack for ack in acknowledged if stands.get(ack[1]) != ack[2] or ack[0] not in known]
    try:
        await log.verify()
        chain = "verified"
    except LogCorrupt as error:
        chain = str(error)
    return {
        "appended": len(stands),
        "lost_appends": len(lost),
        "double_events": len(stands) - len(set(stands.values())),
        # an append that was stored again has new versions, and new event ids with them
        "double_appends": len(stands) - sum(intended.get(append_id, 0) for append_id in known),
        "stream_gaps": gaps,
        "chain": chain,
    }


async def early_figures(url: str, early: set[str]) -> dict[str, Any]:
    """What the control said yes to and never wrote."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT append_id::text FROM naive_appends")
    finally:
        await connection.close()
    return {"control_acknowledged_early_lost": len(early - {row["append_id"] for row in rows})}


async def read_model_figures(url: str, log: PostgresEventLog) -> dict[str, Any]:
    """I3: every table equals a fold of the log from nothing, row for row."""
    fresh = MemoryReadStore()
    rows = different = 0
    async with open_read_store(url) as kept:
        for model in READ_MODELS:
            await ProjectionRunner(model, log, fresh).catch_up()
            for table in model.tables:
                ours = await _all(kept, model, table)
                theirs = await _all(fresh, model, table)
                rows += len(theirs)
                different += sum(a != b for a, b in zip(ours, theirs, strict=False))
                different += abs(len(ours) - len(theirs))
        letters = [f"{one.name} at {one.position}: {one.error}" for one in await kept.dead_letters()]
    counted = await log.pool.fetchval("SELECT count(*) FROM events")
    return {
        "read_model_rows": rows,
        "read_model_differences": different,
        "dead_letters": letters,
        "control_projector_off_by": int(await _naive_count(url)) - counted,
    }


async def _all(store: ReadStore, model: Any, table: Any) -> list[Row]:  # noqa: ANN401 - any read model
    order = [(name, False) for name in table.key]
    return (await store.select(model, table.name, order_by=order, limit=EVERYTHING)).rows


async def _naive_count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT coalesce(sum(events), 0) FROM naive_counts"))
    finally:
        await connection.close()


async def jetstream_figures(nats_url: str, log: PostgresEventLog) -> dict[str, Any]:
    """I4: the streams hold every event of the log once, each stream in position order."""
    held: list[tuple[int, str]] = []
    disordered = 0
    for stream in STREAMS.values():
        mine = await held_by(nats_url, stream.name)
        disordered += mine != sorted(mine)
        held += mine
    wanted = []
    position = 0
    while rows := await log.read_rows(position, 1_000):
        wanted += [(row.position, str(row.event_id)) for row in rows]
        position = rows[-1].position
    async with connected(nats_url) as client:
        naively = (await client.jetstream().stream_info(naive.STREAM)).state.messages
    return {
        "delivered": len(held),
        "delivery_missing": len(set(wanted) - set(held)),
        "delivery_double": len(held) - len(set(held)),
        "delivery_disordered": disordered,
        "control_relay_off_by": naively - len(wanted),
    }


async def held_by(nats_url: str, stream: str) -> list[tuple[int, str]]:
    """Position and message id of every message of a stream, in its order."""
    found: list[tuple[int, str]] = []
    async with connected(nats_url) as client:
        jetstream = client.jetstream(timeout=10)
        count = (await jetstream.stream_info(stream)).state.messages
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, headers_only=True)
        source = await jetstream.pull_subscribe(">", stream=stream, config=config)
        with contextlib.suppress(nats.errors.TimeoutError):
            while len(found) < count:
                for message in await source.fetch(500, timeout=10):
                    headers = message.headers or {}
                    found.append((int(headers["Daybook-Position"]), headers["Nats-Msg-Id"]))
                    await message.ack()
    return found
