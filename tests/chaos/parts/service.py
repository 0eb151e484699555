"""A relay or a projector as a process that may be killed, with its naive control beside it.

python service.py relay|projector '{"database_url": ..., "nats_url": ...}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from chaos.parts import naive
from waiting import until, until_open

from adapters.jetstream.relay import Relay
from adapters.postgres.fold_source import FoldSource
from adapters.postgres.read_store import open_read_store
from domain.errors import ReadStoreUnavailable
from projections.catalogue import READ_MODELS
from projections.runner import ProjectionRunner, RunnerState

READY_S: Final = 120.0


async def relay(config: dict[str, Any]) -> None:
    """Deliver the log, for ever."""
    ours = Relay(config["database_url"], config["nats_url"])
    await asyncio.gather(
        ours.run(), naive.relay(config["database_url"], config["nats_url"]), _say_when(lambda: ours.active)
    )


def _all_run(runners: Sequence[ProjectionRunner]) -> bool:
    return all(runner.status.state is RunnerState.RUNNING for runner in runners)


async def _say_when(ready: Callable[[], bool]) -> None:
    """Tell the parent, which kills nobody who is not at work yet."""
    await until(ready, timeout_s=READY_S)
    print("ready", flush=True)  # noqa: T201 - the parent waits for it


async def projector(config: dict[str, Any]) -> None:
    """Keep all read models, for ever."""
    url = config["database_url"]
    async with await until_open(url) as log:
        while True:
            with contextlib.suppress(ReadStoreUnavailable):
                async with open_read_store(url) as reads:
                    runners = [
                        ProjectionRunner(model, FoldSource(log, model), reads) for model in READ_MODELS
                    ]
                    await asyncio.gather(
                        *(runner.run() for runner in runners),
                        naive.projector(url),
                        _say_when(partial(_all_run, runners)),
                    )
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40),  # errors only
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run({"relay": relay, "projector": projector}[sys.argv[1]](json.loads(sys.argv[2])))
