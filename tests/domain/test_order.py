"""The order's state machine: every legal way through, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from given import an_order, decided, folded, signed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.chain import BlockHeight, Commitment, Signature, Slot
from domain.errors import InvariantBroken
from domain.money import Lamports
from domain.refusal import Refusal
from domain.trading.order import ACCEPTED, REFUSED, Fill, Order, OrderState

FILLS = (Fill(1_000_000_000, 150_000_000), Fill(150_000_000, 1_010_000_000))


def test_the_straight_way() -> None:
    """Placed, signed, submitted, observed, landed, one fill for each leg."""
    order = signed(an_order())
    order.submit("rpc", ACCEPTED, at=30)
    order.observe(Slot(101), Commitment.PROCESSED, None, at=40)
    order.land(Slot(101), Lamports(5_200), FILLS, at=50)
    assert decided(order) == [
        "order.placed",
        "order.signed",
        "order.submitted",
        "order.observed",
        "order.landed",
        "order.filled",
        "order.filled",
    ]
    assert order.state is OrderState.LANDED


def test_a_second_signature_needs_proof_that_the_first_expired() -> None:
    """While attempt 1 may land, nobody signs attempt 2."""
    order = signed(an_order(), last_valid=250)
    with pytest.raises(InvariantBroken, match="cannot sign"):
        signed(order, "sig-2")
    with pytest.raises(InvariantBroken, match="valid until 250"):
        order.expire(BlockHeight(250), Slot(260), at=30)
    order.expire(BlockHeight(251), Slot(260), at=30)
    assert signed(order, "sig-2").attempt == 2


def test_an_observed_order_does_not_expire_before_its_slot_is_gone() -> None:
    """What a node has seen may be finalized; only a rollback makes it unseen."""
    order = signed(an_order())
    order.observe(Slot(101), Commitment.CONFIRMED, None, at=40)
    with pytest.raises(InvariantBroken, match="cannot expire"):
        order.expire(BlockHeight(999), Slot(999), at=50)
    order.roll_back(at=50)
    order.expire(BlockHeight(999), Slot(999), at=60)
    assert order.state is OrderState.EXPIRED


def test_the_same_sighting_is_no_news() -> None:
    """Polling a hundred times leaves one event for each commitment."""
    order = signed(an_order())
    for commitment in (Commitment.PROCESSED, Commitment.PROCESSED, Commitment.CONFIRMED):
        order.observe(Slot(101), commitment, None, at=40)
    assert decided(order).count("order.observed") == 2


def test_a_refusal_is_remembered_until_the_next_attempt() -> None:
    """The answer of the node that would not forward the bytes survives a restart."""
    order = signed(an_order())
    order.submit("rpc", f"{REFUSED}slippage", at=30)
    again = folded(Order, order.collect_events())
    assert again.was_refused
    again.expire(BlockHeight(999), Slot(999), at=40)
    assert not signed(again, "sig-2").was_refused


def test_every_leg_needs_its_fill() -> None:
    with pytest.raises(InvariantBroken, match="1 fills for 2 legs"):
        signed(an_order()).land(Slot(101), Lamports(5_200), FILLS[:1], at=50)


class OrderMachine(RuleBasedStateMachine):
    """Any sequence of attempts on an order: what is refused changes nothing, and money moves at most once."""

    def __init__(self) -> None:
        super().__init__()
        self.order = an_order()
        self.events: list[Any] = []
        self.height = 250

    def _try(self, deed: str, *args: object, **kwargs: object) -> None:
        before = self.order.state, self.order.version
        try:
            getattr(self.order, deed)(*args, **kwargs)
        except InvariantBroken:
            assert (self.order.state, self.order.version) == before
        self.events += self.order.collect_events()

    @rule()
    def sign(self) -> None:
        name = Signature(f"sig-{self.order.attempt + 1}")
        self._try("sign", name, "AQID", "hash", BlockHeight(self.height), 1, at=1)

    @rule(slot=st.integers(1, 3), commitment=st.sampled_from(Commitment))
    def observe(self, slot: int, commitment: Commitment) -> None:
        self._try("observe", Slot(slot), commitment, None, at=1)

    @rule(answer=st.sampled_from([ACCEPTED, f"{REFUSED}no"]))
    def submit(self, answer: str) -> None:
        self._try("submit", "rpc", answer, at=1)

    @rule()
    def roll_back(self) -> None:
        self._try("roll_back", at=1)

    @rule(past=st.integers(-1, 1))
    def expire(self, past: int) -> None:
        self._try("expire", BlockHeight(self.height + past), Slot(1), at=1)
        self.height += 150

    @rule()
    def abandon(self) -> None:
        self._try("abandon", Refusal("stale", "old"), at=1)

    @precondition(lambda self: self.order.version > 4)
    @rule()
    def land(self) -> None:
        self._try("land", Slot(1), Lamports(1), FILLS, at=1)

    @precondition(lambda self: self.order.version > 4)
    @rule()
    def fail(self) -> None:
        self._try("fail", Slot(1), "no", Lamports(1), at=1)

    @invariant()
    def the_laws_hold(self) -> None:
        topics = [event.TOPIC for event in self.events]
        closing = [t for t in topics if t in {"order.landed", "order.failed", "order.abandoned"}]
        assert len(closing) == int(self.order.is_closed)
        assert topics.count("order.signed") - topics.count("order.expired") in {0, 1}
        if self.events:
            assert folded(Order, self.events).state is self.order.state


OrderMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestOrderMachine = OrderMachine.TestCase
