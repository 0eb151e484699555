"""A signed transaction made ready to run: lookup tables resolved, every account's privileges spelt out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageAddressTableLookup, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from adapters.localnet.transaction_error import TransactionError
from adapters.solana.programs import lookup_table
from domain.errors import DecodeError

ReadAccount: TypeAlias = Callable[[Pubkey], Account | None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A transaction with all its addresses.

    Attributes:
        keys: static addresses, then writable and read-only ones out of lookup tables.
        writable: for each key, whether the transaction may change the account.
        static_count, writable_lookups: how many keys the message names, and how many writable follow.
        instructions: with every account named in full.
    """

    transaction: VersionedTransaction
    signature: Signature
    keys: tuple[Pubkey, ...]
    writable: tuple[bool, ...]
    static_count: int
    writable_lookups: int
    instructions: tuple[Instruction, ...]

    @property
    def payer(self) -> Pubkey:
        """The account that pays the fee."""
        return self.keys[0]

    @property
    def blockhash(self) -> Hash:
        """The recent block the transaction names."""
        return self.transaction.message.recent_blockhash

    def writable_keys(self) -> list[Pubkey]:
        """The accounts the transaction may change."""
        return [key for key, writable in zip(self.keys, self.writable, strict=True) if writable]


def load(transaction: VersionedTransaction, read: ReadAccount) -> Loaded | TransactionError:
    """Resolve a transaction's addresses; an error value where a lookup table or an index is not as named."""
    message = transaction.message
    static = message.account_keys
    lookups = message.address_table_lookups if isinstance(message, MessageV0) else []
    loaded = _look_up(lookups, read)
    if isinstance(loaded, str):
        return loaded
    writable_lookups, readonly_lookups = loaded
    keys = (*static, *writable_lookups, *readonly_lookups)
    writable = (
        *static_writable(transaction, len(static)),
        *[True] * len(writable_lookups),
        *[False] * len(readonly_lookups),
    )
    if len(set(keys)) != len(keys):
        return "AccountLoadedTwice"
    instructions = _instructions(transaction, keys, writable)
    if instructions is None:
        return "SanitizeFailure"
    return Loaded(
        transaction,
        transaction.signatures[0],
        keys,
        writable,
        len(static),
        len(writable_lookups),
        instructions,
    )


def static_writable(transaction: VersionedTransaction, count: int) -> list[bool]:
    """Say which of a message's `count` own addresses it may change.

    Signers come first, and within signers and the others the writable ones.
    """
    header = transaction.message.header
    signers, others = header.num_required_signatures, count - header.num_required_signatures
    locked, locked_others = header.num_readonly_signed_accounts, header.num_readonly_unsigned_accounts
    return [
        *[True] * (signers - locked),
        *[False] * locked,
        *[True] * (others - locked_others),
        *[False] * locked_others,
    ]


def _look_up(
    lookups: list[MessageAddressTableLookup], read: ReadAccount
) -> tuple[list[Pubkey], list[Pubkey]] | str:
    writable: list[Pubkey] = []
    readonly: list[Pubkey] = []
    for lookup in lookups:
        account = read(lookup.account_key)
        if account is None:
            return "AddressLookupTableNotFound"
        if account.owner != lookup_table.PROGRAM_ID:
            return "InvalidAddressLookupTableOwner"
        try:
            table = lookup_table.decode_lookup_table(
                lookup.account_key, account.data, account.owner
            ).addresses
        except DecodeError:
            return "InvalidAddressLookupTableData"
        indexes = (*lookup.writable_indexes, *lookup.readonly_indexes)
        if any(index >= len(table) for index in indexes):
            return "InvalidAddressLookupTableIndex"
        writable += [table[index] for index in lookup.writable_indexes]
        readonly += [table[index] for index in lookup.readonly_indexes]
    return writable, readonly


def _instructions(
    transaction: VersionedTransaction, keys: tuple[Pubkey, ...], writable: tuple[bool, ...]
) -> tuple[Instruction, ...] | None:
    signers = transaction.message.header.num_required_signatures
    metas = [AccountMeta(key, index < signers, writable[index]) for index, key in enumerate(keys)]
    try:
        return tuple(
            Instruction(keys[item.program_id_index], item.data, [metas[index] for index in item.accounts])
            for item in transaction.message.instructions
        )
    except IndexError:
        return None
