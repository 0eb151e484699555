"""GET /health: each dependency by name, asked now, all at once, none for longer than two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from api.errors import json_response
from api.services import ApiServices, Health, HealthCheck

CHECK_S: Final = 2.0
"""A dependency that needs longer than this to say that it lives does not."""

MAX_LAG: Final = 10_000
"""Positions a read model may be behind before it counts as failing: seconds of a busy log."""


def health_router(services: ApiServices) -> APIRouter:
    """The health door."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> Response:
        found = await ask_all({**services.checks, **_read_model_checks(services)})
        ok = all(health.ok for health, _ in found.values())
        checks = {
            name: {"ok": health.ok, "detail": health.detail, **health.figures, "took_us": took_us}
            for name, (health, took_us) in found.items()
        }
        body = {"status": "ok" if ok else "failing", "at_us": services.clock(), "checks": checks}
        return json_response(body, 200 if ok else 503)

    return router


async def ask_all(checks: Mapping[str, HealthCheck]) -> dict[str, tuple[Health, int]]:
    """What each check finds and how many microseconds it took; all at once."""
    found = await asyncio.gather(*(_asked(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


def _read_model_checks(services: ApiServices) -> dict[str, HealthCheck]:
    def of(name: str) -> HealthCheck:
        async def check() -> Health:
            checkpoint = await services.reads.checkpoint(name)
            lag = max(0, await services.log.head() - checkpoint)
            detail = f"{lag} positions behind the log" + (
                "" if lag <= MAX_LAG else f", more than {MAX_LAG}: is its runner halted or stopped?"
            )
            return Health(lag <= MAX_LAG, detail, {"checkpoint": checkpoint, "lag": lag})

        return check

    return {f"projection:{name}": of(name) for name in services.read_models}


async def _asked(check: HealthCheck) -> tuple[Health, int]:
    started = time.perf_counter_ns()
    try:
        async with asyncio.timeout(CHECK_S):
            found = await check()
    except TimeoutError:
        found = Health(ok=False, detail=f"did not answer within {CHECK_S:g} s")
    except Exception as error:  # noqa: BLE001 - a failing check is an answer, whatever it raises
        found = Health(ok=False, detail=f"{type(error).__name__}: {error}")
    return found, (time.perf_counter_ns() - started) // 1_000
