"""A writing process of the self-test: several callers on one log, until standard input closes.

    python -m daybook.cli.selftest.writer '{"url": ..., "name": ..., "callers": 4, "seed": 1, ...}'

It says when it is connected, in one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog
import uvloop

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.lost_copies import keep_quiet_about_lost_copies
from daybook.cli.output import configure_logging, print_json
from daybook.cli.selftest.orders import until_told_to_end
from daybook.cli.selftest.outcomes import Notebook
from daybook.cli.selftest.workload import Caller, Step
from domain.errors import ConcurrencyError, LogUnavailable

RETRY_S: Final = 0.1
"""Before the log is opened again while its server restarts."""

GIVE_UP_S: Final = 60.0
"""A restarted server answers within seconds; after a minute it will not."""

FINISH_S: Final = 30.0
"""After the end was asked for, appends under way get this long."""


async def write(config: dict[str, Any]) -> None:
    """Run the callers until standard input closes."""
    keep_quiet_about_lost_copies()
    notebook = Notebook(Path(config["outcomes"]))
    ending = asyncio.Event()
    async with await opened(config["url"]) as log:
        callers = [
            Caller(f"{config['name']}-{n}", Random(f"{config['seed']}/{config['name']}/{n}"))  # noqa: S311 - repeatable, not secret
            for n in range(config["callers"])
        ]
        work = asyncio.gather(*(_call(log, caller, notebook, ending) for caller in callers))
        print_json({"ready": True})
        await until_told_to_end(work)
        ending.set()
        await asyncio.wait_for(work, FINISH_S)


async def opened(url: str) -> PostgresEventLog:
    """The log, as soon as its server answers.

    Raises:
        LogUnavailable: it did not within a minute.
    """
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            return await PostgresEventLog.open(url)
        except LogUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_S)


async def _call(log: PostgresEventLog, caller: Caller, notebook: Notebook, ending: asyncio.Event) -> None:
    while not ending.is_set():
        step = caller.next_step(time.time_ns() // 1_000)
        while not await _answered(log, caller, step, notebook):
            if ending.is_set():
                return


async def _answered(log: PostgresEventLog, caller: Caller, step: Step, notebook: Notebook) -> bool:
    """Make one append and write the answer down; false when there was none: the same id again."""
    try:
        answer = await log.append(step.appends, append_id=step.append_id)
    except LogUnavailable:
        notebook.note("outage")
        return False
    except ConcurrencyError as error:
        notebook.note("conflict")
        caller.conflicted(error.stream, error.actual)
        return True
    if step.first_answer is None:
        notebook.note("acknowledged", step.append_id, answer.first_position, answer.last_position)
    else:
        first = step.first_answer
        same = answer == first._replace(repeated=True)
        notebook.note("repeated" if same else "wrong_repeat", step.append_id)
    caller.acknowledged(step, answer)
    return True


def main() -> None:
    """Run the process; its log lines go to standard error, errors only."""
    configure_logging("error", "json")
    structlog.contextvars.bind_contextvars(process="selftest writer")
    uvloop.run(write(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
