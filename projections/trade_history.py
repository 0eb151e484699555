"""Every order from intent to result: one row for each, with its legs, fills, times, costs and profit.

The order of the rows is the time the orders were placed, newest first. It shows realised profit, so it halts
on an event that contradicts the log.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from msgspec import to_builtins

from domain.trading.events import (
    Leg,
    OrderAbandoned,
    OrderFailed,
    OrderFilled,
    OrderLanded,
    OrderObserved,
    OrderPlaced,
    OrderSigned,
)
from domain.wallets.events import WalletTransferred
from projections.bookings import booked
from projections.ports import Condition, FoldEvent, ReadStore, Row, Rows, Table
from projections.read_model import (
    Keys,
    Page,
    ReadModel,
    Step,
    columns,
    count,
    counters,
    known,
    name_of,
    page_of,
)

NAME: Final = "trade_history"
VERSION: Final = 1

TRADES: Final = "trades"
COUNTS: Final = "counts"

TABLES: Final = (
    Table(
        TRADES,
        columns(
            order_id="text",
            opportunity_id="text",
            strategy="text",
            wallet="text",
            status="text",
            legs="json",
            fills="json",
            attempts="bigint",
            sends="bigint",
            signature="text?",
            slot="bigint?",
            fee_lamports="numeric?",
            tip_lamports="numeric",
            expected_profit_lamports="numeric",
            realised_profit_lamports="numeric?",
            seen_at="bigint",
            placed_at="bigint",
            signed_at="bigint?",
            submitted_at="bigint?",
            observed_at="bigint?",
            landed_at="bigint?",
            closed_at="bigint?",
            detect_to_land_us="bigint?",
            error="text?",
            placed_position="bigint",
            updated_position="bigint",
            correlation_id="text",
        ),
        key=("order_id",),
        indexes=(
            ("placed_at", "placed_position"),
            ("status", "placed_at", "placed_position"),
            ("strategy", "placed_at", "placed_position"),
            ("wallet", "placed_at", "placed_position"),
        ),
    ),
    counters(COUNTS),
)

LATENCY_BUCKETS_US: Final = tuple(
    milliseconds * 1000 for milliseconds in (10, 25, 50, 100, 150, 200, 300, 400, 500, 750, 1000, 2000, 5000)
)
"""Upper bounds of the detection-to-landing histogram; 500 ms is the promise, 5 s the roadmap's limit."""


class TradeStatus(StrEnum):
    """Where an order stands; the last four are the ends, though an expired one may be signed again."""

    PLACED = "placed"
    SIGNED = "signed"
    SUBMITTED = "submitted"
    OBSERVED = "observed"
    LANDED = "landed"
    FAILED = "failed"
    EXPIRED = "expired"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Fill:
    """What one leg traded on chain, base units."""

    leg: int
    pool: str
    mint_in: str
    mint_out: str
    amount_in: int
    amount_out: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One order's whole life. Times are microseconds since the epoch, by the recorders' clocks.

    Attributes:
        order_id: the order's stream behind `order-`.
        opportunity_id: what it came from.
        strategy: the strategy's name.
        wallet: the wallet's address.
        status: where it stands.
        legs: as intended.
        fills: as traded, by leg.
        attempts: transactions signed.
        sends: times the bytes went out.
        signature: of the newest attempt.
        slot: where it was executed.
        fee_lamports: what the network took.
        tip_lamports: the tip inside the transaction.
        expected_profit_lamports: as the opportunity promised.
        realised_profit_lamports: what the booked transaction changed in lamports, wrapped or not.
        seen_at: when the market event that led here was recorded.
        placed_at, signed_at, submitted_at, observed_at, landed_at: when each step of the newest attempt was
            recorded.
        closed_at: when it landed, failed or was abandoned.
        detect_to_land_us: from `seen_at` to the first sight of it on chain, successful.
        error: why it failed or was abandoned, in words.
        placed_position, updated_position: the first and last event folded.
        correlation_id: of its story.
    """

    order_id: str
    opportunity_id: str
    strategy: str
    wallet: str
    status: TradeStatus
    legs: tuple[Leg, ...]
    fills: tuple[Fill, ...]
    attempts: int
    sends: int
    signature: str | None
    slot: int | None
    fee_lamports: int | None
    tip_lamports: int
    expected_profit_lamports: int
    realised_profit_lamports: int | None
    seen_at: int
    placed_at: int
    signed_at: int | None
    submitted_at: int | None
    observed_at: int | None
    landed_at: int | None
    closed_at: int | None
    detect_to_land_us: int | None
    error: str | None
    placed_position: int
    updated_position: int
    correlation_id: str


@dataclass(frozen=True, slots=True)
class TradeFilter:
    """Which trades; none means any. `since` <= placed_at < `until`, microseconds since the epoch."""

    status: TradeStatus | None = None
    strategy: str | None = None
    wallet: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class TradeCursor:
    """Where a page ended: the last trade's time and place."""

    placed_at: int
    placed_position: int


@dataclass(frozen=True, slots=True)
class TradeCounts:
    """Figures of the whole history, kept by the fold.

    Attributes:
        by_status: orders at each status.
        latency: landed orders by upper bound of detection to landing, microseconds; -1 for beyond the last.
        latency_sum_us: of all landed orders.
        position: the position of the log they reflect.
    """

    by_status: dict[str, int]
    latency: dict[int, int]
    latency_sum_us: int
    position: int


async def trades(
    store: ReadStore, which: TradeFilter, *, first: int = 50, after: TradeCursor | None = None
) -> Page[Trade]:
    """The newest `first` trades that pass the filter, those behind `after` where it is given."""
    wanted = (
        ("status", "=", which.status.value if which.status is not None else None),
        ("strategy", "=", which.strategy),
        ("wallet", "=", which.wallet),
        ("placed_at", ">=", which.since),
        ("placed_at", "<", which.until),
    )
    found = await store.select(
        READ_MODEL,
        TRADES,
        where=[Condition(*condition) for condition in wanted if condition[2] is not None],
        order_by=[("placed_at", True), ("placed_position", True)],
        limit=first + 1,
        after=None if after is None else asdict(after),
    )
    return page_of([_trade(row) for row in found.rows], first, found.position)


async def trade(store: ReadStore, order_id: str) -> tuple[Trade | None, int]:
    """One trade, none when unknown, and the position of the log the answer reflects."""
    found = await store.select(READ_MODEL, TRADES, where=[Condition("order_id", "=", order_id)], limit=1)
    return (_trade(found.rows[0]) if found.rows else None), found.position


async def trade_counts(store: ReadStore) -> TradeCounts:
    """Orders by status and the histogram of detection to landing."""
    found = await store.select(READ_MODEL, COUNTS)
    numbers = {(row["kind"], row["name"]): row["value"] for row in found.rows}
    return TradeCounts(
        by_status={name: value for (kind, name), value in numbers.items() if kind == "status"},
        latency={int(name): value for (kind, name), value in numbers.items() if kind == "latency"},
        latency_sum_us=numbers.get(("latency_sum", "us"), 0),
        position=found.position,
    )


def _trade(row: Row) -> Trade:
    typed = {
        "status": TradeStatus(row["status"]),
        "legs": tuple(Leg(**leg) for leg in row["legs"]),
        "fills": tuple(Fill(**fill) for fill in row["fills"]),
    }
    return Trade(**{**row, **typed})


# --- the fold ------------------------------------------------------------------------------------


def _order_keys(event: FoldEvent) -> Keys:
    return ((TRADES, (name_of(event.stream),)), (COUNTS, ("status",)))


def _new_keys(_event: FoldEvent) -> Keys:
    return ((COUNTS, ("status",)),)


def _landing_keys(event: FoldEvent) -> Keys:
    return (*_order_keys(event), (COUNTS, ("latency",)), (COUNTS, ("latency_sum",)))


def _booking_keys(event: FoldEvent) -> Keys:
    facts: WalletTransferred = event.event
    return ((TRADES, (name_of(facts.reference),)),) if facts.reference else ()


def _placed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderPlaced = event.event
    order = name_of(event.stream)
    count(rows, COUNTS, ("status", TradeStatus.PLACED.value), 1)
    empty = dict.fromkeys(column.name for column in TABLES[0].columns if column.nullable)
    rows.put(
        TRADES,
        (order,),
        {
            **empty,
            "order_id": order,
            "opportunity_id": name_of(facts.opportunity),
            "strategy": name_of(facts.strategy),
            "wallet": name_of(facts.wallet),
            "status": TradeStatus.PLACED.value,
            "legs": to_builtins(facts.legs),
            "fills": [],
            "attempts": 0,
            "sends": 0,
            "tip_lamports": facts.costs.tip_lamports,
            "expected_profit_lamports": facts.expected_profit_lamports,
            "seen_at": facts.seen_at,
            "placed_at": event.recorded_at,
            "placed_position": event.position,
            "updated_position": event.position,
            "correlation_id": str(event.cause.correlation_id),
        },
    )


def _signed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderSigned = event.event
    change = {
        "attempts": facts.attempt,
        "signature": facts.signature,
        "signed_at": event.recorded_at,
        "submitted_at": None,
        "error": None,
        **_UNSEEN,
    }
    _change(rows, event, _row(rows, event), TradeStatus.SIGNED, change)


def _submitted(rows: Rows, event: FoldEvent) -> None:
    row = _row(rows, event)
    change = {"sends": row["sends"] + 1, "submitted_at": row["submitted_at"] or event.recorded_at}
    first = row["status"] == TradeStatus.SIGNED
    _change(rows, event, row, TradeStatus.SUBMITTED if first else TradeStatus(row["status"]), change)


def _observed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderObserved = event.event
    row = _row(rows, event)
    change: Row = {"slot": facts.slot, "error": facts.error}
    if row["observed_at"] is None:
        change["observed_at"] = event.recorded_at
        if facts.error is None:
            change["detect_to_land_us"] = event.recorded_at - row["seen_at"]
    _change(rows, event, row, TradeStatus.OBSERVED, change)


def _rolled_back(rows: Rows, event: FoldEvent) -> None:
    _change(rows, event, _row(rows, event), TradeStatus.SIGNED, {"error": None, **_UNSEEN})


def _landed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderLanded = event.event
    row = _row(rows, event)
    latency = row["detect_to_land_us"]
    if latency is None:
        latency = event.recorded_at - row["seen_at"]
    change = {
        "slot": facts.slot,
        "fee_lamports": facts.fee_lamports,
        "landed_at": event.recorded_at,
        "closed_at": event.recorded_at,
        "detect_to_land_us": latency,
    }
    _change(rows, event, row, TradeStatus.LANDED, change)
    bucket = next((bound for bound in LATENCY_BUCKETS_US if latency <= bound), -1)
    count(rows, COUNTS, ("latency", str(bucket)), 1)
    count(rows, COUNTS, ("latency_sum", "us"), latency)


def _filled(rows: Rows, event: FoldEvent) -> None:
    facts: OrderFilled = event.event
    fill = Fill(facts.leg, facts.pool, facts.mint_in, facts.mint_out, facts.amount_in, facts.amount_out)
    row = _row(rows, event)
    _change(rows, event, row, TradeStatus(row["status"]), {"fills": [*row["fills"], to_builtins(fill)]})


def _failed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderFailed = event.event
    change = {
        "slot": facts.slot,
        "fee_lamports": facts.fee_lamports,
        "error": facts.error,
        "closed_at": event.recorded_at,
        "detect_to_land_us": None,
    }
    _change(rows, event, _row(rows, event), TradeStatus.FAILED, change)


def _expired(rows: Rows, event: FoldEvent) -> None:
    _change(rows, event, _row(rows, event), TradeStatus.EXPIRED, dict(_UNSEEN))


def _abandoned(rows: Rows, event: FoldEvent) -> None:
    facts: OrderAbandoned = event.event
    change = {"error": f"{facts.reason}: {facts.found}", "closed_at": event.recorded_at}
    _change(rows, event, _row(rows, event), TradeStatus.ABANDONED, change)


def _transferred(rows: Rows, event: FoldEvent) -> None:
    facts: WalletTransferred = event.event
    if not facts.reference:
        return
    row = known(rows, TRADES, (name_of(facts.reference),), event)
    result = booked(facts.postings, name_of(event.stream))
    realised = (row["realised_profit_lamports"] or 0) + result.realised_lamports
    _change(rows, event, row, TradeStatus(row["status"]), {"realised_profit_lamports": realised})


_UNSEEN: Final[Row] = {"observed_at": None, "slot": None, "detect_to_land_us": None}


def _row(rows: Rows, event: FoldEvent) -> Row:
    return known(rows, TRADES, (name_of(event.stream),), event)


def _change(rows: Rows, event: FoldEvent, row: Row, status: TradeStatus, change: Row) -> None:
    if row["status"] != status:
        count(rows, COUNTS, ("status", row["status"]), -1)
        count(rows, COUNTS, ("status", status.value), 1)
    changed = {**row, **change, "status": status.value, "updated_position": event.position}
    rows.put(TRADES, (row["order_id"],), changed)


READ_MODEL: Final = ReadModel(
    NAME,
    VERSION,
    TABLES,
    {
        "order.placed": Step(_new_keys, _placed, makes=lambda event: ((TRADES, (name_of(event.stream),)),)),
        "order.signed": Step(_order_keys, _signed),
        "order.submitted": Step(_order_keys, _submitted),
        "order.observed": Step(_order_keys, _observed),
        "order.rolled_back": Step(_order_keys, _rolled_back),
        "order.landed": Step(_landing_keys, _landed),
        "order.filled": Step(_order_keys, _filled),
        "order.failed": Step(_order_keys, _failed),
        "order.expired": Step(_order_keys, _expired),
        "order.abandoned": Step(_order_keys, _abandoned),
        "wallet.transferred": Step(_booking_keys, _transferred),
    },
    halts_on_poison=True,
)
