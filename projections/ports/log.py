"""The log, as projections fold it and as answers about stories read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from typing import Protocol

from domain.events import RecordedEvent
from projections.ports.folds import FoldEvent


class EventSource(Protocol):
    """The log, as a projection reads it."""

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> Sequence[FoldEvent]:
        """Up to `limit` events with `after` < position (<= `through`), in position order."""
        ...

    def pages(
        self, after: int, through: int, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncGenerator[tuple[Sequence[FoldEvent], int]]:
        """The events with `after` < position <= `through`: pages, and the position each is complete through.

        While a page is folded the log fetches the next.
        """
        ...

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        ...

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[Sequence[FoldEvent]]:
        """History from `after`, then live, without gap or double, in non-empty batches, until closed."""
        ...


class EventReader(Protocol):
    """The log, as answers about single stories and streams read it."""

    async def read(
        self,
        after: int = 0,
        limit: int = 500,
        *,
        through: int | None = None,
        topics: Collection[str] | None = None,
    ) -> list[RecordedEvent]:
        """Up to `limit` events with `after` < position (<= `through`), in position order."""
        ...

    async def head(self) -> int:
        """The newest position; 0 for an empty log."""
        ...

    def follow(
        self, after: int = 0, *, topics: Collection[str] | None = None, limit: int = 500
    ) -> AsyncIterator[list[RecordedEvent]]:
        """History from `after`, then live, without gap or double, in non-empty batches, until closed."""
        ...

    async def read_stream(
        self, stream: str, after_version: int = 0, limit: int = 10_000
    ) -> list[RecordedEvent]:
        """Up to `limit` events of one stream with version > `after_version`, in version order."""
        ...
