"""How an endpoint has been doing: its recent share of failures, its latency, what its slot says of it."""

from __future__ import annotations

from collections import deque
from typing import Final

from adapters.rpcpool.slots import Standing

RECENT: Final = 50
"""Calls remembered: enough for a share, few enough to forget a bad minute."""
LEAST: Final = 10
"""Calls before a share means anything."""
MAX_ERROR_SHARE: Final = 0.5
"""An endpoint that fails every second call is asked only when the others are gone."""
SMOOTHING: Final = 0.2
"""Weight of the newest latency."""
PROBATION_ROUNDS: Final = 3
"""Rounds in good standing before one that lied about its slot is preferred again."""


class EndpointHealth:
    """What is known of one endpoint.

    Attributes:
        latency_s: smoothed seconds of an answered call; None before the first.
        slot: its last report; None before the first.
        standing: what its slot says of it.
        checked: whether its last health check was answered; None before the first.
        checked_at: wall-clock seconds of the last check.
    """

    def __init__(self) -> None:
        self.latency_s: float | None = None
        self.slot: int | None = None
        self.standing = Standing.TRUSTED
        self.checked: bool | None = None
        self.checked_at: float | None = None
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._failed = 0
        self._probation = 0

    @property
    def error_share(self) -> float:
        """Failures among the recent calls; 0 while they are too few."""
        return self._failed / len(self._recent) if len(self._recent) >= LEAST else 0.0

    @property
    def doubtful(self) -> bool:
        """Whether it claimed a slot that cannot be: its answers are not to be believed."""
        return self._probation > 0

    @property
    def rank(self) -> int:
        """0 asked first, 1 when those are gone: old or failing, 2 last of all: it lied about its slot."""
        if self.doubtful:
            return 2
        bad = self.checked is False or self.error_share > MAX_ERROR_SHARE
        return 1 if bad or self.standing is Standing.LAGGING else 0

    def record(self, *, ok: bool, took_s: float) -> None:
        """Remember a call."""
        if len(self._recent) == RECENT:
            self._failed -= not self._recent[0]
        self._recent.append(ok)
        self._failed += not ok
        if ok:
            old = self.latency_s
            self.latency_s = took_s if old is None else old + SMOOTHING * (took_s - old)

    def stand(self, standing: Standing) -> None:
        """Take a round's verdict: who lied is believed again after some rounds without."""
        self.standing = standing
        if standing in (Standing.AHEAD, Standing.BACKWARDS):
            self._probation = PROBATION_ROUNDS
        elif standing is Standing.TRUSTED:
            self._probation = max(0, self._probation - 1)

    def recovered(self) -> None:
        """It answers again after an outage: the failures before are history."""
        self._recent.clear()
        self._failed = 0

    def age(self) -> None:
        """A round has passed in which it answered: some of the past is forgotten."""
        for _ in range(min(LEAST, len(self._recent))):
            self._failed -= not self._recent.popleft()
