"""A circuit breaker: an endpoint that keeps failing is left alone, then tried with one call."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FAILURES: Final = 5
"""In a row before it opens: a single lost connection is no outage."""
FIRST_OPEN_S: Final = 2.0
LONGEST_OPEN_S: Final = 60.0
"""How long it stays open: doubled with each trial that fails, from the first up to the longest."""
TRIAL_S: Final = 30.0
"""A trial whose end was never told (its call was cancelled) counts as over after this."""


class Circuit(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """One endpoint's breaker, in seconds of an injected clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_s = FIRST_OPEN_S
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    def state(self, now: float) -> Circuit:
        """Closed: calls go. Open: none do. Half open: one may try."""
        if self._opened_at is None:
            return Circuit.CLOSED
        return Circuit.HALF_OPEN if now - self._opened_at >= self._open_s else Circuit.OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may go."""
        state = self.state(now)
        trying = self._trial_at is not None and now - self._trial_at < TRIAL_S
        return state is Circuit.CLOSED or (state is Circuit.HALF_OPEN and not trying)

    def started(self, now: float) -> None:
        """A call goes; half open, it is the trial."""
        if self._opened_at is not None:
            self._trial_at = now

    def succeeded(self) -> None:
        """A call was answered: closed again."""
        self._failures, self._open_s = 0, FIRST_OPEN_S
        self._opened_at = self._trial_at = None

    def failed(self, now: float) -> None:
        """A call was not answered."""
        self._failures += 1
        self._trial_at = None
        if self._opened_at is None:
            if self._failures >= FAILURES:
                self._opened_at = now
        elif self.state(now) is Circuit.HALF_OPEN:
            self._open_s = min(self._open_s * 2.0, LONGEST_OPEN_S)
            self._opened_at = now

    def undecided(self) -> None:
        """A call ended without a verdict on the endpoint: cancelled, or refused for its rate."""
        self._trial_at = None
