"""Raydium CPMM told in Python: what the program at its real address would do with a swap.

The checks, their order and the error numbers are the program's (April 2026): its own start at 6000,
Anchor's are below. The amounts are our pool mathematics, carried out by real token transfers. Two things
the program does are left out, since nothing here reads them: the price observation and the swap event log.
Instructions other than the two swaps are refused as unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from solders.account import Account
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from adapters.localnet.execution import Plan, Refusal
from adapters.localnet.messages import ReadAccount
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.programs import raydium_cpmm as cpmm
from adapters.solana.programs import token
from domain.errors import DecodeError, QuoteError
from domain.market.amm.constant_product import ConstantProductQuote

T = TypeVar("T")

NOT_APPROVED: Final = 6000
EXCEEDED_SLIPPAGE: Final = 6005
INSTRUCTION_FALLBACK_NOT_FOUND: Final = 101
INSTRUCTION_DID_NOT_DESERIALIZE: Final = 102
CONSTRAINT_MUT: Final = 2000
CONSTRAINT_RAW: Final = 2003
CONSTRAINT_SEEDS: Final = 2006
CONSTRAINT_ADDRESS: Final = 2012
REQUIRE_GT_VIOLATED: Final = 2505
ACCOUNT_DISCRIMINATOR_MISMATCH: Final = 3002
ACCOUNT_NOT_ENOUGH_KEYS: Final = 3005
ACCOUNT_OWNED_BY_WRONG_PROGRAM: Final = 3007
ACCOUNT_NOT_SIGNER: Final = 3010
ACCOUNT_NOT_INITIALIZED: Final = 3012

_OWN_UNITS: Final = 25_000
"""What the program itself uses beside its two transfers, about; the whole swap is some 40,000 on chain."""

_NAMES: Final = {
    NOT_APPROVED: ("NotApproved", "Not approved"),
    EXCEEDED_SLIPPAGE: ("ExceededSlippage", "Exceeds desired slippage limit"),
    INSTRUCTION_FALLBACK_NOT_FOUND: ("InstructionFallbackNotFound", "Fallback functions are not supported"),
    INSTRUCTION_DID_NOT_DESERIALIZE: (
        "InstructionDidNotDeserialize",
        "The program could not deserialize the given instruction",
    ),
    CONSTRAINT_MUT: ("ConstraintMut", "A mut constraint was violated"),
    CONSTRAINT_RAW: ("ConstraintRaw", "A raw constraint was violated"),
    CONSTRAINT_SEEDS: ("ConstraintSeeds", "A seeds constraint was violated"),
    CONSTRAINT_ADDRESS: ("ConstraintAddress", "An address constraint was violated"),
    REQUIRE_GT_VIOLATED: ("RequireGtViolated", "A require_gt expression was violated"),
    ACCOUNT_DISCRIMINATOR_MISMATCH: (
        "AccountDiscriminatorMismatch",
        "8 byte discriminator did not match what was expected",
    ),
    ACCOUNT_NOT_ENOUGH_KEYS: ("AccountNotEnoughKeys", "Not enough account keys given to the instruction"),
    ACCOUNT_OWNED_BY_WRONG_PROGRAM: (
        "AccountOwnedByWrongProgram",
        "The given account is owned by a different program than expected",
    ),
    ACCOUNT_NOT_SIGNER: ("AccountNotSigner", "The given account did not sign"),
    ACCOUNT_NOT_INITIALIZED: (
        "AccountNotInitialized",
        "The program expected this account to be already initialized",
    ),
}


class _Stop(Exception):
    """Carries a refusal out of the checks below, never out of this file."""

    def __init__(self, error: InstructionError) -> None:
        self.error = error
        super().__init__()


class EmulatedCpmm:
    """The two swap instructions of Raydium CPMM. While `paused` every swap is refused as not approved."""

    def __init__(self) -> None:
        self.paused = False

    def plan(self, instruction: Instruction, read: ReadAccount, unix_time: int, epoch: int) -> Plan | Refusal:
        """Check the instruction as the program does and say which transfers and writes it comes down to."""
        name = "SwapBaseOutput" if instruction.data[:8] == cpmm.SWAP_BASE_OUTPUT else "SwapBaseInput"
        try:
            arguments = _arguments(instruction.data)
            swap = _Swap(instruction, read)
            if self.paused or not swap.pool.accepts_swaps(unix_time):
                raise _Stop(custom(NOT_APPROVED))
            quote = swap.quote(arguments, epoch)
        except _Stop as stop:
            return Refusal(name, stop.error, _error_log(stop.error))
        return Plan(name, swap.transfers(quote), swap.written(quote, epoch), _OWN_UNITS)


class _Swap:
    """One swap's accounts, each checked against the pool."""

    def __init__(self, instruction: Instruction, read: ReadAccount) -> None:
        metas = instruction.accounts
        if len(metas) < 13:
            raise _Stop(custom(ACCOUNT_NOT_ENOUGH_KEYS))
        keys = [meta.pubkey for meta in metas]
        self._read = read
        self._payer, authority, config_key, self._pool_key, self._user_in, self._user_out = keys[:6]
        self._vault_in, self._vault_out, self._program_in, self._program_out = keys[6:10]
        self._mint_in, self._mint_out, observation = keys[10:13]
        if not metas[0].is_signer:
            raise _Stop(custom(ACCOUNT_NOT_SIGNER))
        if authority != cpmm.AUTHORITY:
            raise _Stop(custom(CONSTRAINT_SEEDS))
        self._pool_account = self._owned(self._pool_key)
        self.pool = _decoded(cpmm.decode_pool, self._pool_account)
        _require_address(config_key, self.pool.amm_config)
        self._config = _decoded(cpmm.decode_config, self._owned(config_key))
        _require_address(observation, self.pool.observation)
        self._check_sides()
        if not all(metas[at].is_writable for at in (3, 4, 5, 6, 7, 12)):
            raise _Stop(custom(CONSTRAINT_MUT))

    def quote(self, arguments: cpmm.SwapArguments, epoch: int) -> ConstantProductQuote:
        """Compute the swap and hold it to the caller's limit."""
        mints = (self._account(self.pool.mint_a), self._account(self.pool.mint_b))
        fees = tuple(token.transfer_fee(mint.data, mint.owner, epoch) for mint in mints)
        amounts = [self._balance(vault) for vault in (self.pool.vault_a, self.pool.vault_b)]
        if arguments.amount == 0:
            raise _Stop(custom(REQUIRE_GT_VIOLATED))
        try:
            pool = cpmm.tradable(self.pool, self._config, amounts[0], amounts[1], (fees[0], fees[1]))
            quoted = pool.quote_exact_in if arguments.exact_in else pool.quote_exact_out
            quote = quoted(arguments.amount, a_to_b=self._a_to_b)
        except (QuoteError, DecodeError):
            raise _Stop("ProgramFailedToComplete") from None  # the program's arithmetic panics here
        if quote.amount_out == 0:
            raise _Stop(custom(REQUIRE_GT_VIOLATED))
        beyond = (
            quote.amount_out < arguments.limit if arguments.exact_in else quote.amount_in > arguments.limit
        )
        if beyond:
            raise _Stop(custom(EXCEEDED_SLIPPAGE))
        return quote

    def transfers(self, quote: ConstantProductQuote) -> tuple[Instruction, ...]:
        """User to vault, then vault to user; the vaults' authority needs no signature here."""
        decimals = (self.pool.decimals_a, self.pool.decimals_b)
        decimals_in, decimals_out = decimals if self._a_to_b else decimals[::-1]
        return (
            token.transfer_checked(
                self._program_in,
                source=self._user_in,
                mint=self._mint_in,
                destination=self._vault_in,
                authority=self._payer,
                amount=quote.amount_in,
                decimals=decimals_in,
            ),
            token.transfer_checked(
                self._program_out,
                source=self._vault_out,
                mint=self._mint_out,
                destination=self._user_out,
                authority=cpmm.AUTHORITY,
                amount=quote.amount_out + quote.out_transfer_fee,
                decimals=decimals_out,
            ),
        )

    def written(self, quote: ConstantProductQuote, epoch: int) -> tuple[tuple[Pubkey, Account], ...]:
        """The pool account with the fees it now owes."""
        creator_on_a = quote.creator_fee_on_input == quote.a_to_b
        fees_on_a = quote.a_to_b
        pool = self.pool
        after = replace(
            pool,
            protocol_fees_a=pool.protocol_fees_a + (quote.protocol_fee if fees_on_a else 0),
            protocol_fees_b=pool.protocol_fees_b + (0 if fees_on_a else quote.protocol_fee),
            fund_fees_a=pool.fund_fees_a + (quote.fund_fee if fees_on_a else 0),
            fund_fees_b=pool.fund_fees_b + (0 if fees_on_a else quote.fund_fee),
            creator_fees_a=pool.creator_fees_a + (quote.creator_fee if creator_on_a else 0),
            creator_fees_b=pool.creator_fees_b + (0 if creator_on_a else quote.creator_fee),
            recent_epoch=epoch,
        )
        account = Account(self._pool_account.lamports, cpmm.encode_pool(after), cpmm.PROGRAM_ID)
        return ((self._pool_key, account),)

    def _check_sides(self) -> None:
        pool = self.pool
        side_a = (pool.vault_a, pool.token_program_a, pool.mint_a)
        side_b = (pool.vault_b, pool.token_program_b, pool.mint_b)
        self._a_to_b = self._vault_in == pool.vault_a
        if (self._vault_in, self._vault_out) not in ((side_a[0], side_b[0]), (side_b[0], side_a[0])):
            raise _Stop(custom(CONSTRAINT_RAW))
        wanted_in, wanted_out = (side_a, side_b) if self._a_to_b else (side_b, side_a)
        _require_address(self._program_in, wanted_in[1])
        _require_address(self._program_out, wanted_out[1])
        _require_address(self._mint_in, wanted_in[2])
        _require_address(self._mint_out, wanted_out[2])
        for address in (self._user_in, self._user_out):
            if not token.is_token_account((account := self._account(address)).data, account.owner):
                raise _Stop(custom(ACCOUNT_OWNED_BY_WRONG_PROGRAM))

    def _account(self, address: Pubkey) -> Account:
        account = self._read(address)
        if account is None:
            raise _Stop(custom(ACCOUNT_NOT_INITIALIZED))
        return account

    def _owned(self, address: Pubkey) -> Account:
        account = self._account(address)
        if account.owner != cpmm.PROGRAM_ID:
            raise _Stop(custom(ACCOUNT_OWNED_BY_WRONG_PROGRAM))
        return account

    def _balance(self, vault: Pubkey) -> int:
        return token.token_amount(self._account(vault).data)


def _arguments(data: bytes) -> cpmm.SwapArguments:
    if data[:8] not in (cpmm.SWAP_BASE_INPUT, cpmm.SWAP_BASE_OUTPUT):
        raise _Stop(custom(INSTRUCTION_FALLBACK_NOT_FOUND))
    try:
        return cpmm.decode_swap(data)
    except DecodeError:
        raise _Stop(custom(INSTRUCTION_DID_NOT_DESERIALIZE)) from None


def _decoded(decode: Callable[[bytes, Pubkey], T], account: Account) -> T:
    try:
        return decode(account.data, account.owner)
    except DecodeError:
        raise _Stop(custom(ACCOUNT_DISCRIMINATOR_MISMATCH)) from None


def _require_address(found: Pubkey, wanted: Pubkey) -> None:
    if found != wanted:
        raise _Stop(custom(CONSTRAINT_ADDRESS))


def _error_log(error: InstructionError) -> tuple[str, ...]:
    number = error.get("Custom") if isinstance(error, dict) else None
    if number not in _NAMES:
        return ()
    name, text = _NAMES[number]
    line = f"AnchorError occurred. Error Code: {name}. Error Number: {number}. Error Message: {text}."
    return (f"Program log: {line}",)
