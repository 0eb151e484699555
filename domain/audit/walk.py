"""Walks the record page by page: the chain hash of every event, and the Merkle tree beside it.

This loop is all that verification costs, so it is plain: one SHA-256 for each event's link, and, where every
leaf is asked for, two more for its place in the tree. Otherwise the tree is built from the kept roots of its
subtrees of `TILE` leaves: a signed checkpoint vouches for both the chain hash and the root, so events whose
chain hash agrees are the events that were signed, and the kept roots are shown to be those of that tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from domain.audit.merkle import Frontier, Keep

TILE_LEVEL: Final = 8
TILE: Final = 1 << TILE_LEVEL
"""Leaves of the smallest subtree whose root is kept: a proof reads at most so many hashes of a level."""


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive rows of the record, as they are hashed.

    Attributes:
        bodies: header and data of each row: what stands behind the previous hash when it is hashed.
        hashes: the hash that each row holds, 32 bytes each, one after the other.
        tiles: kept roots of the tiles that end within the page; empty where they are not used.
    """

    bodies: Sequence[bytes]
    hashes: bytes
    tiles: Sequence[bytes] = ()


class Walk:
    """Verifies rows in position order.

    Attributes:
        position: the last that verified.
        hash: its hash.
        tiled: whether the tree is built from the pages' tiles.

    Args:
        position: where to begin, after an event known to be good.
        hash_: that event's hash; before the first event the chain hash is 32 zero bytes.
        frontier: of the tree that ends there.
        keep: told of every new complete subtree.
        tiled: build the tree from the pages' tiles; only from the beginning.
    """

    def __init__(
        self,
        position: int = 0,
        hash_: bytes = bytes(32),
        frontier: Frontier | None = None,
        *,
        keep: Keep | None = None,
        tiled: bool = False,
    ) -> None:
        self.position = position
        self.hash = hash_
        self._frontier = frontier or Frontier()
        self._keep = keep
        self.tiled = tiled
        self._recent: list[bytes] = []

    def advance(self, page: Page) -> int | None:
        """Verify the next rows; gives the position of the first that is not as it was written."""
        before = self.hash
        found = [before := sha256(before + body).digest() for body in page.bodies]
        if b"".join(found) != page.hashes:
            return self.position + 1 + _first_difference(found, page.hashes)
        self.position += len(found)
        self.hash = before
        if self.tiled:
            self._recent += found
            self._frontier.graft(TILE_LEVEL, list(page.tiles))
            del self._recent[: -(self.position % TILE) or len(self._recent)]
        else:
            self._frontier.extend(found, self._keep)
        return None

    def frontier(self) -> Frontier:
        """The tree's, at this position."""
        frontier = Frontier(self._frontier.size, self._frontier.roots)
        frontier.extend(self._recent)
        return frontier


def _first_difference(found: Sequence[bytes], hashes: bytes) -> int:
    for place, ours in enumerate(found):
        if ours != hashes[32 * place : 32 * place + 32]:
            return place
    return len(found)
