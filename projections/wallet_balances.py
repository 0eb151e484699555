"""What each wallet holds, by the log: balance, what orders have set aside, what is free.

One row for each (wallet, mint); `native` stands for lamports outside any token account. A booking that
contradicts the log halts this read model: a wrong balance is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.chain import NATIVE, Address
from domain.wallets.events import (
    DiscrepancyFound,
    DiscrepancyResolved,
    FundsReleased,
    FundsReserved,
    WalletOpened,
    WalletTransferred,
)
from domain.wallets.ledger import of_account, wallet_account
from projections.ports import Condition, FoldEvent, ReadStore, Row, Rows, Table
from projections.read_model import Keys, ReadModel, Step, columns, known, name_of

NAME: Final = "wallet_balances"
VERSION: Final = 2

BALANCES: Final = "balances"
RESERVATIONS: Final = "reservations"

TABLES: Final = (
    Table(
        BALANCES,
        columns(
            wallet="text",
            mint="text",
            balance="numeric",
            reserved="numeric",
            discrepancy="boolean",
            actual="numeric?",
            updated_position="bigint",
            updated_slot="bigint?",
        ),
        key=("wallet", "mint"),
    ),
    Table(
        RESERVATIONS,
        columns(
            wallet="text",
            order_id="text",
            mint="text",
            amount="numeric",
            native_lamports="numeric",
            open="boolean",
        ),
        key=("wallet", "order_id"),
    ),
)

MAX_BALANCES: Final = 10_000
"""Rows of one answer: a thousand wallets with ten mints each."""


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """One wallet's holding of one mint, in base units.

    Attributes:
        wallet: the wallet's address.
        mint: the token; `native` for lamports.
        balance: what the log says the wallet holds.
        reserved: set aside for open orders.
        discrepancy: whether the chain was found to disagree, and nobody resolved that since.
        actual: what the chain held when it disagreed; none where nothing is unresolved.
        updated_position: the last event that touched this row.
        updated_slot: the slot that event speaks of.
    """

    wallet: str
    mint: str
    balance: int
    reserved: int
    discrepancy: bool
    actual: int | None
    updated_position: int
    updated_slot: int | None

    @property
    def available(self) -> int:
        """What a new order may count on, base units."""
        return self.balance - self.reserved


@dataclass(frozen=True, slots=True)
class WalletBalances:
    """Balances and the position of the log they reflect."""

    balances: tuple[WalletBalance, ...]
    position: int


async def wallet_balances(store: ReadStore, wallet: str | None = None) -> WalletBalances:
    """The balances of one wallet, or of all, by wallet and mint (at most `MAX_BALANCES`)."""
    where = [Condition("wallet", "=", wallet)] if wallet is not None else []
    found = await store.select(
        READ_MODEL, BALANCES, where=where, order_by=[("wallet", False), ("mint", False)], limit=MAX_BALANCES
    )
    return WalletBalances(tuple(WalletBalance(**row) for row in found.rows), found.position)


# --- the fold ------------------------------------------------------------------------------------


def _wallet_keys(event: FoldEvent) -> Keys:
    return ((BALANCES, (name_of(event.stream),)),)


def _reservation_keys(event: FoldEvent) -> Keys:
    wallet = name_of(event.stream)
    return ((BALANCES, (wallet,)), (RESERVATIONS, (wallet, name_of(event.event.order))))


def _reserved_keys(event: FoldEvent) -> Keys:
    return ((RESERVATIONS, (name_of(event.stream), name_of(event.event.order))),)


def _touched(rows: Rows, event: FoldEvent, wallet: str, mint: str) -> Row:
    """The wallet's row of a mint, to be changed by this event."""
    key = (wallet, mint)
    row = rows.own(BALANCES, key)
    if row is None:
        row = {
            "wallet": wallet,
            "mint": mint,
            "balance": 0,
            "reserved": 0,
            "discrepancy": False,
            "actual": None,
            "updated_position": 0,
            "updated_slot": None,
        }
        rows.put(BALANCES, key, row)
    row["updated_position"] = event.position
    slot = event.slot
    if slot is not None:
        row["updated_slot"] = slot
    return row


def _opened(rows: Rows, event: FoldEvent) -> None:
    facts: WalletOpened = event.event
    wallet = name_of(event.stream)
    for mint in (NATIVE, *(account.mint for account in facts.token_accounts)):
        _touched(rows, event, wallet, mint)


def _transferred(rows: Rows, event: FoldEvent) -> None:
    facts: WalletTransferred = event.event
    wallet = name_of(event.stream)
    for mint, amount in of_account(facts.postings, wallet_account(Address(wallet))).items():
        _touched(rows, event, wallet, mint)["balance"] += amount


def _reserved(rows: Rows, event: FoldEvent) -> None:
    facts: FundsReserved = event.event
    wallet, order = name_of(event.stream), name_of(facts.order)
    _touched(rows, event, wallet, facts.mint)["reserved"] += facts.amount
    _touched(rows, event, wallet, NATIVE)["reserved"] += facts.native_lamports
    rows.put(
        RESERVATIONS,
        (wallet, order),
        {
            "wallet": wallet,
            "order_id": order,
            "mint": facts.mint,
            "amount": facts.amount,
            "native_lamports": facts.native_lamports,
            "open": True,
        },
    )


def _released(rows: Rows, event: FoldEvent) -> None:
    facts: FundsReleased = event.event
    wallet, order = name_of(event.stream), name_of(facts.order)
    kept = known(rows, RESERVATIONS, (wallet, order), event)
    if kept["open"]:
        _touched(rows, event, wallet, kept["mint"])["reserved"] -= kept["amount"]
        _touched(rows, event, wallet, NATIVE)["reserved"] -= kept["native_lamports"]
        rows.put(RESERVATIONS, (wallet, order), {**kept, "open": False})


def _disagreed(rows: Rows, event: FoldEvent) -> None:
    facts: DiscrepancyFound = event.event
    row = _touched(rows, event, name_of(event.stream), facts.mint)
    row["discrepancy"], row["actual"] = True, facts.actual


def _resolved(rows: Rows, event: FoldEvent) -> None:
    facts: DiscrepancyResolved = event.event
    row = _touched(rows, event, name_of(event.stream), facts.mint)
    row["discrepancy"], row["actual"] = False, None


READ_MODEL: Final = ReadModel(
    NAME,
    VERSION,
    TABLES,
    {
        "wallet.opened": Step(_wallet_keys, _opened),
        "wallet.transferred": Step(_wallet_keys, _transferred, facts=("postings",)),
        "wallet.funds_reserved": Step(_wallet_keys, _reserved, makes=_reserved_keys),
        "wallet.funds_released": Step(_reservation_keys, _released),
        "wallet.discrepancy_found": Step(_wallet_keys, _disagreed),
        "wallet.discrepancy_resolved": Step(_wallet_keys, _resolved),
    },
    halts_on_poison=True,
)
