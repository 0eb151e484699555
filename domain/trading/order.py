"""The order: one transaction's life as a state machine that can never execute it twice.

    (none)    place -> INTENDED
    INTENDED  sign 1 -> SIGNED         abandon -> ABANDONED
    SIGNED    observe -> OBSERVED      land -> LANDED    fail -> FAILED    expire -> EXPIRED
    OBSERVED  roll back -> SIGNED      land -> LANDED    fail -> FAILED
    EXPIRED   sign n + 1 -> SIGNED     abandon -> ABANDONED
    LANDED, FAILED, ABANDONED are closed.

A signature exists only once per attempt, the chain executes a signature at most once, and attempt n + 1 is
signed only after n has provably expired: so at most one attempt ever lands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn

from eventsourcing.domain import BaseAggregate

from domain.chain import BlockHeight, Commitment, Signature, Slot
from domain.errors import InvariantBroken
from domain.events import AggregateEvent, derived_id, to_datetime
from domain.money import Lamports
from domain.refusal import Refusal
from domain.trading.events import (
    OpportunityFound,
    OrderAbandoned,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderLanded,
    OrderObserved,
    OrderPlaced,
    OrderRolledBack,
    OrderSigned,
    OrderSubmitted,
)

ACCEPTED: Final = "accepted"
"""The answer of a node that took the bytes."""

REFUSED: Final = "refused: "
"""How the answer of a node begins that looked at the bytes and would not forward them."""


class OrderState(StrEnum):
    """Where an order stands."""

    INTENDED = "intended"
    SIGNED = "signed"
    OBSERVED = "observed"
    EXPIRED = "expired"
    LANDED = "landed"
    FAILED = "failed"
    ABANDONED = "abandoned"


_STRENGTH: Final = {commitment: strength for strength, commitment in enumerate(Commitment)}

CLOSED: Final = frozenset({OrderState.LANDED, OrderState.FAILED, OrderState.ABANDONED})


@dataclass(frozen=True, slots=True)
class Fill:
    """What one leg traded by the pool's vaults, base units."""

    amount_in: int
    amount_out: int


def order_stream(opportunity: str) -> str:
    """The stream of the one order that may take an opportunity."""
    return f"order-{derived_id('order', opportunity)}"


class Order(BaseAggregate[str]):
    """One transaction's life.

    Attributes:
        placed: the intent.
        state: where it stands.
        attempt: the open or last attempt; 0 before the first signature.
        signed: the last signed attempt's bytes and their validity; none before the first.
        observed: the last sighting in a slot that may be rolled back; none when there is none.
        sends: how often bytes were sent, over all attempts.
        answer: the last answer to a send of this attempt; none before the first.
    """

    TOPIC = "order"
    Event = AggregateEvent
    Placed = OrderPlaced
    Signed = OrderSigned
    Submitted = OrderSubmitted
    Observed = OrderObserved
    RolledBack = OrderRolledBack
    Landed = OrderLanded
    Filled = OrderFilled
    Failed = OrderFailed
    Expired = OrderExpired
    Abandoned = OrderAbandoned

    def __init__(self) -> None:
        self.placed: OrderPlaced
        self.state: OrderState
        self.attempt: int
        self.signed: OrderSigned | None
        self.observed: OrderObserved | None
        self.sends: int
        self.answer: str | None

    @classmethod
    def place(
        cls,
        found: OpportunityFound,
        *,
        compute_unit_limit: int,
        compute_unit_price_micro_lamports: int,
        at: int,
    ) -> Order:
        """Intend to take an opportunity."""
        return cls._create(
            OrderPlaced,
            id=order_stream(found.originator_id),
            timestamp=to_datetime(at),
            opportunity=found.originator_id,
            strategy=found.strategy,
            wallet=found.wallet,
            legs=found.legs,
            costs=found.costs,
            expected_profit_lamports=found.expected_profit_lamports,
            compute_unit_limit=compute_unit_limit,
            compute_unit_price_micro_lamports=compute_unit_price_micro_lamports,
            seen_at=found.seen_at,
        )

    @property
    def is_closed(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in CLOSED

    @property
    def was_refused(self) -> bool:
        """Whether a node looked at this attempt's bytes and would not forward them."""
        return self.answer is not None and self.answer.startswith(REFUSED)

    @property
    def open_attempt(self) -> OrderSigned:
        """The attempt whose bytes may still land.

        Raises:
            InvariantBroken: there is none.
        """
        if self.signed is None or self.state not in {OrderState.SIGNED, OrderState.OBSERVED}:
            self._refuse("speak of its open attempt")
        return self.signed

    def sign(
        self,
        signature: Signature,
        transaction: str,
        blockhash: str,
        last_valid_block_height: BlockHeight,
        lease_epoch: int,
        at: int,
    ) -> None:
        """Record signed bytes, before the first of them leaves the house.

        Raises:
            InvariantBroken: an attempt is open, or the order is closed.
        """
        self._require("sign", OrderState.INTENDED, OrderState.EXPIRED)
        self.trigger_event(
            OrderSigned,
            timestamp=to_datetime(at),
            attempt=self.attempt + 1,
            signature=signature,
            transaction=transaction,
            blockhash=blockhash,
            last_valid_block_height=last_valid_block_height,
            lease_epoch=lease_epoch,
        )

    def submit(self, route: str, answer: str, at: int) -> None:
        """Record that the bytes were sent and what was answered.

        Raises:
            InvariantBroken: no attempt is open and unseen.
        """
        self._require("record a send", OrderState.SIGNED)
        self.trigger_event(
            OrderSubmitted,
            timestamp=to_datetime(at),
            attempt=self.attempt,
            send=self.sends + 1,
            route=route,
            answer=answer,
        )

    def observe(self, slot: Slot, commitment: Commitment, error: str | None, at: int) -> None:
        """Record a sighting; the same slot at no stronger commitment is no news and records nothing.

        Raises:
            InvariantBroken: no attempt is open.
        """
        self._require("be observed", OrderState.SIGNED, OrderState.OBSERVED)
        seen = self.observed
        if seen and seen.slot == slot and _STRENGTH[commitment] <= _STRENGTH[seen.commitment]:
            return
        self.trigger_event(
            OrderObserved,
            timestamp=to_datetime(at),
            attempt=self.attempt,
            slot=slot,
            commitment=commitment,
            error=error,
        )

    def roll_back(self, at: int) -> None:
        """Record that the slot it was observed in is gone.

        Raises:
            InvariantBroken: it is not observed.
        """
        self._require("be rolled back", OrderState.OBSERVED)
        if self.observed is None:
            self._refuse("be rolled back")
        self.trigger_event(
            OrderRolledBack, timestamp=to_datetime(at), attempt=self.attempt, slot=self.observed.slot
        )

    def land(self, slot: Slot, fee_lamports: Lamports, fills: Sequence[Fill], at: int) -> None:
        """Record that it is finalized and successful, and what each leg traded.

        Raises:
            InvariantBroken: no attempt is open, or there is not one fill for each leg.
        """
        signature = self.open_attempt.signature
        if len(fills) != len(self.placed.legs):
            self._refuse(f"land with {len(fills)} fills for {len(self.placed.legs)} legs")
        when = to_datetime(at)
        self.trigger_event(
            OrderLanded,
            timestamp=when,
            attempt=self.attempt,
            signature=signature,
            slot=slot,
            fee_lamports=fee_lamports,
        )
        for index, (leg, fill) in enumerate(zip(self.placed.legs, fills, strict=True)):
            self.trigger_event(
                OrderFilled,
                timestamp=when,
                leg=index,
                pool=leg.pool,
                mint_in=leg.mint_in,
                mint_out=leg.mint_out,
                amount_in=fill.amount_in,
                amount_out=fill.amount_out,
                signature=signature,
                slot=slot,
            )

    def fail(self, slot: Slot, error: str, fee_lamports: Lamports, at: int) -> None:
        """Record that it is finalized and a program refused it.

        Raises:
            InvariantBroken: no attempt is open.
        """
        self.trigger_event(
            OrderFailed,
            timestamp=to_datetime(at),
            attempt=self.attempt,
            signature=self.open_attempt.signature,
            slot=slot,
            error=error,
            fee_lamports=fee_lamports,
        )

    def expire(self, finalized_block_height: BlockHeight, asked_slot: Slot, at: int) -> None:
        """Record the proof that the open attempt can never land.

        Raises:
            InvariantBroken: no attempt is open and unseen, or the height does not prove it.
        """
        self._require("expire", OrderState.SIGNED)
        last_valid = self.open_attempt.last_valid_block_height
        if finalized_block_height <= last_valid:
            self._refuse(f"expire at finalized height {finalized_block_height}, valid until {last_valid}")
        self.trigger_event(
            OrderExpired,
            timestamp=to_datetime(at),
            attempt=self.attempt,
            finalized_block_height=finalized_block_height,
            asked_slot=asked_slot,
        )

    def abandon(self, refusal: Refusal, at: int) -> None:
        """Record that it is wanted no more; nothing of it can land.

        Raises:
            InvariantBroken: an attempt is open, or the order is closed.
        """
        self._require("be abandoned", OrderState.INTENDED, OrderState.EXPIRED)
        self.trigger_event(
            OrderAbandoned, timestamp=to_datetime(at), reason=refusal.reason, found=refusal.found
        )

    def evolve(self, event: AggregateEvent) -> None:
        """Fold one event."""
        match event:
            case OrderPlaced():
                self.placed, self.state = event, OrderState.INTENDED
                self.attempt, self.sends = 0, 0
                self.signed, self.observed, self.answer = None, None, None
            case OrderSigned():
                self.signed, self.attempt, self.state = event, event.attempt, OrderState.SIGNED
                self.answer = None
            case OrderSubmitted():
                self.sends, self.answer = event.send, event.answer
            case OrderObserved():
                self.observed, self.state = event, OrderState.OBSERVED
            case OrderRolledBack():
                self.observed, self.state = None, OrderState.SIGNED
            case _:
                self.state = _CLOSING.get(type(event), self.state)

    def _require(self, deed: str, *states: OrderState) -> None:
        if self.state not in states:
            self._refuse(deed)

    def _refuse(self, deed: str) -> NoReturn:
        raise InvariantBroken(
            f"{self.id} is {self.state} at attempt {self.attempt}: it cannot {deed}; load it again"
        )


_CLOSING: Final[dict[type[AggregateEvent], OrderState]] = {
    OrderExpired: OrderState.EXPIRED,
    OrderLanded: OrderState.LANDED,
    OrderFailed: OrderState.FAILED,
    OrderAbandoned: OrderState.ABANDONED,
}
