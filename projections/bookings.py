"""What one booked transaction changed for a wallet: lamports, fee and tip, and other mints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.chain import NATIVE, WSOL, Address
from domain.wallets.events import Posting
from domain.wallets.ledger import NETWORK_FEES, of_account, wallet_account

LAMPORT_MINTS: Final = frozenset({NATIVE, WSOL})
"""Both count lamports: wrapping SOL is neither gain nor loss."""


@dataclass(frozen=True, slots=True)
class Booked:
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
    lines = tuple(postings)
    changes = of_account(lines, wallet_account(Address(wallet)))
    return Booked(
        realised_lamports=sum(changes.get(mint, 0) for mint in LAMPORT_MINTS),
        fee_lamports=sum(line.amount for line in lines if line.account == NETWORK_FEES),
        tip_lamports=sum(line.amount for line in lines if line.account.startswith("tips:")),
        residuals={m: amount for m, amount in changes.items() if amount and m not in LAMPORT_MINTS},
    )
