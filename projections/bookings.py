"""What one booked transaction changed for a wallet: lamports, fee and tip, and other mints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from domain.chain import NATIVE, WSOL, Address
from domain.wallets.events import Posting
from domain.wallets.ledger import NETWORK_FEES, wallet_account

LAMPORT_MINTS: Final = frozenset({NATIVE, WSOL})
"""Both count lamports: wrapping SOL is neither gain nor loss."""


class Booked(NamedTuple):
    """A wallet's side of one transaction.

    Attributes:
        realised_lamports: the change of the wallet's lamports, wrapped or not; fee and tip are in it.
        fee_lamports: what the network took.
        tip_lamports: what was tipped.
        residuals: changes of other mints, base units by mint; none of them 0.
    """

    realised_lamports: int
    fee_lamports: int
    tip_lamports: int
    residuals: dict[str, int]

    @property
    def gross_lamports(self) -> int:
        """The result before fee and tip."""
        return self.realised_lamports + self.fee_lamports + self.tip_lamports


def booked(postings: Iterable[Posting], wallet: str) -> Booked:
    """The wallet's side of a booking."""
    mine = wallet_account(Address(wallet))
    realised = fee = tip = 0
    others: dict[str, int] = {}
    for line in postings:
        account, amount = line.account, line.amount
        if account == mine:
            if line.mint in LAMPORT_MINTS:
                realised += amount
            else:
                others[line.mint] = others.get(line.mint, 0) + amount
        elif account == NETWORK_FEES:
            fee += amount
        elif account.startswith("tips:"):
            tip += amount
    return Booked(realised, fee, tip, {mint: amount for mint, amount in others.items() if amount})
