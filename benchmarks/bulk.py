"""How fast events go in and out in bulk, beside the most that PostgreSQL takes on this machine, right now.

    make bench NAME=bulk ARGS="--rounds 5"

Every round runs all cases back to back on the embedded server with fsync on, and a ratio is the median of the
rounds' ratios. The baseline is asyncpg's COPY of 10,000 rows into a bare table with the same two unique keys.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

import asyncpg
import uvloop

from adapters.embedded.stack import attach
from adapters.event_files.files import EventFile, open_events
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.exporting import write_range
from adapters.postgres.importing import import_events
from adapters.postgres.migrate import migrate
from commands.ports import StreamAppend
from domain.chain import Address, Mint, Slot
from domain.events import Cause
from domain.market.events import PoolFees, PoolUpdated

COUNT = 20_000
"""Events of one case in one round."""

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

Case = Callable[[], Awaitable[None]]


class Bench:
    """The cases, in an order in which each leaves what the next one needs."""

    def __init__(self, urls: list[str], folder: Path) -> None:
        self.url, self.other_url = urls
        self.folder = folder
        self.position = 0
        self.log: PostgresEventLog
        self.other: PostgresEventLog
        self.bare: asyncpg.Connection[asyncpg.Record]

    async def __aenter__(self) -> Self:
        """Two empty logs and a bare table."""
        for url in (self.url, self.other_url):
            await migrate(url)
        self.log = await PostgresEventLog.open(self.url)
        self.other = await PostgresEventLog.open(self.other_url)
        self.bare = await asyncpg.connect(self.url)
        await self.bare.execute(BARE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bare.close()
        await self.log.close()
        await self.other.close()

    async def copy_bare(self) -> None:
        """The baseline."""
        columns = ["position", "stream", "version", "type", "data"]
        for _ in range(COUNT // 10_000):
            stream, begin = uuid4(), self.position
            rows = [(begin + n, stream, n, "market.pool_updated", DATA) for n in range(10_000)]
            await self.bare.copy_records_to_table("bare", records=rows, columns=columns)
            self.position += len(rows)

    def append(self, size: int) -> Case:
        """Bulk appends of so many events each, to streams that expect their version."""

        async def case() -> None:
            stream = f"pool-{uuid4().hex}"
            for version in range(0, COUNT, size):
                events = StreamAppend(stream, version, [EVENT] * size, CAUSE, 1)
                await self.log.bulk_append([events], append_id=uuid4())

        return case

    def write(self, kind: str) -> Case:
        """The newest events into a file, proven on the way."""

        async def case() -> None:
            head = await self.log.head()
            with EventFile(self.folder / f"events.{kind}", overwrite=True) as file:
                await write_range(self.log, file, head - COUNT, head, lambda _row: True, lambda *_: None)
                file.finish()

        return case

    async def read_in(self) -> None:
        """What the log has more than the other one, from a file that was written before."""
        with open_events(self.folder / "import.parquet") as reader:
            await import_events(self.other_url, reader, lambda *_: None)

    async def prepare_import(self) -> None:
        """Write that file."""
        with EventFile(self.folder / "import.parquet", overwrite=True) as file:
            after, through = await self.other.head(), await self.log.head()
            await write_range(self.log, file, after, through, lambda _row: True, lambda *_: None)
            file.finish()


async def rates(case: Case) -> float:
    """Events a second."""
    begin = time.perf_counter()
    await case()
    return COUNT / (time.perf_counter() - begin)


async def run(rounds: int) -> dict[str, object]:
    """All cases, so many rounds; the rates and their ratios to the baseline."""
    with tempfile.TemporaryDirectory() as folder:
        async with attach(Path(folder) / "stack") as urls:
            owner = await asyncpg.connect(urls.database_url)
            await owner.execute("CREATE DATABASE one")
            await owner.execute("CREATE DATABASE two")
            await owner.close()
            names = [urls.database_url.replace("/daybook?", f"/{name}?") for name in ("one", "two")]
            async with Bench(names, Path(folder)) as bench:
                return await measured(bench, rounds)


async def measured(bench: Bench, rounds: int) -> dict[str, object]:
    """One round to warm up, then the rounds that count."""
    cases: dict[str, Case] = {
        "copy_bare": bench.copy_bare,
        "bulk_append_1000": bench.append(1_000),
        "bulk_append_10000": bench.append(10_000),
        "export_parquet": bench.write("parquet"),
        "export_ndjson": bench.write("ndjson"),
    }
    found: dict[str, list[float]] = {name: [] for name in [*cases, "import_parquet"]}
    for number in range(rounds + 1):
        results = {name: await rates(case) for name, case in cases.items()}
        await bench.prepare_import()
        results["import_parquet"] = await rates(bench.read_in) * 2  # two appends' worth of events
        for name, result in results.items():
            if number:
                found[name].append(result)
        print(f"round {number}: " + "  ".join(f"{name} {round(rate):,}" for name, rate in results.items()))
    pairs = {name: zip(found[name], found["copy_bare"], strict=True) for name in found}
    ratios = {
        name: round(statistics.median(one / bare for one, bare in both), 3) for name, both in pairs.items()
    }
    return {
        "rates": {name: round(statistics.median(each)) for name, each in found.items()},
        "ratios": {f"{name}_of_copy": ratio for name, ratio in ratios.items() if name != "copy_bare"},
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
        "daybook": metadata.version("daybook"),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    print(json.dumps(uvloop.run(run(parser.parse_args().rounds))))
