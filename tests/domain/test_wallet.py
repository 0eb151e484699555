"""The wallet's books: reserved once, booked once, balanced always, halted on a disagreement."""

from __future__ import annotations

import pytest
from given import OWNER, POOL_A, SOL, USDC_ACCOUNT, WSOL_ACCOUNT, a_wallet, decided, folded, moved
from hypothesis import given
from hypothesis import strategies as st

from domain.chain import NATIVE, USDC, WSOL, Address, Signature, Slot
from domain.errors import InvalidInput, InvariantBroken
from domain.money import Lamports
from domain.transactions import BalanceChange, TransactionRecord
from domain.wallets.events import Posting, TokenAccount
from domain.wallets.ledger import sums
from domain.wallets.transfer import postings_of
from domain.wallets.wallet import Wallet

HELD = (TokenAccount(WSOL, WSOL_ACCOUNT), TokenAccount(USDC, USDC_ACCOUNT))
VAULT = Address("VauLt11111111111111111111111111111111111111")
TIPPED = Address("Tips111111111111111111111111111111111111111")


def test_what_is_set_aside_is_not_counted_on_twice() -> None:
    """Of 100 wSOL, 60 for one order leave 40 for the next."""
    wallet = a_wallet()
    assert wallet.reserve("order-1", WSOL, 60 * SOL, Lamports(10_000), at=3) is None
    refusal = wallet.reserve("order-2", WSOL, 60 * SOL, Lamports(10_000), at=4)
    assert refusal is not None
    assert refusal.reason == "insufficient_funds"
    wallet.release("order-1", at=5)
    assert wallet.reserve("order-2", WSOL, 60 * SOL, Lamports(10_000), at=6) is None


def test_the_reserve_is_left_untouched() -> None:
    """10 SOL held, 1 SOL reserve: an order whose fees need more than 9 is refused."""
    refusal = a_wallet().reserve("order-1", WSOL, SOL, Lamports(9 * SOL + 1), at=3)
    assert refusal is not None
    assert "available" in refusal.found


def test_a_signature_is_booked_once() -> None:
    with pytest.raises(InvariantBroken, match="booked once"):
        a_wallet().book("deposit", Signature("deposit"), Slot(1), moved(WSOL, 1), at=3)


def test_money_from_nowhere_is_not_booked() -> None:
    with pytest.raises(InvariantBroken, match="sum to 0"):
        a_wallet().book("deposit", Signature("new"), Slot(2), moved(WSOL, 1)[:1], at=3)


def test_released_twice_is_a_bug() -> None:
    wallet = a_wallet()
    with pytest.raises(InvariantBroken, match="nothing set aside"):
        wallet.release("order-1", at=3)


def test_a_disagreement_halts_the_wallet_once() -> None:
    """The first difference is put on record and no order gets funds from then on."""
    wallet = a_wallet()
    assert wallet.compare(WSOL, 100 * SOL, Slot(9), at=3)
    assert not wallet.compare(USDC, 5, Slot(9), at=3)
    assert not wallet.compare(NATIVE, 5, Slot(9), at=3)
    assert decided(wallet).count("wallet.discrepancy_found") == 1
    refusal = wallet.reserve("order-1", WSOL, 1, Lamports(0), at=4)
    assert refusal is not None
    assert refusal.reason == "wallet_halted"


def test_a_halt_that_is_resolved_may_come_again() -> None:
    """Resolved, funds are set aside again; a later difference halts anew; without a halt nothing happens."""
    wallet = a_wallet()
    wallet.resolve("early", at=3)
    wallet.compare(NATIVE, 5, Slot(9), at=4)
    wallet.resolve("explained", at=5)
    assert wallet.reserve("order-1", WSOL, 1, Lamports(0), at=6) is None
    wallet.compare(NATIVE, 5, Slot(10), at=7)
    assert wallet.halted() is not None
    assert decided(wallet)[2:] == [
        "wallet.discrepancy_found",
        "wallet.discrepancy_resolved",
        "wallet.funds_reserved",
        "wallet.discrepancy_found",
    ]


def test_the_books_are_what_the_events_say() -> None:
    wallet = a_wallet()
    wallet.reserve("order-1", WSOL, SOL, Lamports(1), at=3)
    again = folded(Wallet, wallet.collect_events())
    assert (again.expected, again.reserved, again.booked) == (wallet.expected, wallet.reserved, wallet.booked)


def test_two_accounts_for_one_mint_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two token accounts"):
        Wallet.open(OWNER, (HELD[0], HELD[0]), Lamports(0), at=1)


def _change(account: Address, mint: str, change: int, owner: Address = OWNER) -> BalanceChange:
    return BalanceChange(
        account, owner, WSOL if mint == "wsol" else USDC if mint == "usdc" else NATIVE, change
    )


def _record(*changes: BalanceChange, fee: int = 5_000) -> TransactionRecord:
    return TransactionRecord(Signature("s"), Slot(9), Lamports(fee), None, changes)


def _booked(record: TransactionRecord) -> set[tuple[str, str, int]]:
    lines = postings_of(record, wallet=OWNER, token_accounts=HELD, vaults={VAULT: POOL_A}, tipped={TIPPED})
    assert set(sums(lines).values()) <= {0}
    return {(line.account.split(":")[0], line.mint, line.amount) for line in lines}


def test_a_swap_counts_each_wrapped_lamport_once() -> None:
    """WSOL out of our account into the vault: the accounts' lamports move along and are not booked again."""
    lines = _booked(
        _record(
            _change(OWNER, "native", -6_000, OWNER),
            _change(TIPPED, "native", 1_000, TIPPED),
            _change(WSOL_ACCOUNT, "wsol", -SOL),
            _change(WSOL_ACCOUNT, "native", -SOL, WSOL_ACCOUNT),
            _change(VAULT, "wsol", SOL, POOL_A),
            _change(VAULT, "native", SOL, VAULT),
        )
    )
    assert lines == {
        ("wallet", NATIVE, -6_000),
        ("tips", NATIVE, 1_000),
        ("fees", NATIVE, 5_000),
        ("wallet", WSOL, -SOL),
        ("pool", WSOL, SOL),
    }


def test_wrapping_sol_pays_rent_and_changes_the_mint() -> None:
    """2 SOL leave as lamports, 1.99796072 arrive as wSOL, the rent lies in the new account."""
    rent = 2_039_280
    lines = _booked(
        _record(
            _change(OWNER, "native", -2 * SOL - 5_000, OWNER),
            _change(WSOL_ACCOUNT, "native", 2 * SOL, WSOL_ACCOUNT),
            _change(WSOL_ACCOUNT, "wsol", 2 * SOL - rent),
        )
    )
    assert lines == {
        ("wallet", NATIVE, -2 * SOL - 5_000),
        ("fees", NATIVE, 5_000),
        ("outside", NATIVE, rent),
        ("outside", NATIVE, 2 * SOL - rent),
        ("wallet", WSOL, 2 * SOL - rent),
        ("outside", WSOL, rent - 2 * SOL),
    }


_accounts = st.sampled_from([OWNER, WSOL_ACCOUNT, USDC_ACCOUNT, VAULT, TIPPED, POOL_A])
_changes = st.lists(
    st.tuples(_accounts, st.sampled_from(["native", "wsol", "usdc"]), st.integers(-(10**18), 10**18)),
    unique_by=lambda change: change[:2],
)


@given(_changes, st.integers(0, 10**9))
def test_money_is_neither_made_nor_lost(changes: list[tuple[Address, str, int]], fee: int) -> None:
    """Whatever a transaction did, its booking sums to 0 and our side is our accounts' change."""
    record = _record(*(_change(account, mint, figure) for account, mint, figure in changes), fee=fee)
    lines = postings_of(record, wallet=OWNER, token_accounts=HELD)
    assert set(sums(lines).values()) <= {0}
    ours = {(line.mint): line.amount for line in lines if line.account == f"wallet:{OWNER}"}
    tracked = {account: figure for account, mint, figure in changes if mint == "usdc"}
    mine = {OWNER, WSOL_ACCOUNT, USDC_ACCOUNT}
    assert ours.get(USDC, 0) == sum(figure for account, figure in tracked.items() if account in mine)


def test_the_lines_are_sorted_and_merged() -> None:
    """The same facts give the same bytes."""
    lines = postings_of(_record(_change(OWNER, "native", -5_000, OWNER)), wallet=OWNER, token_accounts=HELD)
    assert lines == (Posting("fees:network", NATIVE, 5_000), Posting(f"wallet:{OWNER}", NATIVE, -5_000))
