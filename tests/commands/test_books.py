"""Wallets, strategies and the comparison with the chain, as commands over the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from given import CORRELATION, OWNER, SOL, USDC_ACCOUNT, WSOL_ACCOUNT, an_order, limits, parameters, signed

from adapters.memory.event_log import MemoryEventLog
from commands.aggregates import Aggregates, decisions, fold
from commands.reconciling import Reconciler
from commands.strategies import Strategies
from commands.wallets import Wallets
from domain.chain import NATIVE, USDC, WSOL, Address, Commitment, Signature, Slot
from domain.errors import ChainUnavailable, InvalidInput
from domain.events import Cause
from domain.money import Lamports
from domain.transactions import BalanceChange, TransactionRecord
from domain.wallets.events import TokenAccount
from domain.wallets.wallet import Wallet, wallet_stream

HELD = (TokenAccount(WSOL, WSOL_ACCOUNT), TokenAccount(USDC, USDC_ACCOUNT))
DEPOSIT = Signature("1" * 63 + "2")
"""63 bytes of 0 and one of 1, in base58: a signature's shape."""
FEE = 5_000
BANK = Address("Bank111111111111111111111111111111111111111")


class Ledger:
    """The two methods of a chain that books are kept by."""

    def __init__(self) -> None:
        self.slot, self.held = 10, [5 * SOL, 0, 0]
        self.records: dict[Signature, TransactionRecord] = {}
        self.ran((OWNER, 5 * SOL), (BANK, -5 * SOL - FEE))

    def ran(self, *moved: tuple[Address, int], error: str | None = None) -> Signature:
        """A finalized transaction that moved these lamports."""
        signature = Signature("1" * 63 + "23456789"[len(self.records)])
        changes = tuple(BalanceChange(account, account, NATIVE, lamports) for account, lamports in moved)
        self.records[signature] = TransactionRecord(signature, Slot(9), Lamports(FEE), error, changes)
        return signature

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

    async def topics(self) -> list[str]:
        return [recorded.topic for recorded in await self.log.read_stream(wallet_stream(OWNER))]

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
        await office.wallets.book(OWNER, Signature("1" * 63 + "z"))


async def test_a_wallet_that_is_not_open_has_no_books() -> None:
    with pytest.raises(InvalidInput, match="holds nothing"):
        await Office().wallets.book(OWNER, DEPOSIT)


@pytest.mark.parametrize("slip", ["", "deposit", "1" * 63, "1" * 65, "0" * 64, "5" * 128, "1" * 10_000])
async def test_what_is_no_signature_is_refused_before_the_node_is_asked(slip: str) -> None:
    office = await Office().with_deposit()
    office.ledger.records = {}
    with pytest.raises(InvalidInput, match="no signature"):
        await office.wallets.book(OWNER, Signature(slip))


@pytest.mark.parametrize(
    ("moved", "error", "kind", "why"),
    [
        ([(BANK, -FEE)], None, "deposit", "changes nothing"),
        ([(OWNER, 7), (BANK, -7 - FEE)], None, "withdrawal", "that is a deposit"),
        ([(OWNER, -7 - FEE), (BANK, 7)], None, "deposit", "that is a withdrawal"),
        ([(OWNER, -7 - FEE), (BANK, 7)], None, "fee", "its fee is 5000"),
        ([(OWNER, -FEE)], "slippage", "deposit", "book it as a fee"),
        ([(OWNER, -FEE)], "slippage", "withdrawal", "book it as a fee"),
        ([(OWNER, 7), (BANK, -7 - FEE)], None, "gift", "may be one of"),
    ],
)
async def test_what_is_not_as_it_is_called_is_refused(
    moved: list[tuple[Address, int]], error: str | None, kind: str, why: str
) -> None:
    """The direction, the wallet and the outcome must be those of the transaction."""
    office = await Office().with_deposit()
    signature = office.ledger.ran(*moved, error=error)
    with pytest.raises(InvalidInput, match=why):
        await office.wallets.book(OWNER, signature, kind)
    assert len(await office.log.read_stream(wallet_stream(OWNER))) == 2


async def test_a_failed_transaction_is_booked_as_its_fee() -> None:
    office = await Office().with_deposit()
    signature = office.ledger.ran((OWNER, -FEE), error="slippage")
    assert await office.wallets.book(OWNER, signature, "fee")
    wallet = await fold(office.log, wallet_stream(OWNER))
    assert isinstance(wallet, Wallet)
    assert wallet.expected == {NATIVE: 5 * SOL - FEE}


async def test_a_wrap_paid_by_the_wallet_takes_only_its_fee() -> None:
    """Lamports become wrapped lamports: a withdrawal of the fee, never a deposit."""
    office = await Office().with_deposit()
    signature = office.ledger.ran((OWNER, -SOL - FEE), (WSOL_ACCOUNT, SOL))
    wrapped = BalanceChange(WSOL_ACCOUNT, OWNER, WSOL, SOL)
    record = office.ledger.records[signature]
    office.ledger.records[signature] = replace(record, changes=(*record.changes, wrapped))
    with pytest.raises(InvalidInput, match="that is a withdrawal"):
        await office.wallets.book(OWNER, signature)
    assert await office.wallets.book(OWNER, signature, "withdrawal")


async def test_the_transaction_of_an_open_order_is_left_to_it() -> None:
    """Signed by an order that has yet to book it: refused, and the books stay as they are."""
    office = await Office().with_deposit()
    own = office.ledger.ran((OWNER, 7), (BANK, -7 - FEE))
    order = signed(an_order(), own)
    async with office.aggregates.hold(Wallet, wallet_stream(OWNER)) as wallet:
        wallet.reserve(order.id, NATIVE, 1, Lamports(0), at=1)
        for aggregate in (wallet, order):
            await office.log.append(
                decisions(aggregate, Cause(CORRELATION, None, "test"), 1), append_id=uuid4()
            )
    with pytest.raises(InvalidInput, match="leave it to"):
        await office.wallets.book(OWNER, own)


async def test_books_that_equal_the_chain_agree() -> None:
    office = await Office().with_deposit()
    result = await office.reconciler.reconcile(wallet_stream(OWNER))
    assert result.agrees
    assert [(b.expected, b.actual) for b in result.balances] == [(5 * SOL, 5 * SOL), (0, 0), (0, 0)]


async def test_a_lamport_too_few_is_found_and_halts_the_wallet() -> None:
    office = await Office().with_deposit()
    office.ledger.held[0] -= 1
    for _ in range(2):
        result = await office.reconciler.reconcile(wallet_stream(OWNER), record=True)
        assert not result.agrees
        assert result.halted is not None
    assert await office.topics() == ["wallet.opened", "wallet.transferred", "wallet.discrepancy_found"]


async def test_a_question_changes_nothing() -> None:
    """Funds that are not booked yet are shown, and the wallet stays usable."""
    office = await Office().with_deposit()
    office.ledger.held[0] += 7
    result = await office.reconciler.reconcile(wallet_stream(OWNER))
    assert (result.agrees, result.halted) == (False, None)
    assert [(each.expected, each.actual) for each in result.unbooked] == [(5 * SOL, 5 * SOL + 7)]
    assert await office.topics() == ["wallet.opened", "wallet.transferred"]


async def test_books_found_equal_end_a_halt() -> None:
    """What was missing is booked and compared again, on record: the wallet is usable, and may halt anew."""
    office = await Office().with_deposit()
    office.ledger.held[0] += 7
    reconcile = office.reconciler.reconcile
    assert (await reconcile(wallet_stream(OWNER), record=True)).halted is not None
    assert await office.wallets.book(OWNER, office.ledger.ran((OWNER, 7), (BANK, -7 - FEE)))
    asked = await reconcile(wallet_stream(OWNER))
    assert asked.agrees
    assert asked.halted is not None
    assert (await reconcile(wallet_stream(OWNER), record=True)).halted is None
    resolved = (await office.log.read_stream(wallet_stream(OWNER)))[-1]
    assert (resolved.topic, resolved.event.reason) == ("wallet.discrepancy_resolved", "agreed")
    office.ledger.held[0] += 1
    assert (await reconcile(wallet_stream(OWNER), record=True)).halted is not None


async def test_a_person_may_end_a_halt_with_a_reason() -> None:
    """The words and who said them are on record; without a halt nothing is recorded."""
    office = await Office().with_deposit()
    office.ledger.held[0] += 7
    assert not await office.reconciler.resolve(wallet_stream(OWNER), "early")
    await office.reconciler.reconcile(wallet_stream(OWNER), record=True)
    with pytest.raises(InvalidInput, match="without a reason"):
        await office.reconciler.resolve(wallet_stream(OWNER), " ")
    assert await office.reconciler.resolve(wallet_stream(OWNER), "dust from an airdrop")
    resolved = (await office.log.read_stream(wallet_stream(OWNER)))[-1]
    assert (resolved.event.reason, resolved.cause.actor) == ("dust from an airdrop", "operator")
    assert (await office.reconciler.reconcile(wallet_stream(OWNER))).halted is None


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


async def test_a_strategy_is_started_reconfigured_stopped_and_resumed_by_a_person_only() -> None:
    office = await Office().with_deposit()
    start = office.strategies.start
    for most in (2, 2, 3):
        await start("one", wallet="wallet-x", parameters=parameters(), limits=limits(max_open_orders=most))
    await office.strategies.stop("one")
    topics = [r.topic for r in await office.log.read_stream("strategy-one")]
    assert topics == ["strategy.started", "strategy.reconfigured", "strategy.stopped"]
    refusal = await start("one", wallet="wallet-x", parameters=parameters(), limits=limits())
    assert refusal is not None
    assert (refusal.reason, "user" in refusal.found) == ("strategy_stopped", True)
    (strategy,) = await office.strategies.every()
    assert not strategy.is_running
    assert await office.strategies.resume("one", "looked into it")
    assert not await office.strategies.resume("one")
    assert await start("one", wallet="wallet-x", parameters=parameters(), limits=limits()) is None
    (strategy,) = await office.strategies.every()
    assert (strategy.is_running, strategy.limits) == (True, limits())
    topics = [r.topic for r in (await office.log.read_stream("strategy-one"))[3:]]
    assert topics == ["strategy.resumed", "strategy.reconfigured"]


async def test_a_strategy_of_another_wallet_is_left_alone() -> None:
    office = Office()
    start = office.strategies.start
    assert await start("one", wallet="wallet-x", parameters=parameters(), limits=limits()) is None
    refusal = await start("one", wallet="wallet-y", parameters=parameters(), limits=limits())
    assert refusal is not None
    assert refusal.reason == "strategy_of_another_wallet"
    assert len(await office.log.read_stream("strategy-one")) == 1


async def test_there_is_nothing_to_resume_where_nothing_was_started() -> None:
    with pytest.raises(InvalidInput, match="holds nothing"):
        await Office().strategies.resume("one")
