"""A wallet's life: opened, money moved, funds set aside, disagreements. Stream `wallet-<address>`."""

from __future__ import annotations

from dataclasses import dataclass

from domain.chain import Address, Mint, Signature, Slot
from domain.events import AggregateEvent, CreatedEvent, event_type
from domain.money import Lamports


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of a double-entry booking; the lines of one transfer sum to 0 for each mint.

    Attributes:
        account: whose side: `wallet:<address>`, `pool:<address>`, `fees:network`, `tips:<address>`,
            `outside:<address>`.
        mint: the token; `native` for lamports outside any token account.
        amount: base units, positive when the account receives.
    """

    account: str
    mint: Mint
    amount: int


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """Where a wallet holds a mint: its associated token account."""

    mint: Mint
    account: Address


@event_type("wallet.opened")
@dataclass(frozen=True, kw_only=True)
class WalletOpened(CreatedEvent):
    """daybook may trade for this address from now on.

    Attributes:
        address: the wallet's public key.
        token_accounts: one for each mint it trades.
        reserve_lamports: native lamports that orders must leave untouched.
    """

    address: Address
    token_accounts: tuple[TokenAccount, ...]
    reserve_lamports: Lamports


@event_type("wallet.transferred")
@dataclass(frozen=True, kw_only=True)
class WalletTransferred(AggregateEvent):
    """Money moved on chain, finalized, and is booked to the lamport.

    Attributes:
        kind: `deposit`, `withdrawal`, `trade`, or `fee` (of a transaction that took nothing else).
        reference: the order's stream for its trade or fee; empty for what no order made.
        signature: the transaction's id; one signature is booked once.
        slot: where it was executed.
        postings: both sides of every movement; sums to 0 for each mint.
    """

    kind: str
    reference: str
    signature: Signature
    slot: Slot
    postings: tuple[Posting, ...]


@event_type("wallet.funds_reserved")
@dataclass(frozen=True, kw_only=True)
class FundsReserved(AggregateEvent):
    """Set aside for an order, so that no other order counts on it.

    Attributes:
        order: the order's stream.
        mint: what is set aside.
        amount: base units of `mint`.
        native_lamports: set aside for fees and tip.
    """

    order: str
    mint: Mint
    amount: int
    native_lamports: Lamports


@event_type("wallet.funds_released")
@dataclass(frozen=True, kw_only=True)
class FundsReleased(AggregateEvent):
    """The order is closed; what was set aside for it is free again.

    Attributes:
        order: the order's stream.
    """

    order: str


@event_type("wallet.discrepancy_found")
@dataclass(frozen=True, kw_only=True)
class DiscrepancyFound(AggregateEvent):
    """The chain and the log disagree; the wallet is halted until that is resolved.

    Attributes:
        mint: of what.
        expected: base units by the log.
        actual: base units by the chain.
        slot: the slot of the reading.
    """

    mint: Mint
    expected: int
    actual: int
    slot: Slot


@event_type("wallet.discrepancy_resolved")
@dataclass(frozen=True, kw_only=True)
class DiscrepancyResolved(AggregateEvent):
    """The disagreement that halted the wallet is over or explained; the wallet may be used again.

    Attributes:
        mint: of the disagreement.
        reason: `agreed` when a later comparison found books and chain equal; else the operator's words.
        slot: the slot of that comparison; none when the operator decided without one.
    """

    mint: Mint
    reason: str
    slot: Slot | None
