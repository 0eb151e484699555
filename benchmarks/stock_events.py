"""The baseline of the log: the eventsourcing library's own PostgreSQL application, as it is documented."""

from __future__ import annotations

import os
import time
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from eventsourcing.projection import ApplicationSubscription

EVENTS_OF_A_SAVE = 100

UNSTICK: Final = "-c transaction_timeout=2s"
"""psycopg 3.3 sometimes waits for ever in the pipeline of `insert_events`, its Sync unsent (seen once in a
minute or two of these cases; the server waits for it too). The server ends such a session, and the library
tries again."""


class Pool(Aggregate):
    """A pool that is seen again and again."""

    @event("Opened")
    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    @event("Updated")
    def update(
        self, mint_a: str, mint_b: str, slot: int, reserve_a: int, reserve_b: int, fees: dict[str, int]
    ) -> None:
        """Seen in a new state."""


class StockEvents:
    """Rates of the library; its calls block.

    Args:
        url: of the database that it makes its tables in.
        data: the bytes of one event, where the recorder is given bytes.
    """

    TABLE: Final = "application_events"

    def __init__(self, url: str, data: bytes) -> None:
        os.environ["PGOPTIONS"] = UNSTICK
        self._app = Application[UUID](env=_environment(url))
        self._data = data
        self._pool = Pool("raydium_cpmm")

    def close(self) -> None:
        """Disconnect."""
        self._app.close()

    def _see(self) -> None:
        fees = {"trade_rate": 2_500, "protocol_rate": 120_000, "fund_rate": 40_000}
        self._pool.update("S" * 43, "U" * 43, 280_000_000, 10**12, 10**11, fees)

    def fill(self, count: int) -> None:
        """Events to be replayed, of a new aggregate."""
        self._pool = Pool("raydium_cpmm")
        for _ in range(0, count, EVENTS_OF_A_SAVE):
            for _ in range(EVENTS_OF_A_SAVE):
                self._see()
            self._app.save(self._pool)

    async def save(self, seconds: float) -> float:
        """`Application.save` of one event each."""
        done, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            self._see()
            self._app.save(self._pool)
            done += 1
        return done / passed

    async def insert(self, seconds: float) -> float:
        """`recorder.insert_events` of 1,000 events that are bytes already."""
        done, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            stream = uuid4()
            self._app.recorder.insert_events(
                [StoredEvent(stream, version, "pool.updated", self._data) for version in range(1, 1_001)]
            )
            done += 1_000
        return done / passed

    async def replay(self, count: int) -> float:
        """So many events through `ApplicationSubscription`, from the beginning."""
        begin = time.perf_counter()
        with ApplicationSubscription(self._app, gt=0) as subscription:
            for done, _ in enumerate(subscription, 1):
                if done == count:
                    break
        return count / (time.perf_counter() - begin)


def _environment(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/"),
        "POSTGRES_HOST": query.get("host", [parts.hostname or ""])[0],
        "POSTGRES_PORT": query.get("port", [str(parts.port or 5432)])[0],
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
    }
