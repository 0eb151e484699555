"""One self-test from beginning to end: start writers and reader, do damage, stop, compare, report."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg

from adapters.postgres.connections import AWAY, CONNECT_TIMEOUT_S
from adapters.postgres.migrate import migrate
from daybook.cli.output import DONE, NO, print_json, say
from daybook.cli.selftest import naive
from daybook.cli.selftest.outcomes import Outcomes
from daybook.cli.selftest.processes import Reader, Writers
from daybook.cli.selftest.saboteur import RETURN_S, Saboteur, answers
from daybook.cli.selftest.scratch import Scratch, execute, scratch
from daybook.cli.selftest.verdict import Found, examine_control, examine_log
from daybook.settings import Settings
from daybook.signals import StopRequest, run_stoppable
from domain.errors import InvalidInput

TELL_S: Final = 1.0
"""Between two lines of progress."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What to run.

    Attributes:
        seconds: how long writers write.
        processes: how many of them.
        callers: in each process.
        kill: whether servers and writers are killed -9 besides connections.
        control: whether the naive log runs in the place of ours.
        seed: of all choices.
        as_json: whether the report is one JSON object.
    """

    seconds: int
    processes: int
    callers: int
    kill: bool
    control: bool
    seed: int
    as_json: bool = False


def run_selftest(settings: Settings, test: SelfTest) -> int:
    """Run it and report; the exit code says whether nothing was skipped, doubled, reordered or lost.

    Raises:
        InvalidInput: servers of the user's are not killed.
        SetupError, LogUnavailable: the database is not as needed.
    """
    if test.kill and settings.database_url is not None:
        raise InvalidInput(
            "--kill kills the database server, and DAYBOOK_DATABASE_URL names one of yours: unset it to use "
            "the embedded servers, or leave --kill out"
        )

    async def reported(stop: StopRequest) -> int:
        report = await _run(settings, test, stop)
        if test.as_json:
            print_json(report)
        else:
            for name, value in report.items():
                say(f"{name.replace('_', ' '):<18} {value}")
        return DONE if report["passed"] else NO

    return run_stoppable(reported)


async def _run(settings: Settings, test: SelfTest, stop: StopRequest) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="daybook-selftest-") as folder:
        async with scratch(settings) as place:
            _tell("a database of its own; your log is not touched")
            if test.control:
                await execute(place.url, naive.TABLE)
            else:
                await migrate(place.url)
            return await _session(place, test, Path(folder), stop)


async def _session(place: Scratch, test: SelfTest, folder: Path, stop: StopRequest) -> dict[str, Any]:
    outcomes = Outcomes()
    saboteur = Saboteur(place.url, Random(test.seed))  # noqa: S311 - repeatable, not secret
    writers = Writers(place.url, folder, test.seed, test.callers, control=test.control)
    async with Reader(place.url, control=test.control) as reader, writers:
        await writers.start(test.processes)
        started = time.monotonic()
        async with _sabotage(saboteur, place, writers, test):
            with stop.heeded():
                await _watch(test, reader, writers, saboteur, stop.asked)
        await _back(place.url)
        await writers.stop()
        elapsed = time.monotonic() - started
        head = await _end(place.url, test)
        seen = await reader.finish(head)
    await asyncio.to_thread(outcomes.read, folder)
    examine = examine_control if test.control else examine_log
    return _report(test, outcomes, saboteur, seen, await examine(place.url, outcomes.acknowledged), elapsed)


@contextlib.asynccontextmanager
async def _sabotage(
    saboteur: Saboteur, place: Scratch, writers: Writers, test: SelfTest
) -> AsyncIterator[None]:
    acts = [saboteur.cut_connections(), saboteur.hold_transactions()]
    if not test.control:
        acts.append(saboteur.hold_the_fence())
    if test.kill and place.stack_folder is not None:
        acts += [saboteur.kill_servers(place.stack_folder), saboteur.kill_writers(writers.kill_one)]
    tasks = [asyncio.create_task(act) for act in acts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _watch(
    test: SelfTest, reader: Reader, writers: Writers, saboteur: Saboteur, enough: asyncio.Event
) -> None:
    """Say on standard error how it goes, until the time is over or somebody has had enough."""
    started, before = time.monotonic(), 0
    while (left_s := started + test.seconds - time.monotonic()) > 0 and not enough.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), min(TELL_S, left_s))
        writers.check()
        seen = reader.seen
        damage = saboteur.damage
        _tell(
            f"{max(0, left_s - TELL_S):4.0f} s left  {seen:9,} seen  {seen - before:7,}/s  "
            f"{damage.kills} kills  {damage.slow_transactions} slow transactions"
        )
        before = seen


async def _back(url: str) -> None:
    async with asyncio.timeout(RETURN_S):
        while not await answers(url):  # noqa: ASYNC110 - a server that starts sets no event
            await asyncio.sleep(0.1)


async def _end(url: str, test: SelfTest) -> int:
    """The last position."""
    query = "SELECT max(position) FROM naive_events" if test.control else "SELECT position FROM log_head"
    async with asyncio.timeout(RETURN_S):
        while True:
            with contextlib.suppress(*AWAY):
                connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
                try:
                    return int(await connection.fetchval(query) or 0)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.1)


def _report(
    test: SelfTest,
    outcomes: Outcomes,
    saboteur: Saboteur,
    seen: dict[str, Any],
    found: Found,
    elapsed: float,
) -> dict[str, Any]:
    skipped = found.appended - seen["seen"]
    wrong = (
        skipped, seen["doubled"], seen["disordered"], seen["stream_gaps"], found.gaps, found.lost,
        found.twice, outcomes.wrong_repeats,
    )  # fmt: skip
    same = seen["digest"] == found.digest
    passed = not any(wrong) and same and found.appended > 0 and found.chain in {None, "verified"}
    return {
        "passed": passed,
        "log": "naive control" if test.control else "daybook",
        "appended": found.appended,
        "seen": seen["seen"],
        "skipped": skipped,
        "doubled": seen["doubled"],
        "disordered": seen["disordered"],
        "kills": saboteur.damage.kills,
        **asdict(saboteur.damage),
        "acknowledged_appends": len(outcomes.acknowledged),
        "lost_appends": found.lost,
        "double_appends": found.twice,
        "conflicts": outcomes.conflicts,
        "repeats": outcomes.repeats,
        "wrong_repeats": outcomes.wrong_repeats,
        "outages": outcomes.outages,
        "streams": found.streams,
        "stream_gaps": found.gaps,
        "chain": found.chain,
        "processes": test.processes,
        "callers": test.callers,
        "ended_early": elapsed < test.seconds,
        "seconds": round(elapsed, 1),
        "events_per_second": round(found.appended / elapsed),
        "seed": test.seed,
    }


def _tell(line: str) -> None:
    sys.stderr.write(f"selftest: {line}\n")
    sys.stderr.flush()
