"""The Merkle tree of RFC 6962 over the event hashes: roots, and proofs that stay short as the log grows.

It stands in the domain because it is arithmetic on bytes that everything else asks: the service that signs,
the command that proves, and the one that checks a proof without any database. A leaf's data is one event's
hash (32 bytes). `Frontier` keeps only the roots of the complete subtrees, so appending costs two hashes an
event whatever the size. Proofs name the subtrees they need by their leaves; whoever keeps them looks them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962, 2.1)."""

Span: TypeAlias = tuple[int, int]
"""The subtree over the leaves [start, end), counted from 0."""

Keep: TypeAlias = Callable[[int, int, Sequence[bytes]], None]
"""Told a level, an index in it, and the roots of complete subtrees from that index on."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two others."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The roots of a growing tree's complete subtrees, by level: all that appending needs.

    Args:
        size: leaves so far.
        roots: of the complete subtrees they form, largest first, as `roots` gives them.

    Raises:
        ValueError: another number of roots than the size has subtrees.
    """

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        self.size = size
        self._roots = dict(zip(levels, roots, strict=True))

    @property
    def roots(self) -> list[bytes]:
        """Roots of the complete subtrees, largest first."""
        return [self._roots[level] for level in sorted(self._roots, reverse=True)]

    def extend(self, event_hashes: Iterable[bytes], keep: Keep | None = None) -> None:
        """Append one leaf for each event hash, level by level: about 1 microsecond a leaf.

        Args:
            event_hashes: the leaves' data.
            keep: told of each level the index of the first new complete subtree and the roots from it on.
        """
        self.graft(0, [sha256(b"\0" + data).digest() for data in event_hashes], keep)

    def graft(self, level: int, nodes: list[bytes], keep: Keep | None = None) -> None:
        """Append complete subtrees of 2^level leaves by their roots; the tree must end at such a border."""
        before = self.size
        self.size += len(nodes) << level
        while nodes:
            if keep is not None:
                keep(level, before >> level, nodes)
            waiting = self._roots.pop(level, None)
            if waiting is not None:
                nodes = [waiting, *nodes]
            if len(nodes) % 2:
                self._roots[level] = nodes[-1]
            pairs = iter(nodes)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
            level += 1

    def root(self) -> bytes:
        """The root of the whole tree."""
        return fold(self.roots)


def fold(roots: Sequence[bytes]) -> bytes:
    """The root over complete subtrees that stand side by side, largest first."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def complete_subtrees(span: Span) -> list[Span]:
    """The complete subtrees that make up a subtree of the tree, largest first.

    The span must be one: its start a multiple of the smallest power of two that holds it.
    """
    start, end = span
    parts = []
    for level in reversed(range((end - start).bit_length())):
        if (end - start) >> level & 1:
            parts.append((start, start + (1 << level)))
            start += 1 << level
    return parts


def inclusion_path(index: int, size: int) -> list[Span]:
    """The subtrees whose roots prove that leaf `index` is in the tree of `size`, from the leaf up (2.1.1).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return [right if index < right[0] else left for left, right in _descend(index, 0, size)]


def consistency_path(older: int, newer: int) -> list[Span]:
    """The subtrees whose roots prove that the tree of `older` leaves begins the one of `newer` (2.1.2).

    Raises:
        ValueError: `older` is 0 or larger than `newer`.
    """
    if not 0 < older <= newer:
        raise ValueError(f"a tree of {older} leaves cannot be compared with one of {newer}")
    path: list[Span] = []
    start, end, whole = 0, newer, True
    while end != older:
        middle = start + _split(end - start)
        if older <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    return [*([] if whole else [(start, end)]), *reversed(path)]


def _descend(index: int, start: int, end: int) -> list[tuple[Span, Span]]:
    """The halves at each node from the leaf up to the root."""
    halves = []
    while end - start > 1:
        middle = start + _split(end - start)
        halves.append(((start, middle), (middle, end)))
        start, end = (start, middle) if index < middle else (middle, end)
    return halves[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`: leaves of the left half."""
    return 1 << (size - 1).bit_length() - 1


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to; none when its length is wrong (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    halves = _descend(index, 0, size)
    if len(path) != len(halves):
        return None
    for beside, (_, right) in zip(path, halves, strict=True):
        leaf = node_hash(leaf, beside) if index < right[0] else node_hash(beside, leaf)
    return leaf


def is_consistent(older: int, newer: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a proof shows that the older tree is the beginning of the newer one (RFC 9162, 2.1.4.2)."""
    if not 0 < older <= newer:
        return False
    if older == newer:
        return not path and old_root == new_root
    hashes = [old_root, *path] if older & (older - 1) == 0 else list(path)
    if not hashes:
        return False
    place, last = older - 1, newer - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = hashes[0]
    for beside in hashes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(beside, old), node_hash(beside, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, beside)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
