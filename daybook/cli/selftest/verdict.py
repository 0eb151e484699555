"""Compares what callers were told and a reader saw with what stands in the log."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from adapters.postgres.connections import CONNECT_TIMEOUT_S
from adapters.postgres.event_log import PostgresEventLog
from daybook.cli.selftest.outcomes import Acknowledged
from domain.errors import LogCorrupt

PAGE: Final = 1_000
COUNT_TIMEOUT_S: Final = 120.0
"""A scan of the control's table of millions of rows."""


class Group(NamedTuple):
    """Neighbouring events of one append."""

    append_id: UUID
    first: int
    last: int


@dataclass(slots=True)
class Found:
    """What stands in the log.

    Attributes:
        appended: events.
        streams: streams.
        gaps: events that do not follow the version before in their stream.
        lost: acknowledged appends that are not where the log said, whole.
        twice: appends that are there more than once.
        chain: `verified`, or what is wrong with it; none for the control, which has none.
        digest: of the events' identities in their order.
    """

    appended: int = 0
    streams: int = 0
    gaps: int = 0
    lost: int = 0
    twice: int = 0
    chain: str | None = None
    digest: str = ""


@dataclass(slots=True)
class _Walk:
    versions: dict[str, int] = field(default_factory=dict)
    stands: dict[UUID, Group] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)
    appended: int = 0
    gaps: int = 0
    twice: int = 0
    open: Group | None = None

    def take(self, position: int, stream: str, version: int, append_id: UUID, identity: bytes) -> None:
        self.appended += 1
        self.gaps += self.versions.get(stream, 0) + 1 != version
        self.versions[stream] = version
        self.digest.update(identity)
        if self.open is not None and self.open.append_id == append_id and self.open.last + 1 == position:
            self.open = self.open._replace(last=position)
        else:
            self.close()
            self.open = Group(append_id, position, position)

    def close(self) -> None:
        if self.open is not None:
            self.twice += self.open.append_id in self.stands
            self.stands[self.open.append_id] = self.open
            self.open = None

    def found(self, acknowledged: list[Acknowledged], chain: str | None) -> Found:
        self.close()
        lost = sum(self.stands.get(ack.append_id) != tuple(ack) for ack in acknowledged)
        digest = self.digest.hexdigest()
        return Found(self.appended, len(self.versions), self.gaps, lost, self.twice, chain, digest)


async def examine_log(url: str, acknowledged: list[Acknowledged]) -> Found:
    """Read the whole log, verify its chain, and look every acknowledged append up.

    Raises:
        LogUnavailable: the database does not answer.
    """
    walk = _Walk()
    async with await PostgresEventLog.open(url) as log:
        position = 0
        while rows := await log.read_rows(position, PAGE):
            for row in rows:
                walk.take(row.position, row.stream, row.version, row.correlation_id, row.event_id.bytes)
            position = rows[-1].position
        try:
            await log.verify()
            chain = "verified"
        except LogCorrupt as error:
            chain = str(error)
    return walk.found(acknowledged, chain)


async def examine_control(url: str, acknowledged: list[Acknowledged]) -> Found:
    """The same for the control's table."""
    walk = _Walk()
    async for row in _control_rows(url):
        walk.take(row["position"], row["stream"], row["version"], row["append_id"], row["append_id"].bytes)
    return walk.found(acknowledged, None)


async def _control_rows(url: str) -> AsyncIterator[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=COUNT_TIMEOUT_S)
    try:
        for row in await connection.fetch("SELECT * FROM naive_events ORDER BY position"):
            yield row
    finally:
        connection.terminate()


def reader_result(lines: list[bytes]) -> dict[str, Any]:
    """The reader's last word.

    Raises:
        asyncio.IncompleteReadError: it ended without one.
    """
    for line in reversed(lines):
        said: dict[str, Any] = json.loads(line)
        if "result" in said:
            result: dict[str, Any] = said["result"]
            return result
    raise asyncio.IncompleteReadError(b"", None)
