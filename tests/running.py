"""Runs a projection's runner while a block runs, and until it halts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from waiting import until

from projections.runner import ProjectionRunner, RunnerState


@asynccontextmanager
async def running(runner: ProjectionRunner) -> AsyncIterator[None]:
    """The runner runs while the block does."""
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_until_halted(runner: ProjectionRunner) -> None:
    """Run it until an event halts it; its status tells why."""
    async with running(runner):
        await until(lambda: runner.status.state is RunnerState.HALTED)
