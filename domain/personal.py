"""Personal data in events: sealed before it is recorded, so it can be forgotten while the record stays.

An event carries only the sealed bytes: the hash chain, JetStream, read models and archives never hold the
text. The key lies outside the log, one for each subject; destroying it erases the text everywhere at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Personal:
    """A personal field of an event.

    Attributes:
        subject: whose key seals it; a pseudonym, for it is never erased.
        sealed: nonce and ciphertext, see docs/reference/audit.md.
    """

    subject: str
    sealed: bytes
