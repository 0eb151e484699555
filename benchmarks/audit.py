"""How fast the record is verified, and whether anything altered in it goes unnoticed.

    make bench NAME=audit ARGS="--events 1000000 --rounds 3 --alterations 1000"

Rates: every round runs all cases back to back over the same rows on the embedded server, and a ratio is the
median of the rounds' ratios. Beside our walk stands the least it could cost: the same bytes hashed in memory
by hashlib alone, and the same rows fetched by asyncpg and not looked at. `per core` counts this process's own
CPU seconds: the server prepares the next page meanwhile, on another core where there is one.

Alterations: a smaller log is altered at random (a byte of any column, a row put in another's place or slipped
in, two rows swapped, rows deleted, also at the end), verified from the start, and put right again; each must
be found, and the first bad position named.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from audited import GUARDED, fill
from databases import fresh_database

from adapters.embedded.stack import attach
from adapters.keys.audit_key import AuditKey, is_signed, read_or_make
from adapters.postgres.audit_pages import RecordPages
from adapters.postgres.checkpoints import PostgresCheckpoints
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from adapters.postgres.rows import COLUMNS
from domain.errors import LogCorrupt
from replay.audit import PAGE, Auditor, Verifier

SIGN_EVERY = 10_000
RAW = f"SELECT {COLUMNS} FROM events WHERE position > $1 AND position <= $2 ORDER BY position"  # noqa: S608 - constants

Case = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Room:
    """A filled, signed log and who verifies it."""

    log: PostgresEventLog
    events: int
    verifier: Verifier
    pages: RecordPages


async def furnish(url: str, log: PostgresEventLog, key: AuditKey, events: int) -> Room:
    """Fill a log in steps and sign each."""
    pages, checkpoints = RecordPages(log), PostgresCheckpoints(log)
    auditor = Auditor(pages, checkpoints, is_signed, key, lambda: 1, every_events=1, every_us=1)
    before = bytes(32)
    for after in range(0, events, SIGN_EVERY):
        before = await fill(url, min(SIGN_EVERY, events - after), after=after, before=before)
        await auditor.checkpoint()
    return Room(log, events, Verifier(pages, checkpoints, is_signed, key.public_key), pages)


async def cases_of(room: Room) -> dict[str, Case]:
    """Ours and what stands beside it."""
    bodies: list[bytes] = []
    async with room.pages.reading() as read:
        for after in range(0, room.events, PAGE):
            if page := await read(after, min(after + PAGE, room.events), tiled=False):
                bodies += page.bodies

    async def in_memory() -> None:
        digest = bytes(32)
        for body in bodies:
            digest = sha256(digest + body).digest()

    async def fetched() -> None:
        async with room.log.pool.acquire() as connection:
            for after in range(0, room.events, PAGE):
                await connection.fetch(RAW, after, after + PAGE)

    return {
        "verify": lambda: room.verifier.verify(from_start=True),
        "verify every leaf": lambda: room.verifier.verify(from_start=True, every_leaf=True),
        "hashlib chain in memory": in_memory,
        "rows fetched": fetched,
    }


async def measure(room: Room, rounds: int) -> dict[str, Any]:
    """Rates by wall clock and by CPU second, and ratios of the same round."""
    cases = await cases_of(room)
    walls: dict[str, list[float]] = {name: [] for name in cases}
    cores: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            await case()
            cores[name].append(room.events / (time.process_time() - cpu))
            walls[name].append(room.events / (time.perf_counter() - wall))

    def ratio(rates: dict[str, list[float]], ours: str, theirs: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True)), 3)

    for name in cases:
        print(f"{name:26s} {statistics.median(walls[name]):>12,.0f} events/s   "
              f"{statistics.median(cores[name]):>12,.0f} per core")  # fmt: skip
    return {
        "ratios": {
            "verify / hashlib chain in memory, per core": ratio(cores, "verify", "hashlib chain in memory"),
            "verify / rows fetched, per core": ratio(cores, "verify", "rows fetched"),
            "verify / rows fetched": ratio(walls, "verify", "rows fetched"),
            "verify every leaf / verify, per core": ratio(cores, "verify every leaf", "verify"),
        },
        "events_per_s": {name: round(statistics.median(rates)) for name, rates in walls.items()},
        "events_per_core_s": {name: round(statistics.median(rates)) for name, rates in cores.items()},
        "best_events_per_core_s": {name: round(max(rates)) for name, rates in cores.items()},
    }


class Vandal:
    """Alters a log at random and knows where it must show first."""

    def __init__(self, owner: asyncpg.Connection[asyncpg.Record], events: int, chance: random.Random) -> None:
        self._owner = owner
        self._events = events
        self._chance = chance

    async def begin(self) -> None:
        """Keep a copy to put things right from, and switch the guards off as an owner can."""
        await self._owner.execute("CREATE TABLE original AS SELECT * FROM events")
        await self._owner.execute("CREATE UNIQUE INDEX ON original (position)")
        for table in GUARDED:
            await self._owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")

    async def repair(self, touched: list[int]) -> None:
        """Put the original rows back."""
        async with self._owner.transaction():
            await self._owner.execute(
                "DELETE FROM events WHERE position = ANY ($1) OR position > $2", touched, self._events
            )
            await self._owner.execute(
                "INSERT INTO events SELECT * FROM original WHERE position = ANY ($1)", touched
            )

    async def strike(self) -> tuple[str, int, list[int]]:
        """Alter something: what, the first position that is bad then, and all that was touched."""
        kinds = (self._byte, self._replace, self._insert, self._swap, self._delete, self._cut_off)
        return await self._chance.choice(kinds)()

    def _place(self) -> int:
        return self._chance.randint(1, self._events)

    async def _byte(self) -> tuple[str, int, list[int]]:
        """One bit of one column; of an empty one, a value where there was none."""
        place = self._place()
        (row,) = await self._owner.fetch("SELECT * FROM events WHERE position = $1", place)
        columns = [name for name in dict(row) if name not in {"category", "position"}]
        column = self._chance.choice(columns)
        if column in {"data", "hash"}:
            at = self._chance.randrange(len(row[column]))
            change = f"set_byte({column}, {at}, get_byte({column}, {at}) # {1 << self._chance.randrange(8)})"
        elif column in {"stream", "type", "actor"}:
            at = self._chance.randrange(len(row[column])) + 1
            letter = chr(ord(row[column][at - 1]) ^ 1)
            change = f"overlay({column} placing '{letter}' from {at})"
        elif column.endswith("_id"):
            change = f"'{self._chance.getrandbits(128):032x}'::uuid"
        else:
            change = f"coalesce({column} # {1 << self._chance.randrange(30)}, 1)"
        change = f"UPDATE events SET {column} = {change} WHERE position = {place}"  # noqa: S608 - ours
        await self._owner.execute(change)
        return f"byte of {column}", place, [place]

    async def _replace(self) -> tuple[str, int, list[int]]:
        place, other = self._place(), self._place()
        await self._owner.execute(
            "UPDATE events e SET data = o.data || ' ', actor = o.actor || '.', "
            "recorded_at = o.recorded_at + 1 FROM original o WHERE e.position = $1 AND o.position = $2",
            place, other,
        )  # fmt: skip
        return "row replaced", place, [place]

    async def _insert(self) -> tuple[str, int, list[int]]:
        """In the other category, where the same position is free."""
        place = self._place()
        await self._owner.execute(
            "INSERT INTO events SELECT $1, 9000000, recorded_at, slot, schema_version, event_id, "
            "correlation_id, causation_id, CASE category WHEN 'market' THEN 'domain' ELSE 'market' END, "
            "'forged-1', type, actor, data, hash FROM original WHERE position = $1", place,
        )  # fmt: skip
        return "row inserted", place, [place]

    async def _swap(self) -> tuple[str, int, list[int]]:
        one, other = sorted(self._chance.sample(range(1, self._events + 1), 2))
        away = 9_000_000
        for position, to in ((one, away), (other, one), (away, other)):
            await self._owner.execute("UPDATE events SET position = $2 WHERE position = $1", position, to)
        return "rows swapped", one, [one, other]

    async def _delete(self) -> tuple[str, int, list[int]]:
        place = self._place()
        await self._owner.execute("DELETE FROM events WHERE position = $1", place)
        return "row deleted", place, [place]

    async def _cut_off(self) -> tuple[str, int, list[int]]:
        count = self._chance.randint(1, 50)
        first = self._events - count + 1
        await self._owner.execute("DELETE FROM events WHERE position >= $1", first)
        return "tail cut off", first, list(range(first, self._events + 1))


async def vandalise(room: Room, url: str, alterations: int, seed: int) -> dict[str, Any]:
    """How many random alterations were found, and named where they begin."""
    owner = await asyncpg.connect(url)
    found = named = 0
    kinds: dict[str, int] = {}
    try:
        vandal = Vandal(owner, room.events, random.Random(seed))
        await vandal.begin()
        for number in range(alterations):
            kind, first, touched = await vandal.strike()
            kinds[kind] = kinds.get(kind, 0) + 1
            try:
                await room.verifier.verify(from_start=True)
                print(f"NOT FOUND: {kind} at {first}", file=sys.stderr)
            except LogCorrupt as broken:
                found += 1
                named += broken.position == first
                if broken.position != first:
                    print(f"{kind} at {first} was named at {broken.position}", file=sys.stderr)
            await vandal.repair(touched)
            if (number + 1) % 100 == 0:
                print(f"{number + 1} alterations: {found} found, {named} named", file=sys.stderr)
        await room.verifier.verify(from_start=True)  # put right, it verifies again
    finally:
        await owner.close()
    return {"alterations": alterations, "found": found, "first_bad_position_named": named, "kinds": kinds}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts, each on a log of its own."""
    result: dict[str, Any] = {"benchmark": "audit", "events": options.events}
    with tempfile.TemporaryDirectory(prefix="daybook-audit-") as folder, attach(Path(folder)) as stack:
        key = read_or_make(Path(folder) / "audit_key.pem")
        async with fresh_database(stack.database_url) as url:
            await migrate(url)
            async with await PostgresEventLog.open(url) as log:
                result |= await measure(await furnish(url, log, key, options.events), options.rounds)
        async with fresh_database(stack.database_url) as url:
            await migrate(url)
            async with await PostgresEventLog.open(url) as log:
                room = await furnish(url, log, key, options.altered_events)
                result |= await vandalise(room, url, options.alterations, options.seed)
    names = ("daybook", "asyncpg", "cryptography")
    result["versions"] = {
        "python": platform.python_version(), **{name: metadata.version(name) for name in names},
    }  # fmt: skip
    return result


def main() -> None:
    """Measure, alter, print one JSON object last; exit 1 when an alteration was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alterations", type=int, default=1_000)
    parser.add_argument(
        "--altered-events", type=int, default=10_000, help="events of the log that is altered"
    )
    parser.add_argument("--seed", type=int, default=1)
    result = uvloop.run(run(parser.parse_args()))
    print(json.dumps(result))
    sys.exit(0 if result["first_bad_position_named"] == result["alterations"] else 1)


if __name__ == "__main__":
    main()
