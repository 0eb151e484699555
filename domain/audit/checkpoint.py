"""A checkpoint: the signed statement of how many events there were and what they hash to."""

from __future__ import annotations

from dataclasses import dataclass

from domain.audit.merkle import fold


@dataclass(frozen=True, slots=True)
class Statement:
    """What an auditor vouches for: at this time the log held these events and no others.

    Attributes:
        tree_size: events in the log, which is also the position of the last one.
        root: of the Merkle tree over their hashes, 32 bytes.
        chain_hash: the hash of the last event, 32 bytes.
        signed_at: microseconds since the epoch.
    """

    tree_size: int
    root: bytes
    chain_hash: bytes
    signed_at: int

    def text(self) -> bytes:
        """The very bytes that are signed: four lines anyone can write by hand.

        `daybook/v1 checkpoint`, then size and time, then root and chain hash in hexadecimal, each line ended.
        """
        head = f"daybook/v1 checkpoint\n{self.tree_size} {self.signed_at}\n"
        return f"{head}{self.root.hex()}\n{self.chain_hash.hex()}\n".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A statement and its signature.

    Attributes:
        statement: what is vouched for.
        public_key: Ed25519, 32 bytes.
        signature: over `statement.text()`, 64 bytes.
    """

    statement: Statement
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint as it is kept, with what the next one needs.

    Attributes:
        checkpoint: the signed one.
        frontier: the roots of the tree's complete subtrees, largest first.
    """

    checkpoint: Checkpoint
    frontier: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Events it vouches for."""
        return self.checkpoint.statement.tree_size

    @property
    def whole(self) -> bool:
        """Whether the frontier is that of the signed root: it is not signed itself."""
        statement = self.checkpoint.statement
        return len(self.frontier) == self.size.bit_count() and fold(self.frontier) == statement.root
