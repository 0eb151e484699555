"""Realised profit and loss: for each order, and summed by wallet, day (UTC) and strategy.

The result of an order is what its booked transaction changed in the wallet's lamports, wrapped or not: input,
output, fee and tip are all in it. Other mints that a trade leaves behind (a few base units of dust) are kept
beside it, so that nothing is lost. A failed order's fee is its loss. Money: a contradiction halts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from domain.errors import InvalidInput
from domain.events import to_datetime
from domain.trading.events import OrderPlaced
from domain.wallets.events import WalletTransferred
from projections.bookings import Booked, booked
from projections.ports import Condition, FoldEvent, ReadStore, Row, Rows, Table
from projections.read_model import Keys, ReadModel, Step, columns, known, name_of

NAME: Final = "pnl"
VERSION: Final = 1

ORDERS: Final = "orders"
DAILY: Final = "daily"

TABLES: Final = (
    Table(
        ORDERS,
        columns(
            order_id="text",
            strategy="text",
            wallet="text",
            outcome="text",
            signature="text?",
            slot="bigint?",
            booked_at="bigint?",
            gross_lamports="numeric",
            fee_lamports="numeric",
            tip_lamports="numeric",
            realised_lamports="numeric",
            residuals="json",
        ),
        key=("order_id",),
    ),
    Table(
        DAILY,
        columns(
            wallet="text",
            day="text",
            strategy="text",
            landed="bigint",
            failed="bigint",
            wins="bigint",
            gross_lamports="numeric",
            fee_lamports="numeric",
            tip_lamports="numeric",
            realised_lamports="numeric",
            residuals="json",
        ),
        key=("wallet", "day", "strategy"),
        indexes=(("day",), ("strategy", "day")),
    ),
)

MAX_DAYS: Final = 50_000
"""Daily rows behind one answer: a hundred wallets over more than a year."""

_DAY_US: Final = 86_400_000_000
_OUTCOMES: Final = {"trade": "landed", "fee": "failed"}


class Grouping(StrEnum):
    """How an answer is cut: one line for each day, or one for the whole range."""

    DAY = "day"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Result:
    """Profit and loss of a group of orders.

    Attributes:
        wallet, strategy: whose; empty in a sum over several.
        day: `YYYY-MM-DD` in UTC; empty in a sum over several days.
        landed: orders whose transaction succeeded.
        failed: orders whose transaction a program refused; they cost their fee.
        wins: landed orders that left the wallet richer.
        gross_lamports: before fee and tip.
        fee_lamports: base and priority fees taken by the network.
        tip_lamports: tips paid inside the transactions.
        realised_lamports: gross less fee less tip: what the wallet's lamports, wrapped or not, gained.
        residuals: other mints left behind, base units by mint.
    """

    wallet: str
    strategy: str
    day: str
    landed: int
    failed: int
    wins: int
    gross_lamports: int
    fee_lamports: int
    tip_lamports: int
    realised_lamports: int
    residuals: dict[str, int]


@dataclass(frozen=True, slots=True)
class Pnl:
    """Results by group, their sum, and the position of the log they reflect."""

    results: tuple[Result, ...]
    overall: Result
    position: int


async def pnl(
    store: ReadStore,
    *,
    strategy: str | None = None,
    wallet: str | None = None,
    first_day: str | None = None,
    last_day: str | None = None,
    by: Grouping = Grouping.TOTAL,
) -> Pnl:
    """Realised results, by day or in total, newest day first; days are `YYYY-MM-DD`, both ends included.

    Raises:
        InvalidInput: more than `MAX_DAYS` daily rows are asked for.
    """
    wanted = (
        ("strategy", "=", strategy),
        ("wallet", "=", wallet),
        ("day", ">=", first_day),
        ("day", "<=", last_day),
    )
    where = [Condition(*condition) for condition in wanted if condition[2] is not None]
    order = [("day", True), ("wallet", False), ("strategy", False)]
    found = await store.select(READ_MODEL, DAILY, where=where, order_by=order, limit=MAX_DAYS + 1)
    if len(found.rows) > MAX_DAYS:
        raise InvalidInput(
            f"profit and loss over more than {MAX_DAYS:,} daily rows: narrow it by day, wallet or strategy"
        )
    days = [Result(**row) for row in found.rows]
    results = days if by is Grouping.DAY else _by_wallet_and_strategy(days)
    return Pnl(tuple(results), _sum(days, "", ""), found.position)


def _by_wallet_and_strategy(days: Iterable[Result]) -> list[Result]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for day in days:
        groups.setdefault((day.wallet, day.strategy), []).append(day)
    return [_sum(groups[group], *group) for group in sorted(groups)]


def _sum(days: Iterable[Result], wallet: str, strategy: str) -> Result:
    total = Result(wallet, strategy, "", 0, 0, 0, 0, 0, 0, 0, {})
    for day in days:
        total = replace(
            total,
            landed=total.landed + day.landed,
            failed=total.failed + day.failed,
            wins=total.wins + day.wins,
            gross_lamports=total.gross_lamports + day.gross_lamports,
            fee_lamports=total.fee_lamports + day.fee_lamports,
            tip_lamports=total.tip_lamports + day.tip_lamports,
            realised_lamports=total.realised_lamports + day.realised_lamports,
            residuals=_merged(total.residuals, day.residuals),
        )
    return total


# --- the fold ------------------------------------------------------------------------------------


def _no_keys(_event: FoldEvent) -> Keys:
    return ()  # a new order reads no row


def _order_keys(event: FoldEvent) -> Keys:
    return ((ORDERS, (name_of(event.stream),)),)


def _booking_keys(event: FoldEvent) -> Keys:
    facts: WalletTransferred = event.event
    if facts.kind not in _OUTCOMES or not facts.reference:
        return ()
    return (
        (ORDERS, (name_of(facts.reference),)),
        (DAILY, (name_of(event.stream), _day(event))),
    )


def _placed(rows: Rows, event: FoldEvent) -> None:
    facts: OrderPlaced = event.event
    order = name_of(event.stream)
    rows.put(
        ORDERS,
        (order,),
        {
            "order_id": order,
            "strategy": name_of(facts.strategy),
            "wallet": name_of(facts.wallet),
            "outcome": "open",
            "signature": None,
            "slot": None,
            "booked_at": None,
            "gross_lamports": 0,
            "fee_lamports": 0,
            "tip_lamports": 0,
            "realised_lamports": 0,
            "residuals": {},
        },
    )


def _transferred(rows: Rows, event: FoldEvent) -> None:
    facts: WalletTransferred = event.event
    outcome = _OUTCOMES.get(facts.kind)
    if outcome is None or not facts.reference:
        return  # money that no order moved: a deposit, or a fee that somebody booked by hand
    order_id, wallet = name_of(facts.reference), name_of(event.stream)
    known(rows, ORDERS, (order_id,), event)
    result = booked(facts.postings, wallet)
    order = rows.own(ORDERS, (order_id,))
    assert order is not None  # noqa: S101 - it is known
    _add(order, result)
    order["outcome"] = outcome
    order["signature"] = facts.signature
    order["slot"] = facts.slot
    order["booked_at"] = event.recorded_at
    _add_to_day(rows, (wallet, _day(event), order["strategy"]), outcome, result)


def _add_to_day(rows: Rows, key: tuple[str, str, str], outcome: str, result: Booked) -> None:
    row = rows.own(DAILY, key)
    if row is None:
        wallet, day, strategy = key
        row = {
            "wallet": wallet,
            "day": day,
            "strategy": strategy,
            "landed": 0,
            "failed": 0,
            "wins": 0,
            "gross_lamports": 0,
            "fee_lamports": 0,
            "tip_lamports": 0,
            "realised_lamports": 0,
            "residuals": {},
        }
        rows.put(DAILY, key, row)
    _add(row, result)
    row[outcome] += 1
    row["wins"] += outcome == "landed" and result.realised_lamports > 0


def _add(row: Row, result: Booked) -> None:
    row["gross_lamports"] += result.gross_lamports
    row["fee_lamports"] += result.fee_lamports
    row["tip_lamports"] += result.tip_lamports
    row["realised_lamports"] += result.realised_lamports
    if result.residuals:
        row["residuals"] = _merged(row["residuals"], result.residuals)


def _merged(some: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    total = {mint: some.get(mint, 0) + more.get(mint, 0) for mint in sorted({*some, *more})}
    return {mint: amount for mint, amount in total.items() if amount}


def _day(event: FoldEvent) -> str:
    return _date(event.recorded_at // _DAY_US)


@lru_cache(maxsize=1_024)
def _date(days: int) -> str:
    """Days since the epoch as `YYYY-MM-DD`."""
    return to_datetime(days * _DAY_US).date().isoformat()


READ_MODEL: Final = ReadModel(
    NAME,
    VERSION,
    TABLES,
    {
        "order.placed": Step(_no_keys, _placed, facts=("strategy", "wallet"), makes=_order_keys),
        "wallet.transferred": Step(
            _booking_keys, _transferred, facts=("kind", "reference", "signature", "slot", "postings")
        ),
    },
    halts_on_poison=True,
)
