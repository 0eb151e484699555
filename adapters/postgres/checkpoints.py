"""Signed checkpoints and the roots of the Merkle tree's subtrees, kept beside the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from adapters.postgres.connections import explained
from adapters.postgres.event_log import PostgresEventLog
from domain.audit.checkpoint import Checkpoint, KeptCheckpoint, Statement
from domain.audit.merkle import Frontier, Span, complete_subtrees, fold
from domain.audit.walk import TILE_LEVEL
from domain.errors import LogCorrupt

_COLUMNS: Final = "tree_size, root, chain_hash, signed_at, public_key, signature, frontier"
_NEWEST: Final = f"SELECT {_COLUMNS} FROM audit_checkpoints ORDER BY tree_size DESC LIMIT 1"  # noqa: S608 - constants
_BETWEEN: Final = f"""
SELECT {_COLUMNS} FROM audit_checkpoints WHERE tree_size > $1 AND tree_size <= $2 ORDER BY tree_size LIMIT $3
"""  # noqa: S608 - constants
_SAVE: Final = f"INSERT INTO audit_checkpoints ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - constants
_KEEP: Final = """
INSERT INTO audit_nodes (level, index, hash)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bytea[]) ON CONFLICT DO NOTHING
"""
_NODES: Final = """
SELECT array_agg(hash ORDER BY index) FROM audit_nodes WHERE level = $1 AND index >= $2 AND index < $3
"""

Node = tuple[int, int, bytes]
"""Level, index and root of a complete subtree."""


class PostgresCheckpoints:
    """Keeps checkpoints, and finds the roots that proofs are made of.

    Args:
        log: whose record is signed; leaves are read through it.
    """

    def __init__(self, log: PostgresEventLog) -> None:
        self._log = log
        self._pool = log.pool

    async def newest(self) -> KeptCheckpoint | None:
        """The one that vouches for the most events."""
        with explained():
            row = await self._pool.fetchrow(_NEWEST)
        return None if row is None else _kept(row)

    async def between(self, above: int, through: int, limit: int) -> list[KeptCheckpoint]:
        """Up to `limit` checkpoints with `above` < size <= `through`, smallest first."""
        with explained():
            return [_kept(row) for row in await self._pool.fetch(_BETWEEN, above, through, limit)]

    async def save(self, kept: KeptCheckpoint, nodes: Sequence[Node]) -> bool:
        """Keep a checkpoint and the new subtrees; false when another auditor signed this size just before."""
        statement, checkpoint = kept.checkpoint.statement, kept.checkpoint
        with explained():
            async with self._pool.acquire() as connection, connection.transaction():
                if nodes:
                    await connection.execute(_KEEP, *map(list, zip(*nodes, strict=True)))
                done = await connection.execute(
                    _SAVE + " ON CONFLICT DO NOTHING",
                    statement.tree_size, statement.root, statement.chain_hash, statement.signed_at,
                    checkpoint.public_key, checkpoint.signature, b"".join(kept.frontier),
                )  # fmt: skip
        return bool(done.endswith("1"))

    async def root(self, span: Span) -> bytes:
        """The root of a subtree of the tree over the record's event hashes, as a proof names it.

        Raises:
            LogCorrupt: rows or kept roots are missing.
        """
        return fold([await self._complete(start, end) for start, end in complete_subtrees(span)])

    async def _complete(self, start: int, end: int) -> bytes:
        """From the largest kept subtrees that fit, or from the leaves: at most `TILE` hashes are read."""
        height = (end - start).bit_length() - 1
        level = height - height % TILE_LEVEL
        hashes = await (self._nodes(level, start, end) if level else self._leaves(start, end))
        if len(hashes) != (end - start) >> level:
            raise LogCorrupt(
                start + 1,
                f"of the tree over positions {start + 1} to {end} only {len(hashes)} parts are there",
            )
        frontier = Frontier()
        if level:
            frontier.graft(level, hashes)
        else:
            frontier.extend(hashes)
        return frontier.root()

    async def _nodes(self, level: int, start: int, end: int) -> list[bytes]:
        with explained():
            return await self._pool.fetchval(_NODES, level, start >> level, end >> level) or []

    async def _leaves(self, start: int, end: int) -> list[bytes]:
        return [row.hash for row in await self._log.read_rows(start, end - start, through=end)]


def _kept(row: asyncpg.Record) -> KeptCheckpoint:
    statement = Statement(row["tree_size"], row["root"], row["chain_hash"], row["signed_at"])
    frontier = row["frontier"]
    return KeptCheckpoint(
        Checkpoint(statement, row["public_key"], row["signature"]),
        tuple(frontier[at : at + 32] for at in range(0, len(frontier), 32)),
    )
