"""Kamino's flash loans told in Python: a borrow that insists on its repayment, and the repayment.

Checks and their numbers follow the program's published source (`lending_market/flash_ixs.rs`). Left out:
interest, which refreshing the reserve would add, and referrers' shares of the fee.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from solders.account import Account
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.localnet import anchor
from adapters.localnet.anchor import ErrorNames, error_log
from adapters.localnet.emulated_swap import Leg, rewritten
from adapters.localnet.emulation import Call, Plan, Refusal, Stop
from adapters.localnet.transaction_error import custom
from adapters.solana.programs import kamino, token
from adapters.solana.programs.kamino import FlashAccounts, FlashArguments, Reserve
from domain.errors import DecodeError, QuoteError
from domain.market.flash_loan import DISABLED, flash_loan_fee

INVALID_AMOUNT: Final = 6003
INSUFFICIENT_LIQUIDITY: Final = 6008
BORROW_TOO_SMALL: Final = 6012
NO_FLASH_REPAY_FOUND: Final = 6032
INVALID_FLASH_REPAY: Final = 6033
MULTIPLE_FLASH_BORROWS: Final = 6035
FLASH_LOANS_DISABLED: Final = 6036
RESERVE_OBSOLETE: Final = 6082

_NAMES: Final[ErrorNames] = {
    INVALID_AMOUNT: ("InvalidAmount", "Input amount is invalid"),
    INSUFFICIENT_LIQUIDITY: ("InsufficientLiquidity", "Insufficient liquidity available"),
    BORROW_TOO_SMALL: ("BorrowTooSmall", "Borrow amount too small to receive liquidity after fees"),
    RESERVE_OBSOLETE: ("ReserveObsolete", "Reserve is marked as obsolete"),
    NO_FLASH_REPAY_FOUND: ("NoFlashRepayFound", "No corresponding repay found for flash borrow"),
    INVALID_FLASH_REPAY: ("InvalidFlashRepay", "Invalid repay found"),
    MULTIPLE_FLASH_BORROWS: (
        "MultipleFlashBorrows",
        "Multiple flash borrows not allowed in the same transaction",
    ),
    FLASH_LOANS_DISABLED: ("FlashLoansDisabled", "Flash loans are disabled for this reserve"),
}
_UNITS: Final = 60_000
_ACCOUNTS: Final = 12
_RESERVE_AT: Final = 3


class EmulatedKamino:
    """The two flash loan instructions of Kamino Lend; every other is refused as unknown."""

    def plan(self, call: Call) -> Plan | Refusal:
        """Check the instruction as the program does and say which transfers and writes it comes down to."""
        data = call.instruction.data
        borrowing = data[:8] == kamino.FLASH_BORROW
        name = "FlashBorrowReserveLiquidity" if borrowing else "FlashRepayReserveLiquidity"
        try:
            arguments = anchor.arguments(kamino.decode_flash, data, (kamino.FLASH_BORROW, kamino.FLASH_REPAY))
            loan = _Loan(call, arguments)
            return loan.borrow(name) if borrowing else loan.repay(name)
        except Stop as stop:
            return Refusal(name, stop.error, error_log(stop.error, _NAMES))


class _Loan:
    """One flash instruction's accounts, each checked against the reserve."""

    def __init__(self, call: Call, arguments: FlashArguments) -> None:
        metas = call.instruction.accounts
        anchor.require_count(metas, _ACCOUNTS)
        self._call, self._arguments = call, arguments
        self._keys = _flash_accounts(call)
        self._account = anchor.owned(call, self._keys.reserve, kamino.PROGRAM_ID)
        self._reserve = anchor.decoded(kamino.decode_reserve, self._account)
        build = kamino.flash_borrow(_of_reserve(self._keys, self._reserve), 0)
        anchor.require_same(metas, build.accounts, {})
        anchor.require_token_account(call, self._keys.user_account)
        if self._reserve.status == 1:
            raise Stop(custom(RESERVE_OBSOLETE))
        self._fee = _fee(arguments.amount, self._reserve.flash_loan_rate)

    def borrow(self, name: str) -> Plan:
        """Vault to user, once it is certain that the same transaction repays."""
        _check_repayment(self._call, self._arguments.amount)
        amount = self._arguments.amount
        if amount > self._reserve.available:
            raise Stop(custom(INSUFFICIENT_LIQUIDITY))
        authority = kamino.market_authority(self._keys.lending_market)
        lend = self._leg(self._keys.supply_vault, self._keys.user_account, authority).transfer(amount)
        return Plan(name, (lend,), (self._written(-amount),), _UNITS)

    def repay(self, name: str) -> Plan:
        """User to vault, and the fee to the fee vault."""
        self._check_borrow()
        amount, keys = self._arguments.amount, self._keys
        calls = [self._leg(keys.user_account, keys.supply_vault, keys.user).transfer(amount)]
        if self._fee:
            calls.append(self._leg(keys.user_account, keys.fee_vault, keys.user).transfer(self._fee))
        return Plan(name, tuple(calls), (self._written(amount),), _UNITS)

    def _check_borrow(self) -> None:
        """The instruction that the repayment names must be this loan's borrow."""
        index = self._arguments.borrow_index or 0
        if index >= self._call.position:
            raise Stop(custom(INVALID_FLASH_REPAY))
        borrow = self._call.transaction[index]
        if not _is(borrow, kamino.FLASH_BORROW) or len(borrow.accounts) < _ACCOUNTS:
            raise Stop(custom(INVALID_FLASH_REPAY))
        same = borrow.accounts[_RESERVE_AT].pubkey == self._keys.reserve
        if not same or _amount(borrow) != self._arguments.amount:
            raise Stop(custom(INVALID_FLASH_REPAY))

    def _written(self, change: int) -> tuple[Pubkey, Account]:
        after = replace(self._reserve, available=self._reserve.available + change)
        return self._keys.reserve, rewritten(self._account, kamino.encode_reserve(after))

    def _leg(self, source: Pubkey, destination: Pubkey, authority: Pubkey) -> Leg:
        mint = anchor.present(self._call, self._reserve.mint)
        decimals = anchor.decoded(token.decode_mint, mint).decimals
        return Leg(self._reserve.token_program, self._reserve.mint, decimals, source, destination, authority)


def _check_repayment(call: Call, amount: int) -> None:
    """Exactly one repayment must follow, of this borrow: same amount, same accounts, naming its place."""
    later = call.transaction[call.position + 1 :]
    if any(_is(one, kamino.FLASH_BORROW) for one in later):
        raise Stop(custom(MULTIPLE_FLASH_BORROWS))
    repayments = [one for one in later if _is(one, kamino.FLASH_REPAY)]
    if not repayments:
        raise Stop(custom(NO_FLASH_REPAY_FOUND))
    if len(repayments) > 1:
        raise Stop(custom(MULTIPLE_FLASH_BORROWS))
    (repayment,) = repayments
    try:
        arguments = kamino.decode_flash(repayment.data)
    except DecodeError:
        raise Stop(custom(INVALID_FLASH_REPAY)) from None
    ours = [meta.pubkey for meta in call.instruction.accounts]
    theirs = [meta.pubkey for meta in repayment.accounts]
    if (arguments.amount, arguments.borrow_index) != (amount, call.position) or ours != theirs:
        raise Stop(custom(INVALID_FLASH_REPAY))


def _is(instruction: Instruction, discriminator: bytes) -> bool:
    return instruction.program_id == kamino.PROGRAM_ID and instruction.data[:8] == discriminator


def _amount(borrow: Instruction) -> int | None:
    try:
        return kamino.decode_flash(borrow.data).amount
    except DecodeError:
        return None


def _flash_accounts(call: Call) -> FlashAccounts:
    try:
        return kamino.decode_flash_accounts([meta.pubkey for meta in call.instruction.accounts])
    except DecodeError:
        raise Stop(custom(anchor.CONSTRAINT_SEEDS)) from None


def _of_reserve(keys: FlashAccounts, reserve: Reserve) -> FlashAccounts:
    """The accounts the reserve says a loan must name."""
    named = kamino.flash_accounts(keys.reserve, reserve, keys.user, keys.user_account)
    return replace(named, referrer_state=keys.referrer_state, referrer=keys.referrer)


def _fee(amount: int, rate: int) -> int:
    if rate == DISABLED:
        raise Stop(custom(FLASH_LOANS_DISABLED))
    try:
        return flash_loan_fee(amount, rate)
    except QuoteError:
        raise Stop(custom(BORROW_TOO_SMALL if amount else INVALID_AMOUNT)) from None
