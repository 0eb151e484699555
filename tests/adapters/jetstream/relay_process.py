"""A relay as a process that may be frozen; it prints `active` and `standby` whenever that changes.

python relay_process.py DATABASE_URL NATS_URL
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from waiting import until

from adapters.jetstream.relay import Relay

LIFE_S = 120.0
"""An orphan ends by itself."""


async def main(database_url: str, nats_url: str) -> None:
    """Deliver, and tell."""
    relay = Relay(database_url, nats_url)
    running = asyncio.create_task(relay.run())
    while True:
        was = relay.active
        await until(lambda: relay.active != was, timeout_s=LIFE_S)  # noqa: B023 - awaited at once
        sys.stdout.write("active\n" if relay.active else "standby\n")
        sys.stdout.flush()
        assert not running.done()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2]))
