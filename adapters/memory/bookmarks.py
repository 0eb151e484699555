"""How far each process manager has reacted to the log, in memory."""

from __future__ import annotations


class MemoryBookmarks:
    """Implements `commands.ports.Bookmarks`."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}

    async def load(self, name: str) -> int:
        """The last position reacted to; 0 when there is none."""
        return self._positions.get(name, 0)

    async def save(self, name: str, position: int) -> None:
        """Remember `position`; a lower one than is remembered changes nothing."""
        self._positions[name] = max(position, self._positions.get(name, 0))
