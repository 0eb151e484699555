"""`daybook dlq`: see what could not be handled, have it tried again, or leave it out with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from logged import AT, CAUSE, new_id, pool_updated, to

from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from adapters.postgres.rows import EncodedAppend
from daybook.cli.moments import iso
from daybook.cli.output import BAD_INPUT, DONE, NO
from domain.errors import PoisonEvent
from projections import pnl
from projections.runner import ProjectionRunner


@pytest.fixture
async def with_letters(database: str) -> AsyncIterator[str]:
    """A database with two letters."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as log, open_read_store(database) as reads:
        await log.append([to("pool-1", *[pool_updated(n) for n in range(3)])], append_id=new_id())
        live = await reads.prepare(pnl.READ_MODEL)
        for event in (await log.read())[:2]:
            await reads.set_aside(live, event, f"cannot fold {event.position}", 3)
        yield database


def dlq(database: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the last line."""
    done = subprocess.run(
        [sys.executable, "-m", "daybook", "dlq", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "DAYBOOK_DATABASE_URL": database},
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


async def test_letters_are_listed_shown_retried_and_dropped(with_letters: str) -> None:
    """A decision is recorded; the services act on it."""
    code, listed = dlq(with_letters, "list")
    assert (code, listed["waiting"]) == (NO, 2)
    first, second = listed["letters"]
    assert (first["name"], first["position"], first["error"]) == ("pnl", 1, "cannot fold 1")
    code, shown = dlq(with_letters, "show", str(first["id"]))
    assert code == DONE
    assert shown["attempts"] == 3
    assert "pool" in json.loads(shown["event"])
    assert dlq(with_letters, "retry", str(first["id"])) == (DONE, {"id": first["id"], "state": "retry"})
    assert dlq(with_letters, "drop", str(second["id"]), "--reason", "a copy")[0] == DONE
    code, listed = dlq(with_letters, "list", "--of", "pnl")
    assert code == DONE  # nothing waits for a decision any more
    assert [(one["state"], one["reason"]) for one in listed["letters"]] == [
        ("retry", None),
        ("dropped", "a copy"),
    ]


async def test_an_event_that_cannot_be_decoded_is_shown_as_it_is(database: str) -> None:
    """Just what ends among the dead letters: another process wrote facts that have not the type's shape."""
    await migrate(database)
    strange = EncodedAppend("order-1", 0, [("order.placed", 1, b'{"x":1}')], CAUSE, AT, None)
    async with await PostgresEventLog.open(database) as log, open_read_store(database) as reads:
        await log.append_rows([strange], append_id=new_id())
        with pytest.raises(PoisonEvent):
            await ProjectionRunner(pnl.READ_MODEL, FoldSource(log, pnl.READ_MODEL), reads).catch_up()
    code, shown = dlq(database, "show", "1")
    assert (code, shown["event"], shown["recorded_at"]) == (DONE, '{"x":1}', AT)
    assert "DecodeError" in shown["error"]
    assert shown["correlation_id"] == str(CAUSE.correlation_id)


def spoken(database: str, *arguments: str) -> list[str]:
    """What people read, line by line."""
    done = subprocess.run(
        [sys.executable, "-m", "daybook", "dlq", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "DAYBOOK_DATABASE_URL": database},
        check=False,
    )
    return done.stdout.splitlines()


async def test_people_read_columns_and_no_python(with_letters: str) -> None:
    """Times, numbers and the event's own JSON; nothing that is not there."""
    first, second, count = spoken(with_letters, "list")
    assert " ".join(first.split()) == "1 waiting pnl position 1 market.pool_updated 3 attempts cannot fold 1"
    assert first.index("cannot") == second.index("cannot")
    assert count == "2 of 2 waiting for a decision"
    shown = spoken(with_letters, "show", "1")
    labels = dict(line.split("  ", 1) for line in shown)
    assert labels["read model"].strip() == f"pnl, version {pnl.READ_MODEL.version}, generation 1"
    assert labels["recorded at"].strip() == iso(AT)
    assert "pool" in json.loads(labels["event"])
    assert not [line for line in shown if "None" in line or "(" in line]
    assert spoken(with_letters, "retry", "1") == ["the event of letter 1 will be handled again"]
    assert spoken(with_letters, "drop", "2", "--reason", "a copy") == [
        "the event of letter 2 is left out for good; it stays in the log"
    ]


async def test_an_unknown_read_model_is_bad_input(database: str) -> None:
    """Not an empty list: a misspelt name would look like all is well."""
    await migrate(database)
    code, said = dlq(database, "list", "--of", "nope")
    assert code == BAD_INPUT
    assert "no read model 'nope': it is one of wallet_balances, pnl" in said["error"]
    assert dlq(database, "list", "--of", "pnl") == (DONE, {"waiting": 0, "letters": []})


async def test_an_unknown_letter_is_bad_input(database: str) -> None:
    """Also where nothing was ever set aside."""
    await migrate(database)
    assert dlq(database, "list") == (DONE, {"waiting": 0, "letters": []})
    for arguments in (("show", "7"), ("retry", "7"), ("drop", "7", "--reason", "none")):
        code, said = dlq(database, *arguments)
        assert code == BAD_INPUT
        assert "daybook dlq list" in said["error"]
