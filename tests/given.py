"""Given, when, then: fold events into an aggregate, let it decide, look at what it decided; and a few pools.

Times are small numbers of microseconds: no test of a decision needs a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.chain import USDC, WSOL, Address, BlockHeight, Mint, Signature, Slot
from domain.events import RecordedEvent
from domain.market.amm.constant_product import ConstantProductPool
from domain.market.events import PoolFees, PoolUpdated
from domain.money import Lamports
from domain.strategies.events import ArbitrageParameters, RiskLimits
from domain.strategies.strategy import Strategy
from domain.trading.events import Costs, Leg, OpportunityFound
from domain.trading.opportunity import Opportunity
from domain.trading.order import Order
from domain.wallets.events import Posting, TokenAccount
from domain.wallets.ledger import outside_account, wallet_account
from domain.wallets.wallet import Wallet

OWNER = Address("Owner1111111111111111111111111111111111111")
WSOL_ACCOUNT = Address("OwnersWso1111111111111111111111111111111111")
USDC_ACCOUNT = Address("OwnersUsdc111111111111111111111111111111111")
POOL_A = Address("PooLA11111111111111111111111111111111111111")
POOL_B = Address("PooLB11111111111111111111111111111111111111")
SOL = 1_000_000_000
CORRELATION = UUID(int=7)

_Aggregate = TypeVar("_Aggregate", bound=BaseAggregate[str])


def decided(aggregate: BaseAggregate[str]) -> list[str]:
    """The topics of what the aggregate decided since it was last asked."""
    return [type(event).TOPIC for event in aggregate.collect_events()]  # type: ignore[attr-defined]  # ours all have one


def folded(kind: type[_Aggregate], events: Sequence[Any]) -> _Aggregate:
    """The aggregate that these events lead to."""
    aggregate = None
    for event in events:
        aggregate = event.mutate(aggregate)
    assert isinstance(aggregate, kind)
    return aggregate


def recorded(position: int, stream: str, version: int, event: object) -> RecordedEvent:
    """An event as the log would hold it."""
    kind: Any = type(event)
    return RecordedEvent(
        position, stream, version, kind.TOPIC, kind.class_version, position, CORRELATION.bytes, None, "test",
        None, event,
    )  # fmt: skip


def pool(
    address: Address = POOL_A,
    sol: int = 1_000 * SOL,
    usdc: int = 150_000_000_000,
    *,
    slot: int = 100,
    trade_rate: int = 2_500,
    is_open: bool = True,
) -> PoolUpdated:
    """A SOL/USDC pool: 1,000 SOL at 150 USDC and a fee of 0.25 % unless said otherwise."""
    fees = PoolFees(trade_rate, 120_000, 40_000)
    return PoolUpdated("raydium_cpmm", address, Slot(slot), WSOL, USDC, sol, usdc, fees, is_open)


def swapped(curve: ConstantProductPool, amount: int, *, a_to_b: bool) -> int:
    """What a pool pays."""
    return curve.quote_exact_in(amount, a_to_b=a_to_b).amount_out


def parameters(**changes: object) -> ArbitrageParameters:
    """Ordinary parameters: at least 10,000 lamports of profit, at most 50 SOL in."""
    values: dict[str, Any] = {
        "mint": WSOL,
        "min_profit_lamports": Lamports(10_000),
        "max_input": 50 * SOL,
        "compute_unit_limit": 200_000,
        "compute_unit_price_micro_lamports": 1_000,
        "tip_lamports": Lamports(1_000),
        "max_quote_age_slots": 150,
    }
    return ArbitrageParameters(**(values | changes))


def limits(**changes: object) -> RiskLimits:
    """Ordinary limits: 50 SOL an order, 2 open orders, 1 SOL of losses."""
    values: dict[str, Any] = {
        "max_order_input": 50 * SOL,
        "max_open_orders": 2,
        "max_loss_lamports": Lamports(SOL),
    }
    return RiskLimits(**(values | changes))


def a_strategy(name: str = "one", **changes: object) -> Strategy:
    """A running strategy of the ordinary wallet."""
    values: dict[str, Any] = {"wallet": f"wallet-{OWNER}", "parameters": parameters(), "limits": limits()}
    return Strategy.start(name, **(values | changes), at=1)


def a_wallet(wsol: int = 100 * SOL, native: int = 10 * SOL, reserve: int = SOL) -> Wallet:
    """An opened wallet with deposits."""
    held = (TokenAccount(WSOL, WSOL_ACCOUNT), TokenAccount(USDC, USDC_ACCOUNT))
    wallet = Wallet.open(OWNER, held, Lamports(reserve), at=1)
    wallet.book(
        "deposit", Signature("deposit"), Slot(1), (*moved(WSOL, wsol), *moved(Mint("native"), native)), 2
    )
    return wallet


def moved(mint: Mint, amount: int, other: str = "bank") -> tuple[Posting, Posting]:
    """Money into the ordinary wallet from outside, both sides."""
    return Posting(wallet_account(OWNER), mint, amount), Posting(outside_account(other), mint, -amount)


def a_leg(amount_in: int, quoted: int, least: int, *, at: Address = POOL_A, sells_sol: bool = True) -> Leg:
    """One swap of SOL and USDC."""
    mints = (WSOL, USDC) if sells_sol else (USDC, WSOL)
    return Leg("raydium_cpmm", at, *mints, amount_in, quoted, least)


def an_opportunity(name: str = "opportunity-1", *, slot: int = 100, seen_at: int = 5) -> Opportunity:
    """One SOL through two pools, promising 0.01 SOL."""
    legs = (
        a_leg(SOL, 150_000_000, 150_000_000),
        a_leg(150_000_000, SOL + 10_000_000, SOL + 5_000_000, at=POOL_B, sells_sol=False),
    )
    return Opportunity._create(
        OpportunityFound,
        id=name,
        timestamp=a_wallet().created_on,
        strategy="strategy-one",
        wallet=f"wallet-{OWNER}",
        legs=legs,
        costs=Costs(Lamports(5_000), Lamports(200), Lamports(1_000)),
        expected_profit_lamports=Lamports(9_993_800),
        slot=Slot(slot),
        seen_at=seen_at,
    )


def an_order(name: str = "opportunity-1") -> Order:
    """An intended order of that opportunity."""
    return Order.place(
        an_opportunity(name).found, compute_unit_limit=200_000, compute_unit_price_micro_lamports=1_000, at=10
    )


def signed(order: Order, signature: str = "sig-1", last_valid: int = 250) -> Order:
    """Sign the next attempt."""
    order.sign(Signature(signature), "AQID", "hash", BlockHeight(last_valid), 1, at=20)
    return order
