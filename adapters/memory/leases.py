"""Who may act, in memory: for one process that plays all of them."""

from __future__ import annotations

from commands.ports import Fence


class MemoryLeases:
    """Implements `commands.ports.Leases`."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def epoch(self, lease: str) -> int:
        """The newest epoch; 0 for a lease that nobody took."""
        return self._epochs.get(lease, 0)

    async def take(self, lease: str, holder: str) -> Fence:  # noqa: ARG002 - nobody asks for the holder here
        """Take the lease over; appends of an older epoch are refused from now on."""
        self._epochs[lease] = self.epoch(lease) + 1
        return Fence(lease, self._epochs[lease])
