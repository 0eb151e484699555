"""A wallet's holdings by the log: what came in, what is set aside, what the chain disagrees with."""

from __future__ import annotations

import pytest
from builders import COSTS, WALLET, History, Story
from list_log import ListLog
from running import run_until_halted

from adapters.memory.read_store import MemoryReadStore
from domain.chain import NATIVE, USDC, WSOL, Address, Slot
from domain.events import derived_id
from domain.wallets.events import DiscrepancyResolved
from projections import wallet_balances
from projections.runner import ProjectionRunner, RunnerState
from projections.wallet_balances import WalletBalance


@pytest.fixture
def history() -> History:
    history = History()
    history.open_wallet()
    return history


async def held(history: History, wallet: str = WALLET) -> dict[str, WalletBalance]:
    store = MemoryReadStore()
    await ProjectionRunner(wallet_balances.READ_MODEL, ListLog(history.events), store).catch_up()
    found = await wallet_balances.wallet_balances(store, wallet)
    return {balance.mint: balance for balance in found.balances}


async def test_an_opened_wallet_shows_each_mint_it_trades(history: History) -> None:
    balances = await held(history)
    assert {mint: balance.balance for mint, balance in balances.items()} == {
        NATIVE: 10**10,
        WSOL: 10**10,
        USDC: 0,
    }


async def test_a_reservation_is_taken_from_what_is_available_until_it_is_released(history: History) -> None:
    story = Story(history, "one").found().placed()
    during = await held(history)
    assert during[WSOL].reserved == story.input_lamports
    assert during[WSOL].available == 10**10 - story.input_lamports
    assert during[NATIVE].reserved == COSTS.total_lamports
    story.abandoned()
    assert [balance.reserved for balance in (await held(history)).values()] == [0, 0, 0]


async def test_a_second_release_frees_nothing_more(history: History) -> None:
    Story(history, "one").found().placed().abandoned().released()
    Story(history, "two").found().placed()
    assert (await held(history))[WSOL].reserved == 10**9


async def test_two_orders_reserve_beside_each_other(history: History) -> None:
    first = Story(history, "one").found().placed()
    Story(history, "two", input_lamports=7).found().placed()
    assert (await held(history))[WSOL].reserved == 10**9 + 7
    first.abandoned()
    assert (await held(history))[WSOL].reserved == 7


async def test_a_disagreement_with_the_chain_is_shown_beside_the_books(history: History) -> None:
    history.disagree(WALLET, WSOL, 10**10, 10**10 - 1)
    balance = (await held(history))[WSOL]
    assert (balance.discrepancy, balance.balance, balance.actual) == (True, 10**10, 10**10 - 1)


async def test_a_disagreement_that_was_resolved_is_shown_no_more(history: History) -> None:
    history.disagree(WALLET, WSOL, 10**10, 10**10 - 1)
    history.record(
        f"wallet-{WALLET}",
        lambda base: DiscrepancyResolved(**base, mint=WSOL, reason="agreed", slot=Slot(history.slot)),
        correlation=derived_id("reconcile", "again"),
        causation=None,
    )
    balance = (await held(history))[WSOL]
    assert (balance.discrepancy, balance.balance, balance.actual) == (False, 10**10, None)


async def test_wallets_do_not_mix(history: History) -> None:
    other = Address("0therWa11et0therWa11et0therWa11et0therWa11e1")
    history.open_wallet(other, lamports=5)
    Story(history, "one").found().placed()
    assert (await held(history, other))[WSOL].available == 5


async def test_a_release_of_what_was_never_reserved_halts_it(history: History) -> None:
    story = Story(history, "one").found()
    story.released()
    runner = ProjectionRunner(wallet_balances.READ_MODEL, ListLog(history.events), MemoryReadStore())
    await run_until_halted(runner)
    assert runner.status.state is RunnerState.HALTED
