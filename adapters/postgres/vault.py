"""Seals personal text under a key of its subject, kept outside the log; destroying the key forgets the text.

AES-256-GCM: a random nonce of 12 bytes, then ciphertext and tag; the subject is authenticated with them.
"""

from __future__ import annotations

import os
from typing import Final

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.postgres.connections import explained
from domain.errors import InvalidInput, LogError
from domain.personal import Personal

_NONCE_BYTES: Final = 12
"""Random: one key seals a subject's few notes, far from the 2^32 after which two might meet."""

_MAKE: Final = "INSERT INTO subject_keys (subject, key) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_FIND: Final = "SELECT key FROM subject_keys WHERE subject = $1"
_ERASE: Final = """
INSERT INTO subject_keys (subject, erased_at) VALUES ($1, $2)
ON CONFLICT (subject) DO UPDATE SET key = NULL, erased_at = excluded.erased_at
    WHERE subject_keys.key IS NOT NULL
"""


class PostgresVault:
    """Implements `commands.notes.Vault`.

    Args:
        pool: of the log, `PostgresEventLog.pool`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def seal(self, subject: str, text: str, *, first: bool) -> Personal:
        """Encrypt under the subject's key.

        Args:
            subject: whose key.
            text: what is sealed.
            first: nothing of the subject is in the log yet: a key is made where there is none.

        Raises:
            InvalidInput: the subject was erased: nothing more is kept of it.
            LogError: what is in the log was sealed with a key that is not here.
            LogUnavailable: the database does not answer.
        """
        if first:
            with explained():
                await self._pool.execute(_MAKE, subject, AESGCM.generate_key(256))
        key = await self._key(subject)
        if key is None:
            raise InvalidInput(f"subject {subject!r} was erased: nothing personal is recorded of it any more")
        nonce = os.urandom(_NONCE_BYTES)
        return Personal(subject, nonce + AESGCM(key).encrypt(nonce, text.encode(), subject.encode()))

    async def open(self, personal: Personal) -> str | None:
        """The text; none when the subject was erased.

        Raises:
            LogError: the bytes are not what this subject's key sealed, or the key is not here.
            LogUnavailable: the database does not answer.
        """
        key = await self._key(personal.subject)
        if key is None:
            return None
        nonce, sealed = personal.sealed[:_NONCE_BYTES], personal.sealed[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed, personal.subject.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise LogError(
                f"a personal field of {personal.subject!r} does not open with its key: table subject_keys is "
                "not the one it was sealed with; restore it"
            ) from error

    async def erase(self, subject: str, at: int) -> bool:
        """Destroy the key for ever; false when it was destroyed before. A subject never noted is barred too.

        Raises:
            LogUnavailable: the database does not answer.
        """
        with explained():
            done: str = await self._pool.execute(_ERASE, subject, at)
        return done.endswith("1")

    async def _key(self, subject: str) -> bytes | None:
        """The key; none when it was destroyed."""
        with explained():
            row = await self._pool.fetchrow(_FIND, subject)
        if row is None:
            raise LogError(
                f"what was noted of {subject!r} was sealed with a key that is not in table subject_keys: "
                "copy that table from the log it was noted in, or restore it from a backup"
            )
        key: bytes | None = row["key"]
        return key
