"""Kamino's flash loans on the local network: lent only where the same transaction pays them back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from localnets import SOL, LocalChain, local_chain
from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from adapters.localnet.founding import USDC_MINT, WSOL_MINT
from adapters.localnet.genesis import FLASH_LOAN_RATE
from adapters.solana.programs import kamino, token
from adapters.solana.programs.associated_token import associated_address
from adapters.solana.programs.kamino import FlashAccounts, Reserve
from domain.market.flash_loan import DISABLED, flash_loan_fee

LOAN = 5_000 * SOL


@pytest.fixture
def chain() -> LocalChain:
    return local_chain()


def reserve_of(chain: LocalChain, number: int = 0) -> tuple[Pubkey, Reserve]:
    address = chain.world.reserves[number].address
    account = chain.ledger.account(address)
    assert account is not None
    return address, kamino.decode_reserve(account.data, account.owner)


def loan_of(chain: LocalChain, number: int = 0) -> FlashAccounts:
    address, reserve = reserve_of(chain, number)
    return kamino.flash_accounts(
        address, reserve, chain.wallet, associated_address(chain.wallet, reserve.mint)
    )


def held(chain: LocalChain, account: Pubkey) -> int:
    found = chain.ledger.account(account)
    assert found is not None
    return token.token_amount(found.data)


def test_a_loan_pays_for_swaps_and_is_repaid_with_its_fee(chain: LocalChain) -> None:
    """Five times what the wallet has goes through both pools and back; the vaults gain the fee alone."""
    keys, fee = loan_of(chain), flash_loan_fee(LOAN, FLASH_LOAN_RATE)
    first, second = chain.world.pools
    wsol, vault, fees = chain.tokens(WSOL_MINT), held(chain, keys.supply_vault), held(chain, keys.fee_vault)
    executed = chain.land(
        set_compute_unit_limit(400_000),
        kamino.flash_borrow(keys, LOAN),
        chain.swap(first, SOL, a_to_b=True),
        chain.swap(second, 100 * 10**6, a_to_b=False),
        kamino.flash_repay(keys, LOAN, borrow_index=1),
    )
    assert executed.outcome.error is None, executed.outcome.logs
    assert fee == LOAN // 100_000
    assert held(chain, keys.supply_vault) == vault
    assert held(chain, keys.fee_vault) == fees + fee
    assert reserve_of(chain)[1].available == vault
    assert chain.tokens(WSOL_MINT) < wsol - fee
    assert [len(calls) for calls in executed.outcome.inner.values()] == [1, 2, 2, 2]


def test_a_loan_that_cannot_be_repaid_never_happened(chain: LocalChain) -> None:
    """All that was borrowed is given away: the repayment fails and takes everything with it."""
    keys = loan_of(chain)
    wsol, vault = chain.tokens(WSOL_MINT), held(chain, keys.supply_vault)
    give = token.transfer_checked(
        token.TOKEN_PROGRAM,
        source=keys.user_account,
        mint=WSOL_MINT,
        destination=keys.fee_vault,
        authority=chain.wallet,
        amount=LOAN,
        decimals=9,
    )
    executed = chain.land(
        kamino.flash_borrow(keys, LOAN), give, kamino.flash_repay(keys, LOAN, borrow_index=0)
    )
    assert executed.outcome.error == {"InstructionError": [2, {"Custom": 1}]}
    assert (chain.tokens(WSOL_MINT), held(chain, keys.supply_vault)) == (wsol, vault)
    assert reserve_of(chain)[1].available == vault


Build = Callable[[LocalChain, FlashAccounts], list[Instruction]]

REFUSED: list[tuple[str, int, int, Build]] = [
    ("no repayment", 0, 6032, lambda _, keys: [kamino.flash_borrow(keys, LOAN)]),
    (
        "repaid before",
        0,
        6033,
        lambda _, keys: [kamino.flash_repay(keys, LOAN, 1), kamino.flash_borrow(keys, LOAN)],
    ),
    (
        "too little repaid",
        0,
        6033,
        lambda _, keys: [kamino.flash_borrow(keys, LOAN), kamino.flash_repay(keys, LOAN - 1, 0)],
    ),
    (
        "a repayment of another instruction",
        1,
        6033,
        lambda chain, keys: [
            chain.unique(),
            kamino.flash_borrow(keys, LOAN),
            kamino.flash_repay(keys, LOAN, 0),
        ],
    ),
    (
        "two loans",
        0,
        6035,
        lambda _, keys: [
            kamino.flash_borrow(keys, LOAN),
            kamino.flash_borrow(keys, LOAN),
            kamino.flash_repay(keys, LOAN, 0),
        ],
    ),
    (
        "two repayments",
        0,
        6035,
        lambda _, keys: [
            kamino.flash_borrow(keys, LOAN),
            kamino.flash_repay(keys, LOAN, 0),
            kamino.flash_repay(keys, LOAN, 0),
        ],
    ),
    (
        "another reserve repaid",
        0,
        6033,
        lambda chain, keys: [
            kamino.flash_borrow(keys, 10**6),
            kamino.flash_repay(loan_of(chain, 1), 10**6, 0),
        ],
    ),
    (
        "more than there is",
        0,
        6008,
        lambda _, keys: [kamino.flash_borrow(keys, 10**18), kamino.flash_repay(keys, 10**18, 0)],
    ),
    ("nothing", 0, 6003, lambda _, keys: [kamino.flash_borrow(keys, 0), kamino.flash_repay(keys, 0, 0)]),
    ("a unit", 0, 6012, lambda _, keys: [kamino.flash_borrow(keys, 1), kamino.flash_repay(keys, 1, 0)]),
    ("a repayment alone", 0, 6033, lambda _, keys: [kamino.flash_repay(keys, LOAN, 0)]),
]


@pytest.mark.parametrize(
    ("index", "number", "build"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_loans_the_program_refuses(chain: LocalChain, index: int, number: int, build: Build) -> None:
    wsol = chain.tokens(WSOL_MINT)
    executed = chain.land(*build(chain, loan_of(chain)))
    assert executed.outcome.error == {"InstructionError": [index, {"Custom": number}]}
    assert chain.tokens(WSOL_MINT) == wsol


def test_a_reserve_without_flash_loans_gives_none(chain: LocalChain) -> None:
    address, reserve = reserve_of(chain, 1)
    account = chain.ledger.account(address)
    assert account is not None
    closed = kamino.encode_reserve(replace(reserve, flash_loan_rate=DISABLED))
    chain.ledger.set_account(address, Account(account.lamports, closed, account.owner))
    keys = loan_of(chain, 1)
    executed = chain.land(kamino.flash_borrow(keys, 10**6), kamino.flash_repay(keys, 10**6, 0))
    assert executed.outcome.error == {"InstructionError": [0, {"Custom": 6036}]}
    assert chain.tokens(USDC_MINT) == 10**12


def test_every_account_of_a_loan_is_checked(chain: LocalChain) -> None:
    keys = loan_of(chain)
    good = [kamino.flash_borrow(keys, LOAN), kamino.flash_repay(keys, LOAN, 0)]
    for place in range(1, 12):
        if place in (8, 9):
            continue  # a referrer is the user's choice
        wrong = []
        for one in good:
            metas = list(one.accounts)
            metas[place] = AccountMeta(Pubkey(bytes(31) + b"\x63"), is_signer=False, is_writable=True)
            wrong.append(Instruction(one.program_id, one.data, metas))
        executed = chain.land(*wrong, chain.unique())
        assert executed.outcome.error is not None, place
        assert executed.changed == (chain.wallet,)
