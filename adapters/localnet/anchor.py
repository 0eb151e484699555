"""What every program built with Anchor checks and answers: its error numbers, their log lines, its refusals.

Anchor's own errors are below 6000; a program's own start there and are in its emulation's file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from solders.account import Account
from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from adapters.localnet.emulation import Call, Stop
from adapters.localnet.transaction_error import InstructionError, custom
from adapters.solana.programs import token
from adapters.solana.programs.remembered import remembered
from domain.errors import DecodeError

T = TypeVar("T")
ErrorNames = Mapping[int, tuple[str, str]]
"""Number -> (name, message) as the program logs them."""

INSTRUCTION_FALLBACK_NOT_FOUND: Final = 101
INSTRUCTION_DID_NOT_DESERIALIZE: Final = 102
CONSTRAINT_MUT: Final = 2000
CONSTRAINT_HAS_ONE: Final = 2001
CONSTRAINT_RAW: Final = 2003
CONSTRAINT_SEEDS: Final = 2006
CONSTRAINT_ADDRESS: Final = 2012
REQUIRE_GT_VIOLATED: Final = 2505
ACCOUNT_DISCRIMINATOR_MISMATCH: Final = 3002
ACCOUNT_NOT_ENOUGH_KEYS: Final = 3005
ACCOUNT_OWNED_BY_WRONG_PROGRAM: Final = 3007
INVALID_PROGRAM_ID: Final = 3008
ACCOUNT_NOT_SIGNER: Final = 3010
ACCOUNT_NOT_INITIALIZED: Final = 3012

NAMES: Final[ErrorNames] = {
    INSTRUCTION_FALLBACK_NOT_FOUND: ("InstructionFallbackNotFound", "Fallback functions are not supported"),
    INSTRUCTION_DID_NOT_DESERIALIZE: (
        "InstructionDidNotDeserialize",
        "The program could not deserialize the given instruction",
    ),
    CONSTRAINT_MUT: ("ConstraintMut", "A mut constraint was violated"),
    CONSTRAINT_HAS_ONE: ("ConstraintHasOne", "A has one constraint was violated"),
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
    INVALID_PROGRAM_ID: ("InvalidProgramId", "Program ID was not as expected"),
    ACCOUNT_NOT_SIGNER: ("AccountNotSigner", "The given account did not sign"),
    ACCOUNT_NOT_INITIALIZED: (
        "AccountNotInitialized",
        "The program expected this account to be already initialized",
    ),
}


def error_log(error: InstructionError, own: ErrorNames) -> tuple[str, ...]:
    """Give the line Anchor logs for an error it has a name for; `own` names the program's."""
    number = error.get("Custom") if isinstance(error, dict) else None
    known = own.get(number) or NAMES.get(number) if isinstance(number, int) else None
    if known is None:
        return ()
    name, text = known
    line = f"AnchorError occurred. Error Code: {name}. Error Number: {number}. Error Message: {text}."
    return (f"Program log: {line}",)


def require_count(metas: Sequence[AccountMeta], count: int) -> None:
    """Hold an instruction to at least `count` accounts."""
    if len(metas) < count:
        raise Stop(custom(ACCOUNT_NOT_ENOUGH_KEYS))


def require_signer(meta: AccountMeta) -> None:
    """Hold an account to having signed."""
    if not meta.is_signer:
        raise Stop(custom(ACCOUNT_NOT_SIGNER))


def require_writable(metas: Sequence[AccountMeta], places: Sequence[int]) -> None:
    """Hold the accounts at these places to being writable."""
    if not all(metas[at].is_writable for at in places):
        raise Stop(custom(CONSTRAINT_MUT))


def require_address(found: Pubkey, wanted: Pubkey, error: int = CONSTRAINT_ADDRESS) -> None:
    """Hold an account to being the one the program knows."""
    if found != wanted:
        raise Stop(custom(error))


def require_same(
    found: Sequence[AccountMeta], wanted: Sequence[AccountMeta], errors: Mapping[int, int]
) -> None:
    """Hold an instruction's accounts to those it must name; `errors` numbers wrong ones by their place.

    `wanted` may be shorter: what follows is the caller's choice.
    """
    require_count(found, len(wanted))
    for place, (has, needs) in enumerate(zip(found, wanted, strict=False)):
        require_address(has.pubkey, needs.pubkey, errors.get(place, CONSTRAINT_HAS_ONE))
        if needs.is_signer:
            require_signer(has)
        if needs.is_writable and not has.is_writable:
            raise Stop(custom(CONSTRAINT_MUT))


def arguments(decode: Callable[[bytes], T], data: bytes, known: Sequence[bytes]) -> T:
    """Read an instruction's arguments; `known` are the discriminators of the emulated instructions."""
    if data[:8] not in known:
        raise Stop(custom(INSTRUCTION_FALLBACK_NOT_FOUND))
    try:
        return decode(data)
    except DecodeError:
        raise Stop(custom(INSTRUCTION_DID_NOT_DESERIALIZE)) from None


def present(call: Call, address: Pubkey) -> Account:
    """Read an account that must exist."""
    account = call.read(address)
    if account is None:
        raise Stop(custom(ACCOUNT_NOT_INITIALIZED))
    return account


def owned(call: Call, address: Pubkey, program: Pubkey) -> Account:
    """Read an account that must exist and belong to `program`."""
    account = present(call, address)
    if account.owner != program:
        raise Stop(custom(ACCOUNT_OWNED_BY_WRONG_PROGRAM))
    return account


def decoded(decode: Callable[[bytes, Pubkey], T], account: Account) -> T:
    """Decode an account that must be of the decoder's type."""
    try:
        return remembered(decode, account.data, account.owner)
    except DecodeError:
        raise Stop(custom(ACCOUNT_DISCRIMINATOR_MISMATCH)) from None


def require_token_account(call: Call, address: Pubkey) -> Account:
    """Read an account that must be a token account."""
    account = present(call, address)
    if not token.is_token_account(account.data, account.owner):
        raise Stop(custom(ACCOUNT_OWNED_BY_WRONG_PROGRAM))
    return account
