"""What a node says when a transaction fails: the JSON form of the error, and the sentence for it.

The JSON form is the node's own: `"BlockhashNotFound"`, `{"InstructionError": [2, {"Custom": 6005}]}`.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from solders.transaction_metadata import FailedTransactionMetadata

TransactionError: TypeAlias = str | dict[str, Any]
InstructionError: TypeAlias = str | dict[str, Any]

_SENTENCES: Final = {
    "AccountInUse": "Account in use",
    "AccountLoadedTwice": "Account loaded twice",
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "SignatureFailure": "Transaction did not pass signature verification",
    "InvalidProgramForExecution": "This program may not be used for executing instructions",
    "SanitizeFailure": "Transaction failed to sanitize accounts offsets correctly",
    "AddressLookupTableNotFound": "Transaction loads an address table account that doesn't exist",
    "InvalidAddressLookupTableOwner": ("Transaction loads an address table account with an invalid owner"),
    "InvalidAddressLookupTableData": ("Transaction loads an address table account with invalid data"),
    "InvalidAddressLookupTableIndex": "Transaction address table lookup uses an invalid index",
}

_INSTRUCTION_SENTENCES: Final = {
    "InvalidArgument": "invalid program argument",
    "InvalidInstructionData": "invalid instruction data",
    "InvalidAccountData": "invalid account data for instruction",
    "AccountDataTooSmall": "account data too small for instruction",
    "InsufficientFunds": "insufficient funds for instruction",
    "IncorrectProgramId": "incorrect program id for instruction",
    "MissingRequiredSignature": "missing required signature for instruction",
    "AccountAlreadyInitialized": "instruction requires an uninitialized account",
    "UninitializedAccount": "instruction requires an initialized account",
    "NotEnoughAccountKeys": "insufficient account keys for instruction",
    "ReadonlyLamportChange": "instruction changed the balance of a read-only account",
    "PrivilegeEscalation": "Cross-program invocation with unauthorized signer or writable account",
    "ProgramFailedToComplete": "Program failed to complete",
    "ComputationalBudgetExceeded": "Computational budget exceeded",
    "UnsupportedProgramId": "Unsupported program id",
    "IllegalOwner": "Provided owner is not allowed",
}


def custom(number: int) -> InstructionError:
    """Give a program's own error number the node's form."""
    return {"Custom": number}


def at_instruction(index: int, error: InstructionError) -> TransactionError:
    """Say which instruction failed."""
    return {"InstructionError": [index, error]}


def from_litesvm(failed: FailedTransactionMetadata) -> TransactionError:
    """Read the error LiteSVM gives, in the node's form."""
    error: TransactionError = json.loads(failed.to_json())["err"]
    return error


def sentence(error: TransactionError) -> str:
    """Say it as the node does, e.g. `Error processing Instruction 2: custom program error: 0x1775`."""
    if isinstance(error, str):
        return _SENTENCES.get(error, error)
    if "InstructionError" in error:
        index, inner = error["InstructionError"]
        return f"Error processing Instruction {index}: {instruction_sentence(inner)}"
    if "InsufficientFundsForRent" in error:
        index = error["InsufficientFundsForRent"]["account_index"]
        return f"Transaction results in an account ({index}) with insufficient funds for rent"
    if "DuplicateInstruction" in error:
        index = error["DuplicateInstruction"]
        return f"Transaction contains a duplicate instruction ({index}) that is not allowed"
    return json.dumps(error)


def instruction_sentence(error: InstructionError) -> str:
    """Say what an instruction's program answered."""
    if isinstance(error, str):
        return _INSTRUCTION_SENTENCES.get(error, error)
    if "Custom" in error:
        return f"custom program error: {error['Custom']:#x}"
    return json.dumps(error)
