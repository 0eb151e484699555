"""What the audit puts on record: anchors on the chain, notes of people, and their erasure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from domain.chain import Address, Signature, Slot
from domain.events import event_type
from domain.personal import Personal

ANCHORS: Final = "audit-anchors"
"""The stream of all anchors."""


def note_stream(subject: str) -> str:
    """The stream of what is noted of one subject, and of its erasure."""
    return f"note-{subject}"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Base of what the audit records: no aggregate folds it, nothing is decided by it."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int]


@event_type("audit.anchored")
@dataclass(frozen=True, slots=True)
class AuditAnchored(AuditEvent):
    """The tree's root stands in a memo of a finalized transaction: history before it cannot be rewritten.

    Attributes:
        tree_size: events the root covers.
        root: of the Merkle tree, hexadecimal.
        memo: the memo's text.
        signature: the transaction's id.
        slot: where it was executed.
        wallet: who paid and signed it.
    """

    tree_size: int
    root: str
    memo: str
    signature: Signature
    slot: Slot
    wallet: Address


@event_type("note.written", version=2)
@dataclass(frozen=True, slots=True)
class NoteWritten(AuditEvent):
    """Someone noted something of a subject: a client, a wallet's owner, a decision.

    Attributes:
        subject: a pseudonym: it stays readable for ever.
        text: personal: readable until the subject is erased.
        label: personal as the text: a short word to find or group it by, where one was given.
        client_address: personal as the text: where the client wrote from, where that is known.
    """

    subject: str
    text: Personal
    label: Personal | None
    client_address: Personal | None


@event_type("note.erased")
@dataclass(frozen=True, slots=True)
class SubjectErased(AuditEvent):
    """The subject's key was destroyed: every personal field sealed under it reads as erased.

    Attributes:
        subject: the pseudonym.
    """

    subject: str


def memo_text(tree_size: int, root: bytes) -> str:
    """The memo that anchors a tree."""
    return f"daybook/v1 n={tree_size} root={root.hex()}"
