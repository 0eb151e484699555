"""What `Application.save` of the eventsourcing library costs on our log, beside its own PostgreSQL recorder.

    make bench NAME=library ARGS="--rounds 5 --seconds 0.5"

Both run in this process on one embedded server with fsync on, each in a database of its own. Every round runs
all cases back to back, and a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import asyncpg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from adapters.embedded.stack import attach
from adapters.postgres.migrate import migrate

THREADS = (1, 8, 64)


def save(app: Application[UUID], threads: int, events: int) -> Callable[[float], float]:
    """Events per second of so many threads, each saving new aggregates of so many events."""

    def case(seconds: float) -> float:
        done, lock = 0, threading.Lock()
        begin = time.perf_counter()

        def work() -> None:
            nonlocal done
            while time.perf_counter() - begin < seconds:
                aggregate = Aggregate()
                for _ in range(events - 1):
                    aggregate.trigger_event(Aggregate.Event)
                app.save(aggregate)
                with lock:
                    done += events

        with ThreadPoolExecutor(threads) as pool:
            for working in [pool.submit(work) for _ in range(threads)]:
                working.result()
        return done / (time.perf_counter() - begin)

    return case


def stock(url: str) -> Application[UUID]:
    """The library's own recorder."""
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    return Application[UUID](
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": query.get("host", [parts.hostname or ""])[0],
            "POSTGRES_PORT": query.get("port", [str(parts.port or 5432)])[0],
            "POSTGRES_USER": unquote(parts.username or ""),
            "POSTGRES_PASSWORD": unquote(parts.password or ""),
            "POSTGRES_POOL_SIZE": "16",
            "POSTGRES_MAX_OVERFLOW": "64",
        }
    )


def ours(url: str) -> Application[UUID]:
    """The same on our log."""
    return Application[UUID](
        env={"PERSISTENCE_MODULE": "adapters.eventsourcing.factory", "DAYBOOK_DATABASE_URL": url}
    )


async def databases(owner_url: str) -> tuple[str, str]:
    """Two empty databases, the second migrated."""
    connection = await asyncpg.connect(owner_url)
    urls = []
    for name in ("bench_stock", "bench_ours"):
        await connection.execute(f"CREATE DATABASE {name}")
        urls.append(owner_url.replace("/daybook?", f"/{name}?"))
    await connection.close()
    await migrate(urls[1])
    return urls[0], urls[1]


def measure(url: str, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Medians and ratios of all cases."""
    stock_url, our_url = asyncio.run(databases(url))
    with ExitStack() as stack:
        apps = {"stock": stack.enter_context(stock(stock_url)), "ours": stack.enter_context(ours(our_url))}
        sizes = [(threads, 1) for threads in THREADS] + [(1, 100)]
        cases = {
            f"{name} {threads} threads x {events}": save(app, threads, events)
            for threads, events in sizes
            for name, app in apps.items()
        }
        found = [{name: case(seconds) for name, case in cases.items()} for _ in range(rounds)]
    rates = {name: statistics.median(one[name] for one in found) for name in cases}
    ratios = {
        f"{threads} threads x {events}": statistics.median(
            one[f"ours {threads} threads x {events}"] / one[f"stock {threads} threads x {events}"]
            for one in found
        )
        for threads, events in sizes
    }
    return {"rates": rates, "ratios": ratios}


def main() -> None:
    """Run and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one case in one round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, attach(Path(folder) / "stack") as urls:
        found = measure(urls.database_url, options.rounds, options.seconds)
    for name, rate in found["rates"].items():
        print(f"{name:28} {rate:12,.0f} events/s")
    for name, ratio in found["ratios"].items():
        print(f"{name:28} {ratio:12.2f} x the library's own recorder")
    versions = {name: metadata.version(name) for name in ("eventsourcing", "asyncpg", "psycopg")}
    print(json.dumps({"machine": platform.platform(), "versions": versions, **found}))


if __name__ == "__main__":
    main()
