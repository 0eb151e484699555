"""Risk: what each strategy has at stake, and whether one more order is allowed.

Asked in this order: the strategy runs; the order is not too large; not too many are open; the losses realised
since the strategy was started, or last resumed, leave room. Realised means booked: what a closed order's
transaction did to the wallet's lamports and wrapped SOL, fees and tip included. Other tokens left over count
as nothing: better to stop early than late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from domain.chain import NATIVE, WSOL, Address
from domain.money import Lamports
from domain.refusal import Refusal
from domain.strategies.events import StrategyResumed
from domain.strategies.strategy import Strategy
from domain.trading.events import OrderAbandoned, OrderFailed, OrderLanded, OrderPlaced
from domain.trading.order import Order
from domain.wallets.events import WalletTransferred
from domain.wallets.ledger import of_account, wallet_account
from domain.wallets.wallet import Wallet

MAX_LOSS = "max_loss_lamports"
"""The reason that stops a strategy until a person resumes it."""


@dataclass(slots=True)
class _AtStake:
    open_orders: set[str] = field(default_factory=set)
    realised_lamports: int = 0


class Exposure:
    """What every strategy has at stake, folded from the log; folding an event twice in a row is harmless."""

    def __init__(self) -> None:
        self._strategies: dict[str, _AtStake] = {}
        self._strategy_of: dict[str, str] = {}

    def open_orders(self, strategy: str) -> int:
        """Orders of the strategy not yet closed."""
        return len(self._of(strategy).open_orders)

    def realised_lamports(self, strategy: str) -> Lamports:
        """What the strategy's closed orders won (or, negative, lost) since it was last resumed."""
        return Lamports(self._of(strategy).realised_lamports)

    def fold(self, event: Any) -> None:  # noqa: ANN401 - any event of the log; most say nothing here
        """Take one event in."""
        match event:
            case OrderPlaced():
                self._strategy_of[event.originator_id] = event.strategy
                self._of(event.strategy).open_orders.add(event.originator_id)
            case OrderLanded() | OrderFailed():
                self._close(event.originator_id)
            case OrderAbandoned():
                self._close(event.originator_id)
                self._strategy_of.pop(event.originator_id, None)
            case WalletTransferred():
                self._realise(event)
            case StrategyResumed():
                self._of(event.originator_id).realised_lamports = 0
            case _:
                pass  # says nothing of what is at stake

    def _of(self, strategy: str) -> _AtStake:
        return self._strategies.setdefault(strategy, _AtStake())

    def _close(self, order: str) -> None:
        strategy = self._strategy_of.get(order)
        if strategy is not None:
            self._of(strategy).open_orders.discard(order)

    def _realise(self, event: WalletTransferred) -> None:
        strategy = self._strategy_of.pop(event.reference, None)
        if strategy is None:
            return
        wallet = Address(event.originator_id.removeprefix("wallet-"))
        moved = of_account(event.postings, wallet_account(wallet))
        self._of(strategy).realised_lamports += moved.get(NATIVE, 0) + moved.get(WSOL, 0)


def allow(strategy: Strategy, exposure: Exposure, order_input: int) -> Refusal | None:
    """Why the strategy may not place an order of `order_input` (base units of its mint); none when it may."""
    limits = strategy.limits
    if not strategy.is_running:
        return Refusal("strategy_stopped", f"{strategy.id} was stopped: {strategy.stopped}")
    if order_input > limits.max_order_input:
        return Refusal("order_too_large", f"input {order_input}, at most {limits.max_order_input} allowed")
    if exposure.open_orders(strategy.id) >= limits.max_open_orders:
        return Refusal(
            "too_many_open_orders",
            f"{exposure.open_orders(strategy.id)} open, at most {limits.max_open_orders} allowed",
        )
    lost = -exposure.realised_lamports(strategy.id)
    if lost > 0 and lost >= limits.max_loss_lamports:
        return Refusal(MAX_LOSS, f"{lost} lamports lost, at most {limits.max_loss_lamports} allowed")
    return None


def still_wanted(
    order: Order, strategy: Strategy, wallet: Wallet, *, age_us: int, lifetime_us: int
) -> Refusal | None:
    """Why an order with nothing in flight should be given up; none when it should be signed (again).

    The price is asked again on chain: the last leg's least output covers the input and all costs, so an order
    signed late can cost its fee but cannot trade at a loss.
    """
    if not strategy.is_running:
        return Refusal("strategy_stopped", f"{strategy.id} was stopped: {strategy.stopped}")
    if order.placed.legs[0].amount_in > strategy.limits.max_order_input:
        return Refusal("order_too_large", f"at most {strategy.limits.max_order_input} is allowed now")
    if age_us > lifetime_us:
        return Refusal("stale", f"placed {age_us} us ago, more than {lifetime_us} us")
    return wallet.halted()
