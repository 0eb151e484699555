"""Opportunities and orders: what was seen to be worth doing, what was intended, sent, and what came of it.

Streams `opportunity-<id>` and `order-<id>`. The order events are the states of the executor's machine
(docs/explanation/executor.md): each append is a transition, and `order.signed` is appended before the first
byte leaves the house.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.chain import Address, Blockhash, BlockHeight, Commitment, Mint, Signature, Slot
from domain.events import AggregateEvent, CreatedEvent, event_type
from domain.money import Lamports


@dataclass(frozen=True, slots=True)
class Leg:
    """One swap of a route: exactly `amount_in` goes in, at least `min_amount_out` must come out.

    Attributes:
        protocol: the program's name, e.g. `raydium_cpmm`.
        pool: the pool account.
        mint_in, mint_out: what goes in and out.
        amount_in: base units of `mint_in`.
        quoted_amount_out: what the pool state promised, base units of `mint_out`.
        min_amount_out: less makes the whole transaction fail.
    """

    protocol: str
    pool: Address
    mint_in: Mint
    mint_out: Mint
    amount_in: int
    quoted_amount_out: int
    min_amount_out: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What the chain takes for one transaction, in lamports.

    Attributes:
        base_fee_lamports: per signature.
        priority_fee_lamports: compute unit limit x price, rounded up.
        tip_lamports: paid inside the transaction.
    """

    base_fee_lamports: Lamports
    priority_fee_lamports: Lamports
    tip_lamports: Lamports

    @property
    def total_lamports(self) -> Lamports:
        """Everything the transaction costs when it succeeds."""
        return Lamports(self.base_fee_lamports + self.priority_fee_lamports + self.tip_lamports)


@event_type("opportunity.found")
@dataclass(frozen=True, kw_only=True)
class OpportunityFound(CreatedEvent):
    """A planner found a cycle worth more than it costs.

    Attributes:
        strategy: the strategy's stream.
        wallet: the wallet's stream it would trade for.
        legs: the cycle, first to last.
        costs: what the chain would take.
        expected_profit_lamports: output less input less costs.
        slot: the newest slot among the pool states it was decided on.
        seen_at: when the newest of those states was recorded, microseconds since the epoch.
    """

    strategy: str
    wallet: str
    legs: tuple[Leg, ...]
    costs: Costs
    expected_profit_lamports: Lamports
    slot: Slot
    seen_at: int


@event_type("opportunity.declined")
@dataclass(frozen=True, kw_only=True)
class OpportunityDeclined(AggregateEvent):
    """The coordinator will not take it.

    Attributes:
        reason: a short stable word, e.g. `stale`, `too_many_open_orders`, `insufficient_funds`.
        found: what was found against what limit, in words.
    """

    reason: str
    found: str


@event_type("order.placed")
@dataclass(frozen=True, kw_only=True)
class OrderPlaced(CreatedEvent):
    """S1 Intended: the order is on record before any money moves.

    Attributes:
        opportunity: the opportunity's stream.
        strategy: the strategy's stream.
        wallet: the wallet's stream.
        legs: the swaps of its one transaction.
        costs: what it may cost.
        expected_profit_lamports: as the opportunity promised.
        compute_unit_limit: of the transaction.
        compute_unit_price_micro_lamports: the priority fee's price.
        seen_at: when the market event that led here was recorded, microseconds since the epoch.
    """

    opportunity: str
    strategy: str
    wallet: str
    legs: tuple[Leg, ...]
    costs: Costs
    expected_profit_lamports: Lamports
    compute_unit_limit: int
    compute_unit_price_micro_lamports: int
    seen_at: int


@event_type("order.signed")
@dataclass(frozen=True, kw_only=True)
class OrderSigned(AggregateEvent):
    """S2 Signed: the bytes that may be sent, kept so that the same ones can be sent again.

    Attributes:
        attempt: n, from 1; n + 1 is signed only after n has provably expired.
        signature: the transaction's id.
        transaction: the signed transaction in base64, as it goes on the wire.
        blockhash: the blockhash it names.
        last_valid_block_height: the last block height at which it can land.
        lease_epoch: the executor's lease under which it was signed.
    """

    attempt: int
    signature: Signature
    transaction: str
    blockhash: Blockhash
    last_valid_block_height: BlockHeight
    lease_epoch: int


@event_type("order.submitted")
@dataclass(frozen=True, kw_only=True)
class OrderSubmitted(AggregateEvent):
    """S3 Submitted: the bytes were sent; carries no certainty.

    Attributes:
        attempt: n.
        send: k, from 1, counted over the order's life.
        route: the way it went, e.g. `rpc`.
        answer: `accepted`, or the error or time-out in words.
    """

    attempt: int
    send: int
    route: str
    answer: str


@event_type("order.observed")
@dataclass(frozen=True, kw_only=True)
class OrderObserved(AggregateEvent):
    """S4 Observed: a node saw it in a slot that may still be rolled back.

    Attributes:
        attempt: n.
        slot: where it was executed.
        commitment: how sure the node is.
        error: the program's error in words where it failed; none where it succeeded.
    """

    attempt: int
    slot: Slot
    commitment: Commitment
    error: str | None


@event_type("order.rolled_back")
@dataclass(frozen=True, kw_only=True)
class OrderRolledBack(AggregateEvent):
    """The slot it was observed in is gone: back to S2, the same bytes may land again.

    Attributes:
        attempt: n.
        slot: the slot that vanished.
    """

    attempt: int
    slot: Slot


@event_type("order.landed")
@dataclass(frozen=True, kw_only=True)
class OrderLanded(AggregateEvent):
    """S5 Landed: finalized and successful.

    Attributes:
        attempt: n.
        signature: the transaction's id.
        slot: where it was executed.
        fee_lamports: what the chain took, base and priority.
    """

    attempt: int
    signature: Signature
    slot: Slot
    fee_lamports: Lamports


@event_type("order.filled")
@dataclass(frozen=True, kw_only=True)
class OrderFilled(AggregateEvent):
    """One leg of a landed order traded these amounts, by the pool's vaults on chain.

    Attributes:
        leg: its index in the order's legs, from 0.
        pool: the pool account.
        mint_in, mint_out: what went in and out.
        amount_in, amount_out: base units.
        signature: the transaction's id.
        slot: where it was executed.
    """

    leg: int
    pool: Address
    mint_in: Mint
    mint_out: Mint
    amount_in: int
    amount_out: int
    signature: Signature
    slot: Slot


@event_type("order.failed")
@dataclass(frozen=True, kw_only=True)
class OrderFailed(AggregateEvent):
    """S5f Failed: finalized, but a program refused it; nothing moved but the fee.

    Attributes:
        attempt: n.
        signature: the transaction's id.
        slot: where it was executed.
        error: the program's error in words.
        fee_lamports: what the chain took.
    """

    attempt: int
    signature: Signature
    slot: Slot
    error: str
    fee_lamports: Lamports


@event_type("order.expired")
@dataclass(frozen=True, kw_only=True)
class OrderExpired(AggregateEvent):
    """S6 Expired: attempt n can never land any more.

    Attributes:
        attempt: n.
        finalized_block_height: read before the status was asked, above the last valid one.
        asked_slot: the slot of the node that answered "none" to the history search.
    """

    attempt: int
    finalized_block_height: BlockHeight
    asked_slot: Slot


@event_type("order.abandoned")
@dataclass(frozen=True, kw_only=True)
class OrderAbandoned(AggregateEvent):
    """S7 Rejected or abandoned: nothing of it can land, and it is wanted no more.

    Attributes:
        reason: a short stable word, e.g. `no_longer_profitable`, `refused_by_node`.
        found: what was found, in words.
    """

    reason: str
    found: str
