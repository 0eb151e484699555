"""`daybook strategies`: listed, stopped and resumed by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from given import OWNER, limits, parameters

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.migrate import migrate
from commands.aggregates import Aggregates
from commands.strategies import Strategies
from daybook.cli.output import BAD_INPUT, DONE, NO


def strategies(database: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the last line."""
    done = subprocess.run(
        [sys.executable, "-m", "daybook", "strategies", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "DAYBOOK_DATABASE_URL": database},
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


async def test_a_strategy_is_listed_stopped_and_resumed(database: str) -> None:
    """Each word is on record; what nobody started is refused in a sentence."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as log:
        commands = Strategies(log, Aggregates(log), lambda: 1)
        await commands.start("one", wallet=f"wallet-{OWNER}", parameters=parameters(), limits=limits())
        running = {"name": "one", "running": True, "stopped": None, "wallet": OWNER}
        assert strategies(database, "list") == (DONE, {"strategies": [running]})
        assert strategies(database, "stop", "one", "--reason", "holiday")[0] == DONE
        stopped = {**running, "running": False, "stopped": "holiday"}
        assert strategies(database, "list") == (NO, {"strategies": [stopped]})
        assert strategies(database, "resume", "one") == (
            DONE,
            {"name": "one", "running": True, "was_stopped": True},
        )
        code, refused = strategies(database, "stop", "other")
        assert (code, "check the name" in refused["error"]) == (BAD_INPUT, True)
        told = [(r.topic, r.cause.actor) for r in await log.read_stream("strategy-one")]
        assert told == [(f"strategy.{deed}", "operator") for deed in ("started", "stopped", "resumed")]
