"""Keys that sign for wallets; a key never leaves its signer, nor shows in a repr, a log or an error."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Final, Protocol

from solders.keypair import Keypair

from domain.chain import Address
from domain.errors import InvalidInput, SetupError

_KEY_BYTES: Final = 64
_MAX_FILE_BYTES: Final = 4_096
"""64 numbers with their commas and spaces; a larger file is something else."""


class Signer(Protocol):
    """One wallet's key, wherever it is kept."""

    @property
    def address(self) -> Address:
        """The wallet it signs for."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Give the 64 byte ed25519 signature of `message`; the same message always has the same signature."""
        ...


class MemorySigner:
    """A key in this process's memory."""

    __slots__ = ("_address", "_keypair")

    def __init__(self, keypair: Keypair) -> None:
        self._keypair = keypair
        self._address = Address(str(keypair.pubkey()))

    @classmethod
    def from_seed(cls, seed: bytes) -> MemorySigner:
        """Make the key of a 32 byte seed.

        Raises:
            InvalidInput: the seed has another length.
        """
        if len(seed) != 32:
            raise InvalidInput(
                f"a wallet's seed has 32 bytes, {len(seed)} were given: check where it comes from"
            )
        return cls(Keypair.from_seed(seed))

    @property
    def address(self) -> Address:
        """The wallet it signs for."""
        return self._address

    async def sign(self, message: bytes) -> bytes:
        """Give the 64 byte ed25519 signature of `message`."""
        return bytes(self._keypair.sign_message(message))

    def __repr__(self) -> str:
        return f"MemorySigner({self._address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer holds a private key and is not pickled")


def read_key_file(path: Path) -> MemorySigner:
    """Read Solana's `id.json`: an array of 64 numbers, the seed and the public key.

    Raises:
        SetupError: the file cannot be read, others may read it, or it is no such array; its contents are not
            repeated.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise SetupError(
                    f"key file {path} has mode {mode:04o}: others on this machine may read the key; "
                    f"run chmod 600 {path}"
                )
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SetupError(
            f"reading key file {path}: {error.strerror or type(error).__name__}; check the path"
        ) from error
    return MemorySigner(_keypair(path, content))


def _keypair(path: Path, content: bytes) -> Keypair:
    refusal = SetupError(
        f"key file {path} is not Solana's array of {_KEY_BYTES} numbers whose second half is the public key "
        "of the first: make one with solana-keygen"
    )
    try:
        numbers = json.loads(content)
        if not isinstance(numbers, list) or len(numbers) != _KEY_BYTES:
            raise refusal
        secret = bytes(numbers)
    except (ValueError, TypeError):
        raise refusal from None  # the cause would repeat the file's contents
    keypair = Keypair.from_seed(secret[:32])
    if bytes(keypair.pubkey()) != secret[32:]:
        raise refusal
    return keypair
