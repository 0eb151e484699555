"""A trading history of any length for benchmarks: stories of twenty events, as the demo writes them.

Of each story's events nine are market events, one is the opportunity, seven are its order's (placed, signed,
submitted, observed, landed, two fills) and three its wallet's (reserved, booked, released). A hundred wallets
trade four strategies, and a day passes every 5,000 stories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.postgres.event_log import PostgresEventLog
from commands.ports import StreamAppend
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
from domain.events import ANY_VERSION, Cause, derived_id, to_datetime
from domain.market.events import PoolFees, PoolUpdated
from domain.money import Lamports
from domain.trading.events import (
    Costs,
    Leg,
    OpportunityFound,
    OrderFilled,
    OrderLanded,
    OrderObserved,
    OrderPlaced,
    OrderSigned,
    OrderSubmitted,
)
from domain.wallets.events import (
    FundsReleased,
    FundsReserved,
    Posting,
    TokenAccount,
    WalletOpened,
    WalletTransferred,
)

EVENTS_OF_A_STORY: Final = 20
MARKET_EVENTS: Final = 9
WALLETS: Final = 100
STRATEGIES: Final = 4
STORIES_OF_A_DAY: Final = 5_000
STORIES_OF_A_BATCH: Final = 250
"""Stories that run at the same time: their orders and bookings lie this far apart in the log."""

START_US: Final = 1_767_225_600_000_000
POOLS: Final = (Address("A" * 44), Address("B" * 44))
COSTS: Final = Costs(Lamports(5_000), Lamports(1_000), Lamports(2_000))
INPUT: Final = 1_000_000_000
PROFIT: Final = 50_000


@dataclass(slots=True)
class Histories:
    """Writes stories one batch after the other; ids follow from the seed and a story's number.

    Attributes:
        seed: two histories of one log need two.
        stories: written so far.
    """

    seed: str
    stories: int = 0
    _versions: dict[str, int] = field(default_factory=dict)

    def opening(self) -> list[StreamAppend]:
        """The wallets' openings; the first batch."""
        cause = Cause(derived_id(self.seed, "opening"), None, "benchmark")
        return [
            self._append(
                f"wallet-{self.wallet(number)}",
                cause,
                START_US,
                [
                    (
                        WalletOpened,
                        {
                            "originator_topic": "wallet",
                            "address": self.wallet(number),
                            "token_accounts": (TokenAccount(WSOL, Address("W" * 44)),),
                            "reserve_lamports": Lamports(10_000_000),
                        },
                    )
                ],
            )
            for number in range(WALLETS)
        ]

    def wallet(self, number: int) -> Address:
        """The address of a story's wallet."""
        return Address(f"{self.seed}{number % WALLETS:03d}".rjust(44, "1"))

    def batch(self, stories: int = STORIES_OF_A_BATCH) -> list[StreamAppend]:
        """So many stories side by side: markets, opportunities, orders, then each wallet's bookings."""
        numbers = range(self.stories, self.stories + stories)
        self.stories += stories
        appends = [self._market(numbers)]
        bookings: dict[Address, list[tuple[type[Any], dict[str, Any]]]] = {}
        for number in numbers:
            appends += self._order(number)
            bookings.setdefault(self.wallet(number), []).extend(self._booking(number))
        at_us, cause = self._at(numbers[-1]), self._cause(numbers[-1])
        for wallet, events in bookings.items():
            appends.append(self._append(f"wallet-{wallet}", cause, at_us, events))
        return appends

    def _market(self, numbers: range) -> StreamAppend:
        seen = [
            PoolUpdated(
                "raydium_cpmm",
                POOLS[number % 2],
                Slot(1_000 + number),
                WSOL,
                USDC,
                10**12 + number,
                150 * 10**9,
                PoolFees(2_500, 120_000, 40_000),
                open=True,
            )
            for number in numbers
            for _ in range(MARKET_EVENTS)
        ]
        at_us = self._at(numbers[0])
        return StreamAppend(f"pool-{POOLS[0]}", ANY_VERSION, seen, self._cause(numbers[0]), at_us)

    def _order(self, number: int) -> list[StreamAppend]:
        order, opportunity = self._id("order", number), self._id("opportunity", number)
        cause, at_us, slot = self._cause(number), self._at(number), Slot(1_000 + number)
        usdc, signature = INPUT * 150 // 1000, Signature(f"{number:088d}")
        legs = (
            Leg("raydium_cpmm", POOLS[0], WSOL, USDC, INPUT, usdc, usdc),
            Leg("raydium_cpmm", POOLS[1], USDC, WSOL, usdc, INPUT + PROFIT, INPUT),
        )
        whose = {
            "strategy": f"strategy-s{number % STRATEGIES}",
            "wallet": f"wallet-{self.wallet(number)}",
            "legs": legs,
            "costs": COSTS,
            "expected_profit_lamports": Lamports(PROFIT - COSTS.total_lamports),
            "seen_at": at_us,
        }
        attempt = {"attempt": 1}
        found = {"originator_topic": "opportunity", **whose, "slot": slot}
        placed = {
            "originator_topic": "order",
            **whose,
            "opportunity": opportunity,
            "compute_unit_limit": 200_000,
            "compute_unit_price_micro_lamports": 5_000,
        }
        seen = {**attempt, "slot": slot, "commitment": Commitment.PROCESSED, "error": None}
        landed = {**attempt, "signature": signature, "slot": slot, "fee_lamports": Lamports(6_000)}
        return [
            self._append(opportunity, cause, at_us, [(OpportunityFound, found)]),
            self._append(
                order,
                cause,
                at_us,
                [
                    (OrderPlaced, placed),
                    (OrderSigned, _signed(signature, slot)),
                    (OrderSubmitted, {**attempt, "send": 1, "route": "rpc", "answer": "accepted"}),
                    (OrderObserved, seen),
                    (OrderLanded, landed),
                    *((OrderFilled, _fill(place, leg, signature, slot)) for place, leg in enumerate(legs)),
                ],
            ),
        ]

    def _booking(self, number: int) -> list[tuple[type[Any], dict[str, Any]]]:
        order, wallet = self._id("order", number), self.wallet(number)
        reserved = {"order": order, "mint": WSOL, "amount": INPUT, "native_lamports": 8_000}
        booked = {
            "kind": "trade",
            "reference": order,
            "signature": Signature(f"{number:088d}"),
            "slot": Slot(1_000 + number),
            "postings": _postings(wallet),
        }
        return [
            (FundsReserved, reserved),
            (WalletTransferred, booked),
            (FundsReleased, {"order": order}),
        ]

    def _append(
        self, stream: str, cause: Cause, at_us: int, events: list[tuple[type[Any], dict[str, Any]]]
    ) -> StreamAppend:
        before = self._versions.get(stream, 0)
        if stream.startswith("wallet-"):
            self._versions[stream] = before + len(events)
        decided = to_datetime(at_us)
        made = [
            kind(originator_id=stream, originator_version=version, timestamp=decided, **facts)
            for version, (kind, facts) in enumerate(events, before + 1)
        ]
        return StreamAppend(stream, before, made, cause, at_us)

    def _id(self, kind: str, number: int) -> str:
        return f"{kind}-{derived_id(self.seed, kind, number)}"

    def _at(self, number: int) -> int:
        return START_US + number * 86_400_000_000 // STORIES_OF_A_DAY

    def _cause(self, number: int) -> Cause:
        return Cause(derived_id(self.seed, "story", number), None, "benchmark")


def _signed(signature: Signature, slot: Slot) -> dict[str, Any]:
    return {
        "attempt": 1,
        "signature": signature,
        "transaction": "A" * 400,
        "blockhash": Blockhash("h" * 44),
        "last_valid_block_height": BlockHeight(slot + 150),
        "lease_epoch": 1,
    }


def _fill(place: int, leg: Leg, signature: Signature, slot: Slot) -> dict[str, Any]:
    return {
        "leg": place,
        "pool": leg.pool,
        "mint_in": leg.mint_in,
        "mint_out": leg.mint_out,
        "amount_in": leg.amount_in,
        "amount_out": leg.quoted_amount_out,
        "signature": signature,
        "slot": slot,
    }


def _postings(wallet: Address) -> tuple[Posting, ...]:
    moved: list[tuple[str, Mint, int]] = [
        (f"wallet:{wallet}", WSOL, PROFIT),
        (f"pool:{POOLS[0]}", WSOL, INPUT),
        (f"pool:{POOLS[1]}", WSOL, -INPUT - PROFIT),
        (f"wallet:{wallet}", NATIVE, -8_000),
        ("fees:network", NATIVE, 6_000),
        ("tips:" + "T" * 44, NATIVE, 2_000),
    ]
    return tuple(Posting(*line) for line in moved)


async def fill(log: PostgresEventLog, events: int, seed: str = "bench") -> Histories:
    """Write about `events` events; returns the history, to be gone on with."""
    histories = Histories(seed)
    await log.bulk_append(histories.opening(), append_id=derived_id(seed, "append", "opening"))
    for number, appends in enumerate(_batches(histories, events)):
        await log.bulk_append(appends, append_id=derived_id(seed, "append", number))
    return histories


def _batches(histories: Histories, events: int) -> Iterator[list[StreamAppend]]:
    while histories.stories * EVENTS_OF_A_STORY < events:
        yield histories.batch()
