"""When a read is asked again elsewhere: later than most answers come, and seldom enough to cost little."""

from __future__ import annotations

from collections import deque
from typing import Final

RECENT: Final = 256
"""Latencies remembered a method."""
LEAST: Final = 20
"""Answers before a percentile means anything."""
AGAIN_EVERY: Final = 16
"""New latencies between two sortings of the remembered ones."""
SHORTEST_S: Final = 0.005
"""Below this the second call costs more than the wait."""
LONGEST_S: Final = 1.0
"""A read that has no answer after a second is asked elsewhere, whatever the past says."""
BUDGET_SHARE: Final = 0.1
"""Hedges among all calls: when everything is slow, asking twice would make it slower."""
BUDGET_MOST: Final = 20.0
"""Hedges that may be saved up for a bad moment."""


class Hedging:
    """Latencies by method, and the budget.

    Args:
        percentile: of the answers that come before a hedge goes, e.g. 95; None: reads are never hedged.
    """

    def __init__(self, percentile: int | None) -> None:
        self._percentile = percentile
        self._seen: dict[str, deque[float]] = {}
        self._delays: dict[str, float] = {}
        self._new: dict[str, int] = {}
        self._budget = BUDGET_MOST

    def delay_s(self, method: str) -> float | None:
        """How long to wait for an answer before asking elsewhere too; None for ever."""
        return None if self._percentile is None else self._delays.get(method, LONGEST_S)

    def called(self) -> None:
        """A call began: a tenth of a hedge is earned."""
        self._budget = min(BUDGET_MOST, self._budget + BUDGET_SHARE)

    def spend(self) -> bool:
        """Take a hedge from the budget, if there is one."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True

    def answered(self, method: str, took_s: float) -> None:
        """Remember how long an answer took."""
        seen = self._seen.setdefault(method, deque(maxlen=RECENT))
        seen.append(took_s)
        new = self._new.get(method, 0) + 1
        if len(seen) >= LEAST and new >= AGAIN_EVERY:
            self._delays[method] = self._at_percentile(seen)
            new = 0
        self._new[method] = new

    def _at_percentile(self, seen: deque[float]) -> float:
        at = len(seen) * (self._percentile or 100) // 100
        found = sorted(seen)[min(at, len(seen) - 1)]
        return min(max(found, SHORTEST_S), LONGEST_S)
