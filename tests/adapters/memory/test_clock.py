"""The clock that is told the time."""

from __future__ import annotations

import pytest

from adapters.memory.clock import MemoryClock
from domain.errors import InvariantBroken


def test_it_says_what_it_was_told() -> None:
    """And moves only when it is moved."""
    clock = MemoryClock(5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(7)
    assert clock() == 12


def test_time_runs_forward() -> None:
    """A backtest that turns it back has a mistake."""
    with pytest.raises(InvariantBroken, match="time runs forward"):
        MemoryClock().advance(-1)
