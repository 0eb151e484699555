"""The system's clock, handed to whatever needs to know the time."""

from __future__ import annotations

import time


def now_us() -> int:
    """This moment, in microseconds since the epoch."""
    return time.time_ns() // 1_000
