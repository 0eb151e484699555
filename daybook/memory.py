"""How a process that runs for days looks for garbage: less often."""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""New objects between two looks at them, under half a millisecond each. Python's own 700 made a replay, which
keeps a page of events at a time, a fifth slower."""


def collect_seldom() -> None:
    """For the rest of this process; whoever has loaded much at once may freeze it besides."""
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
