"""What every emulated swap does alike: quote what is on chain, hold to the limit, transfer, write back.

A protocol's own file says how its instruction reads, which checks come first, and what its accounts hold
afterwards; the amounts are our pool mathematics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from solders.account import Account
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.localnet import anchor
from adapters.localnet.anchor import ErrorNames, error_log
from adapters.localnet.emulation import Call, Plan, Refusal, Stop
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.accounts import Account as ChainAccount
from adapters.solana.pool_program import Accounts
from adapters.solana.programs import token
from domain.errors import DecodeError, QuoteError
from domain.market.amm.pool import Quote

Q = TypeVar("Q", bound=Quote)
Q_co = TypeVar("Q_co", bound=Quote, covariant=True)

OWN_UNITS: Final = 25_000
"""What a swap program uses beside its two transfers, about; a whole swap is some 40,000 on chain."""

PANIC: Final = "ProgramFailedToComplete"
"""What the runtime answers where a program's arithmetic panics."""


class SwapPool(Protocol[Q_co]):
    """A pool whose quotes can be carried out."""

    def quote_exact_in(self, amount: int, *, a_to_b: bool) -> Q_co:
        """Quote a swap that sends `amount`."""
        ...

    def quote_exact_out(self, amount: int, *, a_to_b: bool) -> Q_co:
        """Quote a swap from which `amount` arrives."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What a swap instruction asks: `amount` exact, `limit` the least out or the most in."""

    a_to_b: bool
    exact_in: bool
    amount: int
    limit: int


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a swap: how its token moves."""

    token_program: Pubkey
    mint: Pubkey
    decimals: int
    source: Pubkey
    destination: Pubkey
    authority: Pubkey

    def transfer(self, amount: int) -> Instruction:
        """Build the transfer; the vaults' authority needs no signature on this network."""
        return token.transfer_checked(
            self.token_program,
            source=self.source,
            mint=self.mint,
            destination=self.destination,
            authority=self.authority,
            amount=amount,
            decimals=self.decimals,
        )


CarriedOut = tuple[tuple[Instruction, ...], tuple[tuple[Pubkey, Account], ...]]
"""Transfers, and accounts with what the program writes into them."""


@dataclass(frozen=True, slots=True)
class Swap(Generic[Q]):
    """One swap whose accounts passed the program's checks.

    Attributes:
        pool: raises QuoteError or DecodeError where the program's arithmetic fails.
        carry_out: the transfers, and the accounts the program writes.
        no_quote, below_limit, paused: this instruction's errors, where not the protocol's usual ones.
        may_end: whether a swap that the liquidity or a price limit ends early passes.
    """

    order: Order
    pool: Callable[[], SwapPool[Q]]
    carry_out: Callable[[Q], CarriedOut]
    no_quote: Callable[[], InstructionError] | None = None
    below_limit: InstructionError | None = None
    paused: InstructionError | None = None
    may_end: bool = False


@dataclass(frozen=True, slots=True)
class Refusals:
    """A protocol's own errors, in the order in which a swap meets them.

    Attributes:
        nothing_out: where nothing would arrive; None where the program lets that pass.
        unfilled: where the liquidity ends before the amount is filled.
    """

    paused: InstructionError
    zero_amount: InstructionError
    no_quote: InstructionError
    nothing_out: InstructionError | None
    below_limit: InstructionError
    above_limit: InstructionError
    unfilled: InstructionError
    names: ErrorNames


class EmulatedSwaps(Generic[Q]):
    """The swap instructions of one protocol; while `paused` all are refused, in the protocol's words."""

    def __init__(
        self, name: Callable[[bytes], str], read: Callable[[Call], Swap[Q]], refusals: Refusals
    ) -> None:
        self.paused = False
        self._name = name
        self._read = read
        self._refusals = refusals

    def plan(self, call: Call) -> Plan | Refusal:
        """Check the instruction as the program does and say which transfers and writes it comes down to."""
        name = self._name(call.instruction.data)
        try:
            swap = self._read(call)
            if self.paused:
                raise Stop(swap.paused or self._refusals.paused)
            quote = self._quote(swap)
            transfers, writes = swap.carry_out(quote)
        except Stop as stop:
            return self._refuse(name, stop.error)
        except (DecodeError, QuoteError):  # an account the pool names is not among those given
            return self._refuse(name, custom(anchor.CONSTRAINT_HAS_ONE))
        return Plan(name, transfers, writes, OWN_UNITS)

    def _refuse(self, name: str, error: InstructionError) -> Refusal:
        return Refusal(name, error, error_log(error, self._refusals.names))

    def _quote(self, swap: Swap[Q]) -> Q:
        order, refusals = swap.order, self._refusals
        if order.amount == 0:
            raise Stop(refusals.zero_amount)
        try:
            pool = swap.pool()
            quoted = pool.quote_exact_in if order.exact_in else pool.quote_exact_out
            quote = quoted(order.amount, a_to_b=order.a_to_b)
        except (QuoteError, DecodeError):
            raise Stop(swap.no_quote() if swap.no_quote else refusals.no_quote) from None
        if quote.partial and not swap.may_end:
            raise Stop(refusals.unfilled)
        if quote.amount_out == 0 and refusals.nothing_out is not None:
            raise Stop(refusals.nothing_out)
        if order.exact_in and quote.amount_out < order.limit:
            raise Stop(swap.below_limit or refusals.below_limit)
        if not order.exact_in and quote.amount_in > order.limit:
            raise Stop(refusals.above_limit)
        return quote


@dataclass(frozen=True, slots=True)
class Sides:
    """A pool's two tokens and the user's accounts for them: enough to move both.

    Attributes:
        mints, vaults: of token a and token b.
        authority: signs for the vaults.
        user_in, user_out: in the direction of the swap.
    """

    mints: tuple[Pubkey, Pubkey]
    vaults: tuple[Pubkey, Pubkey]
    authority: Pubkey
    user: Pubkey
    user_in: Pubkey
    user_out: Pubkey

    def transfers(self, call: Call, quote: Quote, out_transfer_fee: int) -> tuple[Instruction, Instruction]:
        """User to vault, then vault to user; a mint's fee on the output is taken on the way."""
        at_in, at_out = (0, 1) if quote.a_to_b else (1, 0)
        program_in, decimals_in = _mint(call, self.mints[at_in])
        program_out, decimals_out = _mint(call, self.mints[at_out])
        paid = Leg(program_in, self.mints[at_in], decimals_in, self.user_in, self.vaults[at_in], self.user)
        received = Leg(
            program_out, self.mints[at_out], decimals_out, self.vaults[at_out], self.user_out, self.authority
        )
        return paid.transfer(quote.amount_in), received.transfer(quote.amount_out + out_transfer_fee)


def _mint(call: Call, mint: Pubkey) -> tuple[Pubkey, int]:
    account = anchor.present(call, mint)
    return account.owner, anchor.decoded(token.decode_mint, account).decimals


def sells_a(call: Call, user_in: Pubkey, user_out: Pubkey, mints: tuple[Pubkey, Pubkey], error: int) -> bool:
    """Which way a swap goes, by the mints of the user's accounts; `error` where they are not the pool's."""
    held = tuple(Pubkey(anchor.require_token_account(call, user).data[:32]) for user in (user_in, user_out))
    if held not in (mints, mints[::-1]):
        raise Stop(custom(error))
    return held == mints


def passed(call: Call, *others: Pubkey) -> Accounts:
    """Give the accounts the instruction names, and `others`, as they are now."""
    keys = (*(meta.pubkey for meta in call.instruction.accounts), *others)
    found = ((key, call.read(key)) for key in keys)
    return {key: ChainAccount(one.lamports, one.owner, one.data) if one else None for key, one in found}


def rewritten(old: Account, data: bytes) -> Account:
    """Give an account with new data."""
    return Account(old.lamports, data, old.owner)
