"""Proofs as JSON documents: made from the record, checked from the document alone.

Checking needs no database, no network and nothing of daybook's but arithmetic: docs/reference/audit.md says
how anyone can do the same. What it cannot know is whose key ought to have signed: compare the public key with
the one the auditor published.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Protocol, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.audit.checkpoint import Checkpoint, Statement
from domain.audit.merkle import (
    Span,
    consistency_path,
    inclusion_path,
    is_consistent,
    leaf_hash,
    root_by_inclusion,
)
from domain.errors import InvalidInput, LogCorrupt

MAX_DOCUMENT_BYTES: Final = 4_000_000
"""The largest event is 1 MB, a third more in base64; the rest of a proof takes some kilobytes."""

Row: TypeAlias = tuple[int, str, int, str, int, int, UUID, UUID | None, UUID, str, int | None, bytes]
"""What is hashed of an event, in the order of the columns that hold it."""

Link = Callable[[bytes, Row], bytes]
"""The hash of an event from the hash before it and its row."""

IsSigned = Callable[[Checkpoint], bool]

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Signature = Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]
_Path = Annotated[list[_Hash], Meta(max_length=128)]


class EventFields(msgspec.Struct, forbid_unknown_fields=True):
    """An event's row as it is hashed; `data` in base64."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    stream: str
    version: _Count
    type: str
    schema_version: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    recorded_at: _Count
    event_id: UUID
    causation_id: UUID | None
    correlation_id: UUID
    actor: str
    slot: _Count | None
    data: bytes

    def row(self) -> Row:
        """As the log's rows are."""
        return (
            self.position, self.stream, self.version, self.type, self.schema_version, self.recorded_at,
            self.event_id, self.causation_id, self.correlation_id, self.actor, self.slot, self.data,
        )  # fmt: skip


class SignedRoot(msgspec.Struct, forbid_unknown_fields=True):
    """A checkpoint; hashes, key and signature in hexadecimal."""

    tree_size: _Count
    root: _Hash
    chain_hash: _Hash
    signed_at: _Count
    public_key: _Hash
    signature: _Signature

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> SignedRoot:
        """For a document."""
        said = checkpoint.statement
        return cls(
            said.tree_size, said.root.hex(), said.chain_hash.hex(), said.signed_at,
            checkpoint.public_key.hex(), checkpoint.signature.hex(),
        )  # fmt: skip

    def checkpoint(self) -> Checkpoint:
        """From a document."""
        root, chain = bytes.fromhex(self.root), bytes.fromhex(self.chain_hash)
        statement = Statement(self.tree_size, root, chain, self.signed_at)
        return Checkpoint(statement, bytes.fromhex(self.public_key), bytes.fromhex(self.signature))


class Inclusion(msgspec.Struct, tag="daybook/v1 inclusion", tag_field="proof", forbid_unknown_fields=True):
    """This event stands at this place of the record that was signed."""

    event: EventFields
    previous_hash: _Hash
    path: _Path
    checkpoint: SignedRoot


class Consistency(
    msgspec.Struct, tag="daybook/v1 consistency", tag_field="proof", forbid_unknown_fields=True
):
    """The record that was signed first is the beginning of the one that was signed later."""

    older: SignedRoot
    newer: SignedRoot
    path: _Path


Proof: TypeAlias = Inclusion | Consistency

_decode: Final[Callable[[bytes], Proof]] = msgspec.json.Decoder(Inclusion | Consistency).decode


class Rows(Protocol):
    """Gives rows by position."""

    async def row(self, position: int) -> tuple[Row, bytes] | None:
        """One row and the hash it holds; none when it is not there."""
        ...


class Roots(Protocol):
    """Gives the roots of the tree's subtrees."""

    async def root(self, span: Span) -> bytes:
        """Of one subtree."""
        ...


async def prove_inclusion(
    position: int, checkpoint: Checkpoint, rows: Rows, roots: Roots, link: Link, is_signed: IsSigned
) -> Inclusion:
    """Prove that the event at `position` is in the record that `checkpoint` signed.

    Raises:
        LogCorrupt: the proof would not hold: the row or a kept subtree is not as it was.
    """
    row = await rows.row(position)
    before = await rows.row(position - 1) if position > 1 else None
    if row is None or (before is None and position > 1):
        raise LogCorrupt(position, "it, or the event before it, is missing")
    path = [await roots.root(span) for span in inclusion_path(position - 1, checkpoint.statement.tree_size)]
    proof = Inclusion(
        EventFields(*row[0]),
        (bytes(32) if before is None else before[1]).hex(),
        [beside.hex() for beside in path],
        SignedRoot.of(checkpoint),
    )
    wrong = flaw(proof, link, is_signed)
    if wrong is not None:
        raise LogCorrupt(
            position, f"its proof would not hold: {wrong}; run `daybook audit verify --from-start`"
        )
    return proof


async def prove_consistency(
    older: Checkpoint, newer: Checkpoint, roots: Roots, link: Link, is_signed: IsSigned
) -> Consistency:
    """Prove that what `older` signed is the beginning of what `newer` signed.

    Raises:
        LogCorrupt: the proof would not hold.
    """
    sizes = older.statement.tree_size, newer.statement.tree_size
    path = [await roots.root(span) for span in consistency_path(*sizes)]
    proof = Consistency(SignedRoot.of(older), SignedRoot.of(newer), [beside.hex() for beside in path])
    wrong = flaw(proof, link, is_signed)
    if wrong is not None:
        raise LogCorrupt(
            sizes[0], f"the proof would not hold: {wrong}; run `daybook audit verify --from-start`"
        )
    return proof


def encode(proof: Proof) -> bytes:
    """The document."""
    return msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n"


def decode(document: bytes) -> Proof:
    """A document somebody hands in.

    Raises:
        InvalidInput: it is not a proof of daybook's.
    """
    try:
        if len(document) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"it has {len(document)} bytes")
        return _decode(document)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the document is no proof of daybook's: {error}") from error


def flaw(proof: Proof, link: Link, is_signed: IsSigned) -> str | None:
    """Why a proof does not hold; none when it does."""
    if isinstance(proof, Inclusion):
        return _inclusion_flaw(proof, link, is_signed)
    return _consistency_flaw(proof, is_signed)


def _inclusion_flaw(proof: Inclusion, link: Link, is_signed: IsSigned) -> str | None:
    checkpoint = proof.checkpoint.checkpoint()
    try:
        digest = link(bytes.fromhex(proof.previous_hash), proof.event.row())
    except (struct.error, ValueError) as error:
        return f"the event cannot be hashed: {error}"
    size = checkpoint.statement.tree_size
    root = root_by_inclusion(leaf_hash(digest), proof.event.position - 1, size, _path(proof.path))
    if root != checkpoint.statement.root:
        return "event and path do not lead to the root that was signed"
    return None if is_signed(checkpoint) else "the checkpoint's signature does not verify"


def _consistency_flaw(proof: Consistency, is_signed: IsSigned) -> str | None:
    older, newer = proof.older.checkpoint(), proof.newer.checkpoint()
    if older.public_key != newer.public_key:
        return "the two checkpoints are signed with different keys"
    for name, checkpoint in (("older", older), ("newer", newer)):
        if not is_signed(checkpoint):
            return f"the signature of the {name} checkpoint does not verify"
    was, now = older.statement, newer.statement
    if not is_consistent(was.tree_size, now.tree_size, was.root, now.root, _path(proof.path)):
        return "the path does not lead from the older root to the newer one"
    return None


def _path(path: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(beside) for beside in path]
