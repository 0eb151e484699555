"""A clock that is told the time: for backtests and tests."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import InvariantBroken


@dataclass(slots=True)
class MemoryClock:
    """Implements `commands.ports.Clock`.

    Attributes:
        now_us: microseconds since the epoch.
    """

    now_us: int = 0

    def __call__(self) -> int:
        """The time it was told."""
        return self.now_us

    def advance(self, by_us: int) -> None:
        """Let so many microseconds pass.

        Raises:
            InvariantBroken: when time would run backwards.
        """
        if by_us < 0:
            raise InvariantBroken(f"the clock was to be moved by {by_us} microseconds: time runs forward")
        self.now_us += by_us
