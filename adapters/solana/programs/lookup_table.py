"""Address lookup tables: decoding, and the instructions that create and fill one."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Final

from solders.address_lookup_table_account import (
    ID,
    AddressLookupTable,
    AddressLookupTableAccount,
    derive_lookup_table_address,
)
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from adapters.solana.programs.layout import check_owner
from adapters.solana.programs.metas import readable, signer, writable
from domain.errors import DecodeError

PROGRAM_ID: Final = ID

MAX_PER_EXTEND: Final = 20
"""More addresses in one extension do not fit a 1,232 byte transaction."""

_META_LENGTH: Final = 56
_INITIALIZED: Final = b"\x01\x00\x00\x00"


def decode_lookup_table(address: Pubkey, data: bytes, owner: Pubkey) -> AddressLookupTableAccount:
    """Read a lookup table.

    Raises:
        DecodeError: another program owns the account, or its bytes are no initialised table.
    """
    check_owner("lookup table", owner, (PROGRAM_ID,))
    if len(data) < _META_LENGTH or data[:4] != _INITIALIZED or (len(data) - _META_LENGTH) % 32:
        raise DecodeError(f"decoding lookup table {address}: {len(data)} bytes, not an initialised table")
    try:
        return AddressLookupTableAccount(address, AddressLookupTable.deserialize(data).addresses)
    except ValueError as error:
        raise DecodeError(f"decoding lookup table {address}: {error}") from error


def create_lookup_table(authority: Pubkey, payer: Pubkey, recent_slot: int) -> tuple[Instruction, Pubkey]:
    """Build the creation of a table and name its address; `recent_slot` must be a finished slot."""
    table, bump = derive_lookup_table_address(authority, recent_slot)
    data = pack("<IQB", 0, recent_slot, bump)
    return Instruction(PROGRAM_ID, data, _metas(table, authority, payer)), table


def extend_lookup_table(
    table: Pubkey, authority: Pubkey, payer: Pubkey, addresses: Sequence[Pubkey]
) -> Instruction:
    """Build the appending of at most `MAX_PER_EXTEND` addresses; they are usable from the next slot on."""
    data = pack("<IQ", 2, len(addresses)) + b"".join(map(bytes, addresses))
    return Instruction(PROGRAM_ID, data, _metas(table, authority, payer))


def _metas(table: Pubkey, authority: Pubkey, payer: Pubkey) -> list[AccountMeta]:
    return [
        writable(table),
        signer(authority),
        AccountMeta(payer, is_signer=True, is_writable=True),
        readable(SYSTEM_PROGRAM),
    ]
