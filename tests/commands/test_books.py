"""Wallets, strategies and the comparison with the chain, as commands over the log."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from given import OWNER, SOL, USDC_ACCOUNT, WSOL_ACCOUNT, limits, parameters

from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import Aggregates, fold
from commands.reconciling import Reconciler
from commands.strategies import Strategies
from commands.wallets import Wallets
from domain.chain import NATIVE, USDC, WSOL, Address, Commitment, Signature, Slot
from domain.errors import ChainUnavailable, InvalidInput
from domain.money import Lamports
from domain.strategies.strategy import Strategy
from domain.transactions import BalanceChange, TransactionRecord
from domain.wallets.events import TokenAccount
from domain.wallets.wallet import Wallet, wallet_stream

HELD = (TokenAccount(WSOL, WSOL_ACCOUNT), TokenAccount(USDC, USDC_ACCOUNT))
DEPOSIT = Signature("deposit")
BANK = Address("Bank111111111111111111111111111111111111111")


class Ledger:
    """The two methods of a chain that books are kept by."""

    def __init__(self) -> None:
        self.slot, self.held = 10, [5 * SOL, 0, 0]
        change = BalanceChange(OWNER, OWNER, NATIVE, 5 * SOL)
        paid = BalanceChange(BANK, BANK, NATIVE, -5 * SOL - 5_000)
        self.records = {DEPOSIT: TransactionRecord(DEPOSIT, Slot(9), Lamports(5_000), None, (change, paid))}

    async def transaction(self, signature: Signature, commitment: Commitment) -> TransactionRecord | None:
        assert commitment is Commitment.FINALIZED
        return self.records.get(signature)

    async def balances(self, address: Address, token_accounts: Sequence[Address]) -> tuple[Slot, list[int]]:
        assert (address, len(token_accounts)) == (OWNER, 2)
        return Slot(self.slot), self.held


class Office:
    """A log, a ledger and the commands over them."""

    def __init__(self) -> None:
        self.log, self.ledger = MemoryEventLog(), Ledger()
        self.aggregates = Aggregates(self.log)
        self.wallets = Wallets(self.log, self.aggregates, self.ledger, lambda: 1)  # type: ignore[arg-type]  # two methods are enough
        self.strategies = Strategies(self.log, self.aggregates, lambda: 1)
        self.reconciler = Reconciler(self.log, self.aggregates, self.ledger, lambda: 1)  # type: ignore[arg-type]  # as above

    async def with_deposit(self) -> Office:
        await self.wallets.open(OWNER, HELD, Lamports(SOL))
        await self.wallets.book(OWNER, DEPOSIT)
        return self


async def test_a_wallet_is_opened_once_and_a_deposit_booked_once() -> None:
    office = Office()
    assert await office.wallets.open(OWNER, HELD, Lamports(SOL))
    assert not await office.wallets.open(OWNER, HELD, Lamports(SOL))
    assert await office.wallets.book(OWNER, DEPOSIT)
    assert not await office.wallets.book(OWNER, DEPOSIT)
    wallet = await fold(office.log, wallet_stream(OWNER))
    assert isinstance(wallet, Wallet)
    assert wallet.expected == {NATIVE: 5 * SOL}
    assert wallet.version == 2


async def test_what_is_not_final_is_not_booked() -> None:
    office = await Office().with_deposit()
    with pytest.raises(ChainUnavailable, match="no such finalized transaction"):
        await office.wallets.book(OWNER, Signature("unheard of"))


async def test_a_wallet_that_is_not_open_has_no_books() -> None:
    with pytest.raises(InvalidInput, match="holds nothing"):
        await Office().wallets.book(OWNER, DEPOSIT)


async def test_books_that_equal_the_chain_agree() -> None:
    office = await Office().with_deposit()
    result = await office.reconciler.reconcile(wallet_stream(OWNER))
    assert result.agrees
    assert [(b.expected, b.actual) for b in result.balances] == [(5 * SOL, 5 * SOL), (0, 0), (0, 0)]


async def test_a_lamport_too_few_is_found_and_halts_the_wallet() -> None:
    office = await Office().with_deposit()
    office.ledger.held[0] -= 1
    assert not (await office.reconciler.reconcile(wallet_stream(OWNER))).agrees
    assert not (await office.reconciler.reconcile(wallet_stream(OWNER))).agrees
    wallet = await fold(office.log, wallet_stream(OWNER))
    assert isinstance(wallet, Wallet)
    assert wallet.halted() is not None
    assert wallet.version == 3


@pytest.mark.parametrize("why", ["orders are open", "the node is at slot"])
async def test_what_cannot_be_compared_now_is_pending(why: str) -> None:
    office = await Office().with_deposit()
    if why == "orders are open":
        async with office.aggregates.hold(Wallet, wallet_stream(OWNER)) as wallet:
            wallet.reserve("order-1", NATIVE, 1, Lamports(0), at=1)
            result_needs_log = wallet.collect_events()
        assert result_needs_log
    else:
        office.ledger.slot = 8
    result = await office.reconciler.reconcile(wallet_stream(OWNER))
    assert not result.agrees
    assert why in (result.pending or "")


async def test_a_strategy_is_started_reconfigured_and_stopped_for_good() -> None:
    office = await Office().with_deposit()
    start = office.strategies.start
    for most in (2, 2, 3):
        await start("one", wallet="wallet-x", parameters=parameters(), limits=limits(max_open_orders=most))
    await office.strategies.stop("one")
    topics = [r.topic for r in await office.log.read_stream("strategy-one")]
    assert topics == ["strategy.started", "strategy.reconfigured", "strategy.stopped"]
    with pytest.raises(InvalidInput, match="for good"):
        await start("one", wallet="wallet-x", parameters=parameters(), limits=limits())
    strategy = await fold(office.log, "strategy-one")
    assert isinstance(strategy, Strategy)
    assert strategy.limits.max_open_orders == 3
