"""Services started with new versions of all read models: each is built beside the old, one fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from builders import random_history
from typer.testing import CliRunner
from waiting import until

import daybook.app
import projections.catalogue
from adapters.embedded.stack import StackUrls
from adapters.postgres.event_log import PostgresEventLog
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.migrate import migrate
from adapters.postgres.read_store import open_read_store
from adapters.solana.signers import MemorySigner
from api.services import runner_check
from commands.ports import StreamAppend
from daybook.app import World, live
from daybook.cli.projections import projections_app
from daybook.supervise import supervised
from domain.events import RecordedEvent, derived_id
from projections.catalogue import READ_MODELS
from projections.ports import FoldEvent, Rows, State
from projections.read_model import ReadModel, Step
from projections.runner import ProjectionRunner, RunnerState

EVENTS = random_history(51, 12).events
BEFORE = 60
BROKEN = "wallet_balances"
NOWHERE = "127.0.0.1:1"  # no node: nothing here asks one


class Unsteady:
    """A step that counts its calls into a row, until somebody mends it."""

    def __init__(self, step: Step) -> None:
        self.mended = False
        self._step, self._calls = step, count(1)

    def fold(self, rows: Rows, event: FoldEvent) -> None:
        """As the step it stands for, and more."""
        self._step.fold(rows, event)
        if not self.mended:
            for (table, _), row in rows.changed.items():
                if table == "balances":
                    row["updated_position"] = next(self._calls)


def newer(unsteady: Unsteady) -> tuple[ReadModel, ...]:
    """Every read model with a version more, one of them no function of the log."""
    models = []
    for model in READ_MODELS:
        steps = dict(model.steps)
        if model.name == BROKEN:
            old = steps["wallet.transferred"]
            steps["wallet.transferred"] = Step(old.keys, unsteady.fold, old.facts, old.makes)
        models.append(ReadModel(model.name, model.version + 1, model.tables, steps, model.halts_on_poison))
    return tuple(models)


async def append(log: PostgresEventLog, events: Sequence[RecordedEvent]) -> None:
    for event in events:
        step = StreamAppend(
            event.stream, event.version - 1, [event.event], event.cause, event.recorded_at, event.slot
        )
        await log.append([step], append_id=derived_id("append", event.position))


async def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the answer of `daybook projections` for the broken one."""
    given = [*arguments, BROKEN, "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, projections_app, given)
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])["projections"][0]
    return result.exit_code, answer


@pytest.fixture
async def world(database: str, stack: StackUrls, monkeypatch: pytest.MonkeyPatch) -> World:
    """A log with some history, every read model folded by the code of yesterday."""
    await migrate(database)
    async with await PostgresEventLog.open(database) as log, open_read_store(database) as store:
        await append(log, EVENTS[:BEFORE])
        for model in READ_MODELS:
            await ProjectionRunner(model, FoldSource(log, model), store).catch_up()
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", database)
    signer = MemorySigner.from_seed(bytes([7] * 32))
    urls = (database, stack.nats_url, stack.redis_url, f"http://{NOWHERE}", f"ws://{NOWHERE}")
    return World(*urls, signer, pools=())


async def test_one_read_model_that_cannot_be_built_stops_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It halts with its reason where people look, and goes on after a rebuild by mended code."""
    old = next(model for model in READ_MODELS if model.name == BROKEN)
    unsteady = Unsteady(old.steps["wallet.transferred"])
    models = newer(unsteady)
    monkeypatch.setattr(daybook.app, "READ_MODELS", models)
    monkeypatch.setattr(projections.catalogue, "READ_MODELS", models)
    async with live(world) as opened:
        names = [f"projection {model.name}" for model in models]
        services = {name: opened.services[name] for name in (*names, "planner", "coordinator")}
        (broken,) = (one for one in opened.runners if one.status.name == BROKEN)
        others = [one for one in opened.runners if one is not broken]
        async with supervised(services):
            await until(lambda: broken.status.state is RunnerState.HALTED)
            await until(lambda: all(one.status.state is RunnerState.RUNNING for one in others))
            await append(opened.log, EVENTS[BEFORE:])
            for one in others:
                await opened.reads.wait_for(one.status.name, len(EVENTS), timeout_s=20)
            assert await opened.reads.checkpoint(BROKEN) == BEFORE
            health = await runner_check(broken)()
            assert not health.ok
            assert "differs from a second fold in balances" in health.detail
            code, found = await ask("status")
            assert (code, found["state"], found["live_version"]) == (1, "halted", old.version)
            assert "differs from a second fold" in found["others"][0]["failure"]
            assert "takes no events until" in "".join(await says("status"))
            unsteady.mended = True
            code, built = await ask("rebuild")
            assert (code, built["version"], built["verified"]) == (0, old.version + 1, True)
            await opened.reads.wait_for(BROKEN, len(EVENTS), timeout_s=20)
            await until(lambda: broken.status.state is RunnerState.RUNNING)
        living = [one for one in await opened.reads.generations() if one.state is State.LIVE]
        assert {(one.name, one.version) for one in living} == {(one.name, one.version) for one in models}


async def says(*arguments: str) -> list[str]:
    """What it prints for people."""
    result = await asyncio.to_thread(CliRunner().invoke, projections_app, [*arguments, BROKEN])
    return result.stdout.splitlines()
