"""A transaction's error as the chain gives it, in words."""

from __future__ import annotations

from typing import Any


def describe(error: Any) -> str:  # noqa: ANN401 - the node's JSON, of many shapes
    """Say a `TransactionError` in one phrase.

    `"BlockhashNotFound"` stays as it is; `{"InstructionError": [2, {"Custom": 6005}]}` becomes
    `instruction 2: program error 6005 (0x1775)`. An unknown shape is given as it came.
    """
    match error:
        case str():
            return error
        case {"InstructionError": [index, {"Custom": int(code)}]}:
            return f"instruction {index}: program error {code} ({code:#x})"
        case {"InstructionError": [index, str(name)]}:
            return f"instruction {index}: {name}"
        case {"InstructionError": [index, dict(named)]} if len(named) == 1:
            name, value = next(iter(named.items()))
            return f"instruction {index}: {name} {value}"
        case {"InsufficientFundsForRent": {"account_index": int(index)}}:
            return f"InsufficientFundsForRent: account {index} would hold less than its rent"
        case _:
            return str(error)
