"""Who may act, in memory: for one process that plays all of them."""

from __future__ import annotations

from collections import defaultdict

from commands.ports import Fence


class MemoryLeases:
    """Implements `commands.ports.Leases`.

    Attributes:
        epochs: the newest epoch of each lease; 0 for one that nobody took.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, int] = defaultdict(int)

    async def take(self, lease: str, holder: str) -> Fence:  # noqa: ARG002 - nobody asks for the holder here
        """Take the lease over; appends of an older epoch are refused from now on."""
        self.epochs[lease] += 1
        return Fence(lease, self.epochs[lease])
