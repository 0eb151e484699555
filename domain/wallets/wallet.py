"""The wallet: what the log says it holds, what is set aside for orders, and whether it may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from eventsourcing.domain import BaseAggregate

from domain.chain import NATIVE, Address, Mint, Signature, Slot
from domain.errors import InvalidInput, InvariantBroken
from domain.events import AggregateEvent, to_datetime
from domain.money import Lamports
from domain.refusal import Refusal
from domain.wallets.events import (
    DiscrepancyFound,
    DiscrepancyResolved,
    FundsReleased,
    FundsReserved,
    Posting,
    TokenAccount,
    WalletOpened,
    WalletTransferred,
)
from domain.wallets.ledger import of_account, require_balanced, wallet_account

AGREED = "agreed"
"""Why a disagreement is over when books and chain were found equal."""


def wallet_stream(address: Address) -> str:
    """The stream of a wallet."""
    return f"wallet-{address}"


class Wallet(BaseAggregate[str]):
    """One address daybook may trade for.

    Attributes:
        address: its public key.
        token_accounts: one for each mint it trades.
        reserve_lamports: native lamports that orders must leave untouched.
        expected: what it holds by the log, for each mint.
        reserved: what is set aside, by order stream.
        booked: signatures of the transactions in its books.
        last_slot: the newest slot booked.
        discrepancy: the disagreement that halted it; none while it may be used.
    """

    TOPIC = "wallet"
    Event = AggregateEvent
    Opened = WalletOpened
    Transferred = WalletTransferred
    Reserved = FundsReserved
    Released = FundsReleased
    Discrepancy = DiscrepancyFound
    Resolved = DiscrepancyResolved

    class_version: ClassVar[int] = 2
    """Of the fields and the fold. Raise it when either changes: older snapshots are then thrown away."""

    address: Address
    token_accounts: tuple[TokenAccount, ...]
    reserve_lamports: Lamports
    expected: dict[Mint, int]
    reserved: dict[str, FundsReserved]
    booked: set[Signature]
    last_slot: Slot
    discrepancy: DiscrepancyFound | None

    def __init__(self) -> None:
        """The fields are set by the first event."""

    @classmethod
    def open(
        cls,
        address: Address,
        token_accounts: Sequence[TokenAccount],
        reserve_lamports: Lamports,
        at: int,
    ) -> Wallet:
        """Begin a wallet's books, empty.

        Raises:
            InvalidInput: a negative reserve, or a mint held in two accounts.
        """
        if reserve_lamports < 0:
            raise InvalidInput(f"a reserve of {reserve_lamports} lamports was asked for: give 0 or more")
        if len({held.mint for held in token_accounts}) != len(token_accounts):
            raise InvalidInput(f"wallet {address} names two token accounts for one mint: give one for each")
        return cls._create(
            WalletOpened,
            id=wallet_stream(address),
            timestamp=to_datetime(at),
            address=address,
            token_accounts=tuple(token_accounts),
            reserve_lamports=reserve_lamports,
        )

    def available(self, mint: Mint) -> int:
        """What a new order may count on: expected less set aside, and for lamports less the reserve."""
        held = self.expected.get(mint, 0) - sum(r.amount for r in self.reserved.values() if r.mint == mint)
        if mint == NATIVE:
            held -= self.reserve_lamports + sum(r.native_lamports for r in self.reserved.values())
        return held

    def reserve(
        self, order: str, mint: Mint, amount: int, native_lamports: Lamports, at: int
    ) -> Refusal | None:
        """Set funds aside for an order, or say why not.

        Raises:
            InvariantBroken: the order has funds set aside already, or the figures are negative.
        """
        if order in self.reserved or amount < 0 or native_lamports < 0:
            raise InvariantBroken(f"{self.id} cannot set {amount} of {mint} aside for {order}: load it again")
        refusal = self.halted() or self._shortage(mint, amount, native_lamports)
        if refusal is None:
            self.trigger_event(
                FundsReserved,
                timestamp=to_datetime(at),
                order=order,
                mint=mint,
                amount=amount,
                native_lamports=native_lamports,
            )
        return refusal

    def halted(self) -> Refusal | None:
        """Why the wallet may not be used; none when it may."""
        found = self.discrepancy
        if found is None:
            return None
        return Refusal(
            "wallet_halted",
            f"at slot {found.slot} the chain held {found.actual} of {found.mint}, the log {found.expected}",
        )

    def release(self, order: str, at: int) -> None:
        """Free what was set aside for a closed order.

        Raises:
            InvariantBroken: nothing is set aside for it.
        """
        if order not in self.reserved:
            raise InvariantBroken(f"{self.id} has nothing set aside for {order}: it was released before")
        self.trigger_event(FundsReleased, timestamp=to_datetime(at), order=order)

    def book(
        self,
        kind: str,
        signature: Signature,
        slot: Slot,
        postings: Sequence[Posting],
        at: int,
        reference: str = "",
    ) -> None:
        """Book a finalized transaction.

        Raises:
            InvariantBroken: it is in the books already, or its lines make or lose money.
        """
        if signature in self.booked:
            raise InvariantBroken(f"{self.id} has booked {signature} before: one signature is booked once")
        require_balanced(postings)
        self.trigger_event(
            WalletTransferred,
            timestamp=to_datetime(at),
            kind=kind,
            reference=reference,
            signature=signature,
            slot=slot,
            postings=tuple(postings),
        )

    def compare(self, mint: Mint, actual: int, slot: Slot, at: int) -> bool:
        """Hold the books against the chain; a difference is put on record, once, and halts the wallet.

        Returns:
            Whether they agree.
        """
        expected = self.expected.get(mint, 0)
        if expected != actual and self.discrepancy is None:
            self.trigger_event(
                DiscrepancyFound,
                timestamp=to_datetime(at),
                mint=mint,
                expected=expected,
                actual=actual,
                slot=slot,
            )
        return expected == actual

    def resolve(self, reason: str, at: int, slot: Slot | None = None) -> None:
        """Let the wallet be used again; nothing happens when it is not halted.

        Args:
            reason: `AGREED`, or the operator's words.
            at: microseconds since the epoch.
            slot: of the comparison that agreed.
        """
        if self.discrepancy is not None:
            self.trigger_event(
                DiscrepancyResolved,
                timestamp=to_datetime(at),
                mint=self.discrepancy.mint,
                reason=reason,
                slot=slot,
            )

    def evolve(self, event: AggregateEvent) -> None:
        """Fold one event."""
        match event:
            case WalletOpened():
                self.address, self.token_accounts = event.address, event.token_accounts
                self.reserve_lamports = event.reserve_lamports
                self.expected, self.reserved, self.booked = {}, {}, set()
                self.last_slot, self.discrepancy = Slot(0), None
            case WalletTransferred():
                self._move(event)
            case FundsReserved():
                self.reserved[event.order] = event
            case FundsReleased():
                self.reserved.pop(event.order, None)
            case DiscrepancyFound():
                self.discrepancy = event
            case DiscrepancyResolved():
                self.discrepancy = None
            case _:
                pass  # an event type of a later release says nothing to this one

    def _move(self, event: WalletTransferred) -> None:
        for mint, change in of_account(event.postings, wallet_account(self.address)).items():
            self.expected[mint] = self.expected.get(mint, 0) + change
        self.booked.add(event.signature)
        self.last_slot = max(self.last_slot, event.slot)

    def _shortage(self, mint: Mint, amount: int, native_lamports: Lamports) -> Refusal | None:
        needed = {mint: amount}
        needed[NATIVE] = needed.get(NATIVE, 0) + native_lamports
        for each, wanted in needed.items():
            if self.available(each) < wanted:
                return Refusal(
                    "insufficient_funds", f"{wanted} of {each} needed, {self.available(each)} available"
                )
        return None
