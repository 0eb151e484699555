"""Builds event histories for tests: whole arbitrage stories as they would stand in the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from domain.chain import (
    NATIVE,
    USDC,
    WSOL,
    Address,
    Blockhash,
    BlockHeight,
    Commitment,
    Mint,
    Signature,
    Slot,
)
from domain.events import AggregateEvent, RecordedEvent, derived_id, to_datetime
from domain.market.events import PoolFees, PoolUpdated
from domain.money import Lamports
from domain.trading.events import (
    Costs,
    Leg,
    OpportunityDeclined,
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
from domain.wallets.events import (
    DiscrepancyFound,
    FundsReleased,
    FundsReserved,
    Posting,
    TokenAccount,
    WalletOpened,
    WalletTransferred,
)

START_US = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC."""

STEP_US = 10_000
"""Between two events of a story."""

WALLET = Address("Wa11etWa11etWa11etWa11etWa11etWa11etWa11et11")
STRATEGY = "arbitrage-sol-usdc"
POOL_A = Address("PoolAPoolAPoolAPoolAPoolAPoolAPoolAPoolAPoo1")
POOL_B = Address("PoolBPoolBPoolBPoolBPoolBPoolBPoolBPoolBPoo1")
TIPPED = Address("TipsTipsTipsTipsTipsTipsTipsTipsTipsTipsTip1")

COSTS = Costs(Lamports(5_000), Lamports(1_000), Lamports(2_000))


@dataclass(slots=True)
class History:
    """Events as the log would hold them, written down one after the other.

    Attributes:
        events: so far.
        now: microseconds since the epoch; each event takes `STEP_US`.
        slot: of the chain; each market event takes one.
    """

    events: list[RecordedEvent] = field(default_factory=list)
    now: int = START_US
    slot: int = 1_000
    _versions: dict[str, int] = field(default_factory=dict)

    def record(
        self,
        stream: str,
        build: Callable[[dict[str, Any]], Any],
        *,
        correlation: UUID,
        causation: UUID | None,
        actor: str = "test",
        slot: int | None = None,
    ) -> RecordedEvent:
        """Append one event; `build` is given what every aggregate event carries."""
        self.now += STEP_US
        version = self._versions.get(stream, 0) + 1
        self._versions[stream] = version
        event = build(
            {"originator_id": stream, "originator_version": version, "timestamp": to_datetime(self.now)}
        )
        recorded = RecordedEvent(
            position=len(self.events) + 1,
            stream=stream,
            version=version,
            topic=event.TOPIC,
            class_version=event.class_version,
            recorded_at=self.now,
            correlation=correlation.bytes,
            causation=None if causation is None else causation.bytes,
            actor=actor,
            slot=None if slot is None else Slot(slot),
            event=event,
        )
        self.events.append(recorded)
        return recorded

    def after(
        self,
        cause: RecordedEvent,
        stream: str,
        kind: type[AggregateEvent],
        slot: int | None = None,
        /,
        **facts: Any,  # noqa: ANN401 - the fields of any event
    ) -> RecordedEvent:
        """Append an aggregate's event because of another one."""
        return self.record(
            stream,
            lambda base: kind(**base, **facts),
            correlation=cause.cause.correlation_id,
            causation=cause.event_id,
            slot=slot,
        )

    def market(self, pool: Address = POOL_A, reserve_a: int = 10**12) -> RecordedEvent:
        """A pool was seen; the root of a story."""
        self.slot += 1
        fees = PoolFees(2_500, 120_000, 40_000)
        seen = PoolUpdated(
            "raydium_cpmm", pool, Slot(self.slot), WSOL, USDC, reserve_a, 150 * 10**9, fees, open=True
        )
        root = derived_id("story", len(self.events))
        return self.record(
            f"pool-{pool}", lambda _: seen, correlation=root, causation=None, actor="recorder", slot=self.slot
        )

    def open_wallet(self, wallet: Address = WALLET, lamports: int = 10 * 10**9) -> RecordedEvent:
        """A wallet with lamports of its own and as many wrapped."""
        stream = f"wallet-{wallet}"
        opened = self.record(
            stream,
            lambda base: WalletOpened(
                **base,
                originator_topic="wallet",
                address=wallet,
                token_accounts=(
                    TokenAccount(WSOL, Address(f"{wallet[:-4]}wsoL")),
                    TokenAccount(USDC, Address(f"{wallet[:-4]}usdc")),
                ),
                reserve_lamports=Lamports(10_000_000),
            ),
            correlation=derived_id("wallet", wallet),
            causation=None,
        )
        lines = [
            Posting(account, mint, amount)
            for mint in (NATIVE, WSOL)
            for account, amount in ((f"wallet:{wallet}", lamports), ("outside:faucet", -lamports))
        ]
        self.transfer(opened, wallet, "deposit", "", lines)
        return opened

    def transfer(
        self, cause: RecordedEvent, wallet: Address, kind: str, reference: str, postings: Sequence[Posting]
    ) -> RecordedEvent:
        """Money moved on chain and is booked."""
        return self.after(
            cause,
            f"wallet-{wallet}",
            WalletTransferred,
            self.slot,
            kind=kind,
            reference=reference,
            signature=Signature(f"sig-{reference or kind}-{len(self.events)}"),
            slot=Slot(self.slot),
            postings=tuple(postings),
        )

    def disagree(self, wallet: Address, mint: Mint, expected: int, actual: int) -> RecordedEvent:
        """The chain and the log were found to disagree."""
        return self.record(
            f"wallet-{wallet}",
            lambda base: DiscrepancyFound(
                **base, mint=mint, expected=expected, actual=actual, slot=Slot(self.slot)
            ),
            correlation=derived_id("reconcile", len(self.events)),
            causation=None,
            slot=self.slot,
        )


@dataclass(slots=True)
class Story:
    """One opportunity and what comes of it, step by step; every step is optional but the order is yours.

    Attributes:
        history: where it is written.
        name: makes its ids; two stories need two names.
        strategy: the strategy's name.
        wallet: whose.
        input_lamports: wrapped SOL that goes in.
        profit_lamports: gross: what comes out less what went in.
    """

    history: History
    name: str
    strategy: str = STRATEGY
    wallet: Address = WALLET
    input_lamports: int = 1_000_000_000
    profit_lamports: int = 50_000
    opportunity: str = field(init=False)
    order: str = field(init=False)
    opportunity_id: str = field(init=False)
    order_id: str = field(init=False)
    seen: RecordedEvent = field(init=False)
    last: RecordedEvent = field(init=False)
    attempt: int = 0

    def __post_init__(self) -> None:
        self.opportunity_id = str(derived_id("opportunity", self.name))
        self.order_id = str(derived_id("order", self.name))
        self.opportunity = f"opportunity-{self.opportunity_id}"
        self.order = f"order-{self.order_id}"

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Wrapped SOL to USDC in one pool and back in the other."""
        usdc, out = self.input_lamports * 150 // 1000, self.input_lamports + self.profit_lamports
        return (
            Leg("raydium_cpmm", POOL_A, WSOL, USDC, self.input_lamports, usdc, usdc),
            Leg("raydium_cpmm", POOL_B, USDC, WSOL, usdc, out, out),
        )

    @property
    def signature(self) -> Signature:
        """Of the newest attempt."""
        return Signature(f"sig-{self.name}-{self.attempt}")

    def found(self) -> Story:
        """A market event, and the opportunity it shows."""
        self.seen = self.history.market()
        self.last = self.history.after(
            self.seen,
            self.opportunity,
            OpportunityFound,
            self.history.slot,
            originator_topic="opportunity",
            strategy=f"strategy-{self.strategy}",
            wallet=f"wallet-{self.wallet}",
            legs=self.legs,
            costs=COSTS,
            expected_profit_lamports=Lamports(self.profit_lamports - COSTS.total_lamports),
            slot=Slot(self.history.slot),
            seen_at=self.seen.recorded_at,
        )
        return self

    def declined(self, reason: str = "stale") -> Story:
        """The coordinator will not take it."""
        return self._next(self.opportunity, OpportunityDeclined, reason=reason, found="9 slots, limit 5")

    def placed(self) -> Story:
        """Funds are reserved and the order is on record."""
        found = self.last
        self.history.after(
            found,
            f"wallet-{self.wallet}",
            FundsReserved,
            order=self.order,
            mint=WSOL,
            amount=self.input_lamports,
            native_lamports=COSTS.total_lamports,
        )
        return self._next(
            self.order,
            OrderPlaced,
            originator_topic="order",
            opportunity=self.opportunity,
            strategy=f"strategy-{self.strategy}",
            wallet=f"wallet-{self.wallet}",
            legs=self.legs,
            costs=COSTS,
            expected_profit_lamports=Lamports(self.profit_lamports - COSTS.total_lamports),
            compute_unit_limit=200_000,
            compute_unit_price_micro_lamports=5_000,
            seen_at=self.seen.recorded_at,
        )

    def signed(self) -> Story:
        """The next attempt is signed."""
        self.attempt += 1
        return self._next(
            self.order,
            OrderSigned,
            attempt=self.attempt,
            signature=self.signature,
            transaction="AQID",
            blockhash=Blockhash("blockhash"),
            last_valid_block_height=BlockHeight(self.history.slot + 150),
            lease_epoch=1,
        )

    def submitted(self, send: int = 1) -> Story:
        """The bytes went out."""
        return self._next(
            self.order, OrderSubmitted, attempt=self.attempt, send=send, route="rpc", answer="accepted"
        )

    def observed(self, error: str | None = None) -> Story:
        """A node saw it."""
        facts: dict[str, Any] = {
            "slot": Slot(self.history.slot),
            "commitment": Commitment.PROCESSED,
            "error": error,
        }
        return self._next(self.order, OrderObserved, self.history.slot, attempt=self.attempt, **facts)

    def rolled_back(self) -> Story:
        """Its slot vanished."""
        return self._next(self.order, OrderRolledBack, attempt=self.attempt, slot=Slot(self.history.slot))

    def expired(self) -> Story:
        """The attempt can never land."""
        slot = self.history.slot + 151
        return self._next(
            self.order,
            OrderExpired,
            attempt=self.attempt,
            finalized_block_height=BlockHeight(slot),
            asked_slot=Slot(slot),
        )

    def abandoned(self, reason: str = "no_longer_profitable") -> Story:
        """It is wanted no more."""
        self._next(self.order, OrderAbandoned, reason=reason, found="the price moved away")
        return self.released()

    def landed(self) -> Story:
        """Finalized: landed, filled, booked, released."""
        slot = Slot(self.history.slot)
        fee = Lamports(COSTS.base_fee_lamports + COSTS.priority_fee_lamports)
        facts: dict[str, Any] = {"signature": self.signature, "slot": slot}
        self._next(self.order, OrderLanded, slot, attempt=self.attempt, fee_lamports=fee, **facts)
        for number, leg in enumerate(self.legs):
            self._next(
                self.order,
                OrderFilled,
                slot,
                leg=number,
                pool=leg.pool,
                mint_in=leg.mint_in,
                mint_out=leg.mint_out,
                amount_in=leg.amount_in,
                amount_out=leg.quoted_amount_out,
                **facts,
            )
        self.history.transfer(self.last, self.wallet, "trade", self.order, self._postings(fee))
        return self.released()

    def failed(self, error: str = "custom program error: 0x1775") -> Story:
        """Finalized, but refused by a program: the fee is gone."""
        slot = Slot(self.history.slot)
        fee = Lamports(COSTS.base_fee_lamports + COSTS.priority_fee_lamports)
        facts: dict[str, Any] = {"signature": self.signature, "slot": slot, "error": error}
        self._next(self.order, OrderFailed, slot, attempt=self.attempt, fee_lamports=fee, **facts)
        lines = [Posting(f"wallet:{self.wallet}", NATIVE, -fee), Posting("fees:network", NATIVE, fee)]
        self.history.transfer(self.last, self.wallet, "fee", self.order, lines)
        return self.released()

    def released(self) -> Story:
        """What was reserved is free again."""
        self.history.after(self.last, f"wallet-{self.wallet}", FundsReleased, order=self.order)
        return self

    def _postings(self, fee: int) -> list[Posting]:
        wallet, tip = f"wallet:{self.wallet}", COSTS.tip_lamports
        usdc = self.legs[0].quoted_amount_out
        return [
            Posting(wallet, WSOL, self.profit_lamports),
            Posting(f"pool:{POOL_A}", WSOL, self.input_lamports),
            Posting(f"pool:{POOL_B}", WSOL, -self.input_lamports - self.profit_lamports),
            Posting(f"pool:{POOL_A}", USDC, -usdc),
            Posting(f"pool:{POOL_B}", USDC, usdc - 3),
            Posting(wallet, USDC, 3),
            Posting(wallet, NATIVE, -fee - tip),
            Posting("fees:network", NATIVE, fee),
            Posting(f"tips:{TIPPED}", NATIVE, tip),
        ]

    def _next(
        self,
        stream: str,
        kind: type[AggregateEvent],
        slot: int | None = None,
        /,
        **facts: Any,  # noqa: ANN401 - the fields of any event
    ) -> Story:
        self.last = self.history.after(self.last, stream, kind, slot, **facts)
        return self


def landed_trade(history: History, name: str, **settings: Any) -> Story:  # noqa: ANN401 - fields of Story
    """One trade from the tick to the settled books."""
    return Story(history, name, **settings).found().placed().signed().submitted().observed().landed()


def random_history(seed: int, stories: int) -> History:
    """A wallet and many stories with every kind of end, the same ones for the same seed."""
    random, history = Random(seed), History()
    history.open_wallet()
    for number in range(stories):
        story = Story(
            history,
            f"{seed}-{number}",
            strategy=random.choice(("arbitrage-a", "arbitrage-b")),
            input_lamports=random.randrange(1_000_000, 10**9),
            profit_lamports=random.randrange(-20_000, 200_000),
        )
        random.choice(_PLOTS)(story.found())
        history.now += random.randrange(0, 6 * 3_600_000_000)
        if random.random() < 0.3:
            history.market(POOL_B)
    return history


_PLOTS: tuple[Callable[[Story], Story], ...] = (
    lambda story: story,
    lambda story: story.declined(),
    lambda story: story.placed(),
    lambda story: story.placed().signed(),
    lambda story: story.placed().signed().submitted().observed().landed(),
    lambda story: story.placed().signed().submitted().submitted(2).observed().landed(),
    lambda story: story.placed().signed().landed(),
    lambda story: story.placed().signed().submitted().observed("custom program error: 0x1775").failed(),
    lambda story: story.placed().signed().submitted().observed().rolled_back().observed().landed(),
    lambda story: story.placed().signed().submitted().expired().signed().submitted().observed().landed(),
    lambda story: story.placed().abandoned(),
)
