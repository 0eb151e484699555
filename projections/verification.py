"""Compares a read model with an independent fold of the log from nothing: digests, and rows that differ."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from domain.errors import ProjectionError
from projections.folding import LETTERS, PAGE
from projections.ports import (
    EventSource,
    FoldEvent,
    Generation,
    Key,
    LetterState,
    Projection,
    ReadStore,
    Row,
    Rows,
    Snapshot,
    Table,
)

MAX_ROWS: Final = 5_000_000
"""Rows of the fold in memory, some 5 GB: a read model beyond that cannot be compared with a second fold."""

SHOWN: Final = 5
"""Keys of differing rows that are named."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode

OnProgress = Callable[[int, int], None]
"""Told the position reached and the position to reach."""


@dataclass(frozen=True, slots=True)
class TableVerified:
    """One table beside its independent fold.

    Attributes:
        name: the table.
        rows: how many rows it holds.
        expected_rows: how many the fold gives.
        digest: SHA-256 over its rows in key order, each as a line of JSON with sorted names.
        expected_digest: the same of the fold.
        differing: keys of the first rows that are missing, too many or different.
    """

    name: str
    rows: int
    expected_rows: int
    digest: str
    expected_digest: str
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether they are the same."""
        return self.digest == self.expected_digest and self.rows == self.expected_rows


@dataclass(frozen=True, slots=True)
class Verified:
    """A generation beside a fold of the log from nothing to the same position.

    Attributes:
        generation: which was looked at.
        position: where both stand.
        tables: each table's result.
    """

    generation: Generation
    position: int
    tables: tuple[TableVerified, ...]

    @property
    def equal(self) -> bool:
        """Whether every table is the same."""
        return all(table.equal for table in self.tables)


async def verify(
    projection: Projection,
    source: EventSource,
    store: ReadStore,
    generation: Generation,
    progress: OnProgress | None = None,
) -> Verified:
    """Fold the log from nothing to where the generation stands, in memory, and compare row by row.

    Raises:
        ProjectionError: the generation is of another version; the fold meets an event it cannot fold; or it
            does not fit in memory (`too_large` says before whether it may).
        ReadStoreUnavailable, LogUnavailable: a database is away.
    """
    if generation.version != projection.version:
        raise ProjectionError(
            f"{generation} was to be verified, but this daybook folds version {projection.version}: "
            "rebuild it first, or verify it with the daybook that made it"
        )
    dropped = await store.dead_letters(projection.name, state=LetterState.DROPPED, limit=LETTERS)
    skipped = frozenset(letter.position for letter in dropped if letter.version == projection.version)
    excess = await too_large(store, generation)
    if excess is not None:
        raise ProjectionError(excess)
    async with store.snapshot(generation) as snapshot:
        expected = await fold_from_nothing(projection, source, snapshot.checkpoint, skipped, progress)
        tables = [
            await _compare(table, snapshot, expected.get(table.name, {})) for table in generation.tables
        ]
        return Verified(generation, snapshot.checkpoint, tuple(tables))


async def too_large(store: ReadStore, generation: Generation) -> str | None:
    """Why a generation cannot be verified, where it has too many rows for a second fold in memory."""
    if not await store.exceeds(generation, MAX_ROWS):
        return None
    return (
        f"{generation} has more than {MAX_ROWS:,} rows, too many for a second fold in memory: none of its "
        "rows was compared"
    )


async def fold_from_nothing(
    projection: Projection,
    source: EventSource,
    through: int,
    skipped: frozenset[int],
    progress: OnProgress | None = None,
) -> dict[str, dict[Key, Row]]:
    """All rows that the events up to `through` make, by table and key.

    Raises:
        ProjectionError: an event that the read model halts on; or too many rows.
        LogUnavailable: the log is away.
    """
    rows = Rows()
    async with aclosing(source.pages(0, through, topics=projection.topics, limit=PAGE)) as pages:
        async for events, after in pages:
            for event in events:
                if event.position not in skipped:
                    _fold_one(projection, rows, event)
            if len(rows.fetched) > MAX_ROWS:
                raise ProjectionError(
                    f"read model {projection.name!r} has more than {MAX_ROWS:,} rows to verify"
                )
            if progress is not None:
                progress(after, through)
    made: dict[str, dict[Key, Row]] = {}
    for (table, key), row in rows.fetched.items():
        made.setdefault(table, {})[key] = row
    return made


def _fold_one(projection: Projection, rows: Rows, event: FoldEvent) -> None:
    """An event counts whole or not at all, as it does in a batch of its own."""
    try:
        projection.fold(rows, event)
    except Exception as error:
        rows.changed.clear()
        if projection.halts_on_poison:
            raise ProjectionError(
                f"read model {projection.name!r} was to be folded from nothing, but {event.topic} at "
                f"position {event.position} cannot be folded: {error}; look at its dead letters"
            ) from error
    rows.fetched.update(rows.changed)
    rows.changed.clear()


async def _compare(table: Table, snapshot: Snapshot, expected: Mapping[Key, Row]) -> TableVerified:
    found, rows, differing = hashlib.sha256(), 0, set[Key]()
    lines = {key: _line(expected[key]) for key in sorted(expected)}
    left = dict(lines)
    async for page in snapshot.rows(table.name):
        rows += len(page)
        for row in page:
            line = _line(row)
            found.update(line)
            key = tuple(row[name] for name in table.key)
            other = left.pop(key, None)
            if len(differing) < SHOWN and other != line:
                differing.add(key)
    differing.update(sorted(left)[: SHOWN - len(differing)])
    wanted = hashlib.sha256()
    for line in lines.values():
        wanted.update(line)
    named = tuple("/".join(map(str, key)) for key in sorted(differing))
    return TableVerified(table.name, rows, len(expected), found.hexdigest(), wanted.hexdigest(), named)


def _line(row: Row) -> bytes:
    return _encode(row) + b"\n"
