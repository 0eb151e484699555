"""Auditing the record: walk it, sign what verifies, name the first position that does not.

An auditor signs only what it has walked itself since its last checkpoint, so a signed checkpoint is also a
place from which a later walk may go on. What the checkpoints mean: docs/reference/audit.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from commands.ports import Clock
from domain.audit.checkpoint import Checkpoint, KeptCheckpoint, Statement
from domain.audit.merkle import Frontier, Keep, Span
from domain.audit.walk import TILE_LEVEL, Page, Walk
from domain.errors import LogCorrupt, SetupError

PAGE: Final = 1_024
"""Rows of one read: about 300 kB; larger pages leave the processor's cache and are slower."""

STEP: Final = 1_000_000
"""Events between two checkpoints at most: an auditor that starts late signs in steps, in bounded memory."""

BATCH: Final = 1_000
"""Checkpoints of one read."""

POLL_S: Final = 1.0
"""Between two looks at the head; a checkpoint is never needed sooner."""

Progress = Callable[[int, int], None]
"""Told the verified position and the last one, after each page."""

Node = tuple[int, int, bytes]

_Read = tuple[Page | None, int, int]
"""A page, the position before it and its last one."""


class Head(Protocol):
    """Where the log ends."""

    @property
    def position(self) -> int:
        """The newest position."""
        ...

    @property
    def hash(self) -> bytes:
        """The hash of the event there."""
        ...


class ReadPage(Protocol):
    """Reads one page."""

    async def __call__(self, after: int, through: int, *, tiled: bool) -> Page | None:
        """Exactly the rows with `after` < position <= `through`, or none; with tiles where asked for."""
        ...


class Record(Protocol):
    """The record's rows, as they are hashed."""

    async def head(self) -> Head:
        """Where the log ends; LogCorrupt when rows stand outside."""
        ...

    async def hash_at(self, position: int) -> bytes | None:
        """The hash a row holds."""
        ...

    def reading(self) -> AbstractAsyncContextManager[ReadPage]:
        """Opens the record for reading page by page."""
        ...

    async def explain(self, after: int, before: bytes, through: int) -> LogCorrupt | None:
        """What is wrong with these rows, one by one."""
        ...


class Checkpoints(Protocol):
    """Signed checkpoints and the tree's kept subtrees."""

    async def newest(self) -> KeptCheckpoint | None:
        """The one that vouches for the most events."""
        ...

    async def between(self, above: int, through: int, limit: int) -> list[KeptCheckpoint]:
        """Those with `above` < size <= `through`, smallest first."""
        ...

    async def save(self, kept: KeptCheckpoint, nodes: Sequence[Node]) -> bool:
        """Keep one and the new subtrees; false when this size was signed already."""
        ...

    async def root(self, span: Span) -> bytes:
        """The root of a subtree."""
        ...


class Key(Protocol):
    """The auditor's key."""

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 bytes."""
        ...

    def sign(self, statement: Statement) -> Checkpoint:
        """Vouch for a statement."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """What a walk came to.

    Attributes:
        events: in the log; all of them are as they were written.
        walked: of them read now; the rest were vouched for by the checkpoint it went on from.
        checkpoints: compared on the way.
        signed: events that the newest checkpoint vouches for; 0 when there is none.
        chain_hash: of the last event.
    """

    events: int
    walked: int
    checkpoints: int
    signed: int
    chain_hash: bytes


class Verifier:
    """Walks the record against its checkpoints.

    Args:
        record: the rows.
        checkpoints: what was signed.
        is_signed: checks a signature.
        public_key: whose signatures count; none where no checkpoint is expected.
    """

    def __init__(
        self,
        record: Record,
        checkpoints: Checkpoints,
        is_signed: Callable[[Checkpoint], bool],
        public_key: bytes | None,
    ) -> None:
        self._record = record
        self._checkpoints = checkpoints
        self._is_signed = is_signed
        self._public_key = public_key

    async def verify(
        self, *, from_start: bool = False, every_leaf: bool = False, progress: Progress | None = None
    ) -> Verified:
        """Walk to the head: from the last checkpoint, or from the first event.

        Args:
            from_start: read everything again, whatever was signed.
            every_leaf: from the start, rebuild the Merkle tree from its leaves, not from its kept subtrees.
            progress: told how far it is.

        Raises:
            LogCorrupt: naming the first bad position.
            SetupError: there are checkpoints, but it is not known whose signatures count.
            LogUnavailable: the database does not answer.
        """
        newest = await self._checkpoints.newest()
        head = await self._record.head()  # after the checkpoint: an honest log holds all that was signed
        signed = 0 if newest is None else newest.size
        walk = Walk(tiled=not every_leaf)
        if newest is not None and not from_start:
            walk = await self.resume(newest)
        start, compared = walk.position, 0
        while batch := await self._checkpoints.between(walk.position, signed, BATCH):
            for kept in batch:
                self._require_signed(kept)
                await self.walk_to(walk, min(kept.size, head.position), head.position, progress)
                if kept.size > head.position:
                    raise _truncated(head.position, kept.size)
                _compare(walk, kept)
            compared += len(batch)
        await self.walk_to(walk, head.position, head.position, progress)
        if walk.hash != head.hash:
            raise LogCorrupt(head.position, "the head holds another hash than the last event")
        return Verified(head.position, head.position - start, compared, signed, walk.hash)

    async def resume(self, kept: KeptCheckpoint, keep: Keep | None = None) -> Walk:
        """A walk that goes on behind a checkpoint; `keep` is told of new complete subtrees.

        Raises:
            LogCorrupt: it is not signed, its event is gone, or what is kept with it is altered.
        """
        self._require_signed(kept)
        if not kept.whole:
            raise LogCorrupt(
                kept.size, "the frontier kept with its checkpoint does not lead to the signed root"
            )
        statement = kept.checkpoint.statement
        found = await self._record.hash_at(kept.size)
        if found is None:
            head = await self._record.head()
            raise _truncated(min(head.position, kept.size - 1), kept.size)
        if found != statement.chain_hash:
            raise LogCorrupt(kept.size, "its hash is not the one that its checkpoint signed")
        return Walk(kept.size, found, Frontier(kept.size, kept.frontier), keep=keep)

    async def walk_to(self, walk: Walk, through: int, head: int, progress: Progress | None) -> None:
        """Advance page by page, the next page on its way while one is hashed.

        Raises:
            LogCorrupt: naming the first bad position.
        """
        if walk.position >= through:
            return
        async with self._record.reading() as read, _ahead(read, walk, through) as pages:
            async for page, after, end in pages:
                before = walk.hash
                bad = after + 1 if page is None else walk.advance(page)
                if bad is not None:
                    raise await self._record.explain(after, before, end) or _misfiled(bad)
                if progress is not None:
                    progress(walk.position, head)

    def _require_signed(self, kept: KeptCheckpoint) -> None:
        checkpoint = kept.checkpoint
        if self._public_key is None:
            raise SetupError(
                f"a checkpoint is signed by {checkpoint.public_key.hex()}, but no audit key is known "
                "to compare with: set DAYBOOK_AUDIT_KEY_FILE, or give --public-key as it was published"
            )
        if checkpoint.public_key != self._public_key:
            raise LogCorrupt(
                kept.size,
                f"its checkpoint is signed by {checkpoint.public_key.hex()}, not by the auditor's key "
                f"{self._public_key.hex()} (unless another key's file was named: then name the right one)",
            )
        if not self._is_signed(checkpoint):
            raise LogCorrupt(kept.size, "the signature of its checkpoint does not verify")


@asynccontextmanager
async def _ahead(read: ReadPage, walk: Walk, through: int) -> AsyncIterator[AsyncIterator[_Read]]:
    """The pages behind a walk, each asked for while the one before it is hashed."""
    waiting: set[asyncio.Task[Page | None]] = set()

    def ask(after: int) -> tuple[asyncio.Task[Page | None], int, int]:
        end = min(after + PAGE, through)
        task = asyncio.create_task(read(after, end, tiled=walk.tiled))
        waiting.add(task)
        return task, after, end

    async def pages() -> AsyncIterator[_Read]:
        asked = ask(walk.position)
        while True:
            task, after, end = asked
            page = await task
            waiting.discard(task)
            if end < through:
                asked = ask(end)
                await asyncio.sleep(0)  # lets the request leave before this process is busy hashing
            yield page, after, end
            if end == through:
                return

    try:
        yield pages()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _compare(walk: Walk, kept: KeptCheckpoint) -> None:
    statement = kept.checkpoint.statement
    if walk.hash != statement.chain_hash:
        raise LogCorrupt(
            kept.size, "its chain was computed anew: it is consistent, but not the one its checkpoint signed"
        )
    frontier = walk.frontier()
    if frontier.size != kept.size or frontier.root() != statement.root or not kept.whole:
        raise LogCorrupt(
            kept.size,
            "the kept subtrees or frontier were altered: they do not lead to the signed root",
        )


def _misfiled(position: int) -> LogCorrupt:
    return LogCorrupt(position, "from here on a row is filed under the wrong category")


def _truncated(head: int, signed: int) -> LogCorrupt:
    return LogCorrupt(
        head + 1, f"it is missing, and so is the rest up to {signed}, which a checkpoint signed"
    )


class Auditor:
    """Walks what is new and signs it, every so many events or seconds.

    Args:
        record: the rows.
        checkpoints: kept here.
        is_signed: checks a signature.
        key: signs.
        clock: stamps the statements.
        every_events: sign after so many new events.
        every_us: or after so many microseconds, when there are new events at all.
    """

    def __init__(
        self,
        record: Record,
        checkpoints: Checkpoints,
        is_signed: Callable[[Checkpoint], bool],
        key: Key,
        clock: Clock,
        *,
        every_events: int,
        every_us: int,
    ) -> None:
        self._record = record
        self._checkpoints = checkpoints
        self._verifier = Verifier(record, checkpoints, is_signed, key.public_key)
        self._key = key
        self._clock = clock
        self._every_events = every_events
        self._every_us = every_us

    async def run(self) -> None:
        """Sign from time to time, until cancelled.

        Raises:
            LogCorrupt: the record does not verify: nothing more is signed, and nothing should be appended.
        """
        while True:
            newest = await self._checkpoints.newest()
            signed, at = (newest.size, newest.checkpoint.statement.signed_at) if newest else (0, 0)
            new = (await self._record.head()).position - signed
            if new >= self._every_events or (new > 0 and self._clock() - at >= self._every_us):
                await self.checkpoint()
            await asyncio.sleep(POLL_S)

    async def checkpoint(self, progress: Progress | None = None) -> Checkpoint | None:
        """Walk to the head and sign it; none for an empty log. A head that is signed already stays as it is.

        Raises:
            LogCorrupt: naming the first bad position; nothing is signed behind it.
        """
        newest = await self._checkpoints.newest()
        head = (await self._record.head()).position
        while newest is None or newest.size < head:
            if head == 0:
                return None
            newest = await self._sign_step(newest, head, progress)
        return newest.checkpoint

    async def _sign_step(
        self, newest: KeptCheckpoint | None, head: int, progress: Progress | None
    ) -> KeptCheckpoint:
        nodes: list[Node] = []

        def keep(level: int, index: int, roots: Sequence[bytes]) -> None:
            if level and level % TILE_LEVEL == 0:
                nodes.extend((level, place, root) for place, root in enumerate(roots, index))

        verifier = self._verifier
        walk = Walk(keep=keep) if newest is None else await verifier.resume(newest, keep)
        await verifier.walk_to(walk, min(head, walk.position + STEP), head, progress)
        frontier = walk.frontier()
        statement = Statement(walk.position, frontier.root(), walk.hash, self._clock())
        kept = KeptCheckpoint(self._key.sign(statement), tuple(frontier.roots))
        await self._checkpoints.save(kept, nodes)
        return kept
