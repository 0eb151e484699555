"""What the doors are handed: the read models, the log to explain them from, the checks, the metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry

from projections import opportunities, pnl, stories, trade_history, wallet_balances
from projections.ports import EventReader, ReadStore
from projections.runner import ProjectionRunner, RunnerState

READ_MODELS: Final = (
    wallet_balances.NAME,
    pnl.NAME,
    trade_history.NAME,
    opportunities.NAME,
    stories.NAME,
)
"""The read models behind the answers; /health and /metrics name each."""


_WELL: Final = frozenset(
    {RunnerState.STARTING, RunnerState.RUNNING, RunnerState.REBUILDING, RunnerState.PAUSED}
)


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found.

    Attributes:
        ok: whether the dependency does its work.
        detail: what was found, in words.
        figures: numbers beside it, e.g. `{"lag": 0}`.
    """

    ok: bool
    detail: str
    figures: Mapping[str, int] = field(default_factory=dict)


HealthCheck = Callable[[], Awaitable[Health]]
"""Asks one dependency. It may raise or hang: the door gives it a time limit and reports either."""


def runner_check(runner: ProjectionRunner) -> HealthCheck:
    """Whether a read model's runner in this process does its work; halted or waiting it does not.

    Paused it rests on purpose, and while it rebuilds the old version answers: both are well.
    """

    async def check() -> Health:
        status = runner.status
        ok = status.state in _WELL
        detail = status.state.value if status.error is None else f"{status.state.value}: {status.error}"
        return Health(ok, detail, {"checkpoint": status.checkpoint})

    return check


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Everything the doors need; wired by the composition root.

    Attributes:
        reads: the read models.
        log: the event log, read only.
        checks: dependencies by name, e.g. `postgres`, `nats`, `redis`, `solana`.
        registry: metrics that other parts of the process keep, e.g. the relay's lag.
        clock: microseconds since the epoch.
        read_models: whose lag is watched.
    """

    reads: ReadStore
    log: EventReader
    checks: Mapping[str, HealthCheck]
    registry: CollectorRegistry
    clock: Callable[[], int]
    read_models: Sequence[str] = READ_MODELS
