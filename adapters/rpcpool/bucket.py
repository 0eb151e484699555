"""Keeps to an endpoint's rate limit on our side: a token bucket, and the pauses it asks for."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""After a 429 that does not say how long: doubled from the first up to the longest."""
LONGEST_ASKED_S: Final = 3_600.0
"""A pause that an endpoint asks for is kept up to an hour: then it is asked again."""


class TokenBucket:
    """Calls an endpoint may get, in seconds of an injected clock.

    Args:
        per_second: calls a second; None for no limit of our own. A second's worth may go at once.
        now: the clock's reading.
    """

    def __init__(self, per_second: float | None, now: float) -> None:
        self._rate = per_second
        self._burst = max(1.0, per_second or 0.0)
        self._tokens = self._burst
        self._at = now
        self._paused_until = now
        self._refusals = 0

    def ready_at(self, now: float) -> float:
        """When the next call may go; `now` or earlier means at once."""
        self._refill(now)
        if self._rate is None or self._tokens >= 1.0:
            return self._paused_until
        return max(self._paused_until, now + (1.0 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        """Spend a token for a call that goes now."""
        self._refill(now)
        if self._rate is not None:
            self._tokens -= 1.0

    def refused(self, now: float, retry_after_s: float | None) -> None:
        """The endpoint said 429: nothing goes there before the time it asked for, or a growing one."""
        self._refusals += 1
        if retry_after_s is None:
            retry_after_s = min(FIRST_PAUSE_S * 2.0 ** min(self._refusals - 1, 10), LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, now + min(retry_after_s, LONGEST_ASKED_S))

    def answered(self) -> None:
        """The endpoint answered: the next pause of our own begins small again."""
        self._refusals = 0

    def _refill(self, now: float) -> None:
        if self._rate is not None and now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = max(self._at, now)
