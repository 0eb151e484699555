"""Money that moved without an order: whether it may be booked as what the operator calls it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from domain.base58 import bytes_in
from domain.chain import NATIVE, WSOL, Address, Mint
from domain.refusal import Refusal
from domain.transactions import TransactionRecord
from domain.wallets.events import Posting
from domain.wallets.ledger import of_account, wallet_account

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
FEE: Final = "fee"
KINDS: Final = (DEPOSIT, WITHDRAWAL, FEE)

SIGNATURE_BYTES: Final = 64


def is_signature(text: str) -> bool:
    """Whether it has the shape of a transaction's signature: 64 bytes in base58."""
    return bytes_in(text) == SIGNATURE_BYTES


def unbookable(
    kind: str, record: TransactionRecord, postings: Collection[Posting], wallet: Address
) -> Refusal | None:
    """Why the transaction is not what it is called; none when it is.

    A deposit brings something in, a withdrawal takes something out. A fee is all that a transaction took, and
    all that a failed one can take. Wrapping SOL moves lamports from one pocket to the other, so native and
    wrapped count as one. What does both, such as a swap made elsewhere, may go by either name.
    """
    changes = of_account(postings, wallet_account(wallet))
    if not any(changes.values()):
        return Refusal("untouched", f"it changes nothing that wallet {wallet} holds")
    if kind == FEE:
        found = f"its changes are {_told(changes)}, its fee is {record.fee_lamports} lamports"
        return None if changes == {NATIVE: -record.fee_lamports} else Refusal("not_a_fee", found)
    if record.error is not None:
        return Refusal("failed", f"it failed ({record.error}) and took nothing but its fee: book it as a fee")
    signs = {change > 0 for change in _net(changes).values() if change}
    wanted, other = (True, WITHDRAWAL) if kind == DEPOSIT else (False, DEPOSIT)
    if not signs or wanted in signs:
        return None
    return Refusal("contradiction", f"it changes the wallet by {_told(changes)}: that is a {other}")


def _net(changes: Mapping[Mint, int]) -> dict[Mint, int]:
    lamports = changes.get(NATIVE, 0) + changes.get(WSOL, 0)
    return {NATIVE: lamports} | {
        mint: change for mint, change in changes.items() if mint not in {NATIVE, WSOL}
    }


def _told(changes: Mapping[Mint, int]) -> str:
    return ", ".join(f"{change:+} of {mint}" for mint, change in changes.items())
