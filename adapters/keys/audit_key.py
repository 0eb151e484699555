"""The auditor's Ed25519 key: made on first use, kept in a file that nobody else may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from domain.audit.checkpoint import Checkpoint, Statement
from domain.errors import SetupError


class AuditKey:
    """Signs statements; the private key never shows in a repr, a log or an error."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"AuditKey({self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("an audit key is private and is not pickled")

    def sign(self, statement: Statement) -> Checkpoint:
        """Vouch for a statement."""
        return Checkpoint(statement, self.public_key, self._key.sign(statement.text()))


def is_signed(checkpoint: Checkpoint) -> bool:
    """Whether the signature is that of the checkpoint's own public key over its statement."""
    try:
        key = Ed25519PublicKey.from_public_bytes(checkpoint.public_key)
        key.verify(checkpoint.signature, checkpoint.statement.text())
    except (InvalidSignature, ValueError):
        return False
    return True


def read_or_make(path: Path) -> AuditKey:
    """The key in `path`, made there when the file does not exist.

    Raises:
        SetupError: as `read`; or the file cannot be written.
    """
    if not path.exists():
        _make(path)
    return read(path)


def read(path: Path) -> AuditKey:
    """The key in `path`: PEM, PKCS #8, not encrypted, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        SetupError: the file cannot be read, others may read it, or it holds no such key; its contents are not
            repeated.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(4_096)
    except OSError as error:
        raise SetupError(
            f"reading audit key {path}: {error.strerror or type(error).__name__}; "
            "check DAYBOOK_AUDIT_KEY_FILE"
        ) from error
    if mode & 0o077:
        raise SetupError(
            f"audit key {path} has mode {mode:04o}: others on this machine may read it; run chmod 600 {path}"
        )
    return AuditKey(_parsed(path, content))


def _parsed(path: Path, content: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SetupError(
            f"audit key {path} holds no unencrypted Ed25519 key in PEM form: make one with "
            "openssl genpkey -algorithm ed25519"
        )
    return key


def _make(path: Path) -> None:
    """Written whole under another name and then linked: two that make it at once end with one key."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    mine = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(mine, path)
        except FileExistsError:
            return
        finally:
            mine.unlink()
    except OSError as error:
        raise SetupError(
            f"making audit key {path}: {error.strerror or type(error).__name__}; "
            "make the folder writable or set DAYBOOK_AUDIT_KEY_FILE"
        ) from error
