"""What every decoder checks first: owner, length and discriminator, refused in one clear sentence."""

from __future__ import annotations

from hashlib import sha256

from solders.pubkey import Pubkey

from domain.errors import DecodeError


def anchor_account(name: str) -> bytes:
    """Give the 8 bytes Anchor puts in front of an account of type `name`."""
    return sha256(f"account:{name}".encode()).digest()[:8]


def anchor_instruction(name: str) -> bytes:
    """Give the 8 bytes Anchor puts in front of the data of instruction `name`."""
    return sha256(f"global:{name}".encode()).digest()[:8]


def check_owner(kind: str, owner: Pubkey, programs: tuple[Pubkey, ...]) -> None:
    """Refuse an account that no program of `programs` owns.

    Raises:
        DecodeError: another program owns it.
    """
    if owner not in programs:
        wanted = " or ".join(str(program) for program in programs)
        raise DecodeError(
            f"decoding a {kind}: the account is owned by {owner}, not {wanted}; check the address"
        )


def check_data(kind: str, data: bytes, length: int, discriminator: bytes) -> None:
    """Refuse data of another length or type.

    Raises:
        DecodeError: the length or the first 8 bytes are not the type's own.
    """
    if len(data) != length:
        raise DecodeError(f"decoding a {kind}: found {len(data)} bytes, expected {length}; check the address")
    if data[:8] != discriminator:
        raise DecodeError(
            f"decoding a {kind}: it starts with {data[:8].hex()}, expected {discriminator.hex()}; "
            "it is another account type of that program"
        )


def check_arguments(kind: str, data: bytes, length: int, discriminators: tuple[bytes, ...]) -> None:
    """Refuse the data of another instruction, or arguments that are cut off.

    Raises:
        DecodeError: the first 8 bytes are none of `discriminators`, or there are fewer bytes than `length`.
    """
    if data[:8] not in discriminators:
        raise DecodeError(f"decoding a {kind}: data starts with {data[:8].hex()}, which is no {kind}")
    if len(data) < length:
        raise DecodeError(f"decoding a {kind}: found {len(data)} bytes, expected {length}")


def program_address(kind: str, seeds: list[bytes], program: Pubkey) -> Pubkey:
    """Derive the address of known seeds, the last of them the bump.

    Raises:
        DecodeError: they derive none.
    """
    try:
        return Pubkey.create_program_address(seeds, program)
    except Exception as error:  # solders does not export the error it raises
        raise DecodeError(f"deriving a {kind}: the seeds of the account give no address") from error
