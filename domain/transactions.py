"""A transaction as the chain holds it: where it ran, what it took, whose balances it changed."""

from __future__ import annotations

from dataclasses import dataclass

from domain.chain import Address, Mint, Signature, Slot
from domain.money import Lamports


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """One account's change by one transaction.

    Attributes:
        account: the account's address.
        owner: who controls it: itself for lamports, the token account's owner for tokens.
        mint: `native` for lamports.
        change: base units, after less before; fee included for the payer's lamports.
    """

    account: Address
    owner: Address
    mint: Mint
    change: int


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction as the chain holds it.

    Attributes:
        signature: its id.
        slot: where it was executed.
        fee_lamports: base and priority fee.
        error: in words where it failed.
        changes: every non-zero change of lamports and tokens.
    """

    signature: Signature
    slot: Slot
    fee_lamports: Lamports
    error: str | None
    changes: tuple[BalanceChange, ...]
