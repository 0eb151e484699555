"""Events and appends for tests of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from adapters.memory.event_log import MemoryEventLog
from adapters.postgres.event_log import PostgresEventLog
from commands.ports import Bookmarks, Leases, Snapshots, StreamAppend
from domain.chain import Address, Mint, Signature, Slot
from domain.events import ANY_VERSION, Cause, DomainEvent, to_datetime
from domain.market.events import PoolFees, PoolUpdated
from domain.money import Lamports
from domain.trading.events import Costs, OrderLanded, OrderPlaced

Log = PostgresEventLog | MemoryEventLog


@dataclass(frozen=True)
class Kept:
    """One implementation of the log and of what stands beside it."""

    log: Log
    leases: Leases
    bookmarks: Bookmarks
    snapshots: Snapshots


STORY = UUID("00000000-0000-4000-8000-000000000001")
CAUSE = Cause(STORY, None, "tests")
AT = 1_700_000_000_000_001


def pool_updated(reserve: int = 1_000, *, pool: str = "Pool1") -> PoolUpdated:
    """A pool seen with this reserve."""
    return PoolUpdated(
        "raydium_cpmm",
        Address(pool),
        Slot(7),
        Mint("A"),
        Mint("B"),
        reserve,
        2_000,
        PoolFees(2_500, 1, 2),
        True,
    )


def order_placed(order: str) -> OrderPlaced:
    """The first event of an order's stream."""
    return OrderPlaced(
        originator_id=order,
        originator_version=1,
        timestamp=to_datetime(AT),
        originator_topic="order",
        opportunity="opportunity-1",
        strategy="strategy-main",
        wallet="wallet-W",
        legs=(),
        costs=Costs(Lamports(5_000), Lamports(10), Lamports(0)),
        expected_profit_lamports=Lamports(123),
        compute_unit_limit=200_000,
        compute_unit_price_micro_lamports=50,
        seen_at=AT,
    )


def order_landed(order: str, version: int) -> OrderLanded:
    """A later event of an order's stream."""
    return OrderLanded(
        originator_id=order,
        originator_version=version,
        timestamp=to_datetime(AT),
        attempt=1,
        signature=Signature("sig"),
        slot=Slot(9),
        fee_lamports=Lamports(5_000),
    )


def to(
    stream: str,
    *events: DomainEvent,
    expected: int = ANY_VERSION,
    cause: Cause = CAUSE,
    at: int = AT,
    slot: Slot | None = None,
) -> StreamAppend:
    """An append to one stream; one pool event when none is given."""
    given: Sequence[DomainEvent] = events or (pool_updated(),)
    return StreamAppend(stream, expected, given, cause, at, slot)


def new_id() -> UUID:
    """A fresh append id."""
    return uuid4()
